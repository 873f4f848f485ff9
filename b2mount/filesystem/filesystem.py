"""FileSystem: what each file operation means, in terms of names, reading and writing. The only
coordinator: the three services below do not know each other.

Locks, in the order in which they are taken:
    1. the kernel's own, per directory, around lookup, create, unlink, mkdir, rmdir and rename
    2. PathGate: `using` single paths, or `moving` a whole directory
    3. FileContent.lock, per inode, while its edits are sealed
None is held while waiting for an upload; rename and unlink hold 2 while B2 moves or hides, an exchange
also for the upload of what was written since it had everything sent.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

import attrs
import trio

from b2mount.errors import AlreadyExists, BadHandle, InvalidArgument, IsADirectory, Stale
from b2mount.filesystem.absences import Absences
from b2mount.filesystem.by_path import ByPath
from b2mount.filesystem.changing import Changer, check_size
from b2mount.filesystem.clearing import Clearer
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.creating import Creator
from b2mount.filesystem.exchanging import Swapper
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.handles import DirectoryHandle, FileHandle, HandleTable
from b2mount.filesystem.node import Node, Requester
from b2mount.filesystem.prefetch import Prefetch
from b2mount.filesystem.removing import Remover
from b2mount.filesystem.renaming import Renamer
from b2mount.filesystem.status import PendingFile, SpaceStatus
from b2mount.filesystem.witness import Witness
from b2mount.filesystem.xattrs import Xattrs, check_namespace
from b2mount.model import AttributeChange, ByteRange, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.reading.fetcher import BlockFetcher
from b2mount.store.interface import ObjectStore
from b2mount.writing.mover import Mover
from b2mount.writing.staged_file import Staging
from b2mount.writing.write_back import WriteBack

WRITE_FLAGS = os.O_WRONLY | os.O_RDWR


@attrs.define(eq=False)
class FileSystem:
    """One method per operation. Raises only classes of `errors`, and OSError of the local disk."""

    _namespace: Namespace
    _fetcher: BlockFetcher
    _staging: Staging
    _write_back: WriteBack
    _mover: Mover
    _store: ObjectStore
    _waits: bool
    """Closes wait until B2 has the file (no --write-back)."""
    _deletes: bool
    """unlink removes every version instead of hiding the name."""
    _room: Callable[[], int]
    """Bytes that can be written to the local disk."""
    _is_past: bool = attrs.field(default=False, kw_only=True)
    """A mount of one moment: names may have newer versions than those that are shown."""
    _files: HandleTable[FileHandle] = attrs.field(factory=HandleTable[FileHandle])
    _directories: HandleTable[DirectoryHandle] = attrs.field(factory=HandleTable[DirectoryHandle])
    gate: PathGate = attrs.field(factory=PathGate, init=False)
    """For who changes names in other ways than the kernel's."""
    _absences: Absences = attrs.field(factory=Absences)
    _witness: Witness = attrs.field(init=False)
    _committer: Committer = attrs.field(init=False)
    _creator: Creator = attrs.field(init=False)
    _remover: Remover = attrs.field(init=False)
    _changer: Changer = attrs.field(init=False)
    _renamer: Renamer = attrs.field(init=False)
    _swapper: Swapper = attrs.field(init=False)
    _xattrs: Xattrs = attrs.field(init=False)
    _prefetch: Prefetch = attrs.field(init=False)
    by_path: ByPath = attrs.field(init=False)
    """What is asked for by the names of files, not by the kernel."""

    def __attrs_post_init__(self) -> None:
        names, gate, store, queue = self._namespace, self.gate, self._store, self._write_back
        self._witness = Witness(store)
        self._committer = Committer(names, self._staging, queue, gate, self._witness, store, self._waits)
        self._creator = Creator(names, store, self._committer, gate)
        clearer = Clearer(store, self.in_use)
        self._remover = Remover(names, store, self._committer, gate, self._deletes, clearer)
        self._changer = Changer(names, store, self._committer, self._remover)
        moving = (names, store, self._committer, queue, self._mover, self._remover, gate)
        self._renamer, self._swapper = Renamer(*moving, self._staging), Swapper(*moving)
        self._xattrs = Xattrs(store, self._committer, self._changer, self._is_past)
        self._prefetch = Prefetch(self._fetcher, names.order)
        self.by_path = ByPath(names, self._fetcher, store, self._absences, self._is_past)
        names.moves_by(self._mover.is_open)
        queue.on_uploaded(self._committer.uploaded)
        if self._write_back.pruner is not None:
            self._write_back.pruner.watch(self.in_use)

    # -- inodes ----------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str) -> Node:
        """Raises NotFound, NotADirectory, NameTooLong. As with every method here that gives out a
        node by name, the caller knows the inode once more: `forget` says that it no longer does."""
        return self._given(await self._namespace.lookup(self._namespace.inode(parent), name))

    def absent_for(self, parent: int, name: str) -> float:
        """Seconds for which a name that was not found may be taken as absent."""
        seconds = self._namespace.absent_for(self._namespace.inode(parent), name)
        return self._absences.told(parent, name, seconds)

    def looked_up(self, number: int) -> None:
        """The caller took an entry of readdir: it knows this inode once more."""
        self._namespace.looked_up(self._namespace.inode(number))

    def forget(self, number: int, count: int) -> None:
        """The kernel knows it `count` times less. Never raises."""
        self._namespace.forget(number, count)

    def getattr(self, number: int) -> Node:
        """Raises NotFound for a number the kernel should not have."""
        return self._node(self._namespace.inode(number))

    def readlink(self, number: int) -> str:
        """Raises InvalidArgument for anything but a symlink."""
        target = self._namespace.inode(number).attributes.target
        if target is None:
            raise InvalidArgument("not a symlink")
        return target

    async def setattr(
        self, number: int, change: AttributeChange, *, size: int | None, fh: int | None
    ) -> Node:
        """chmod, chown, utimes, truncate. Attributes are durable here when this returns, and on their way. A
        size that is set without a handle open for writing B2 has then (or queued, with --write-back)."""
        inode = self._namespace.inode(number)
        if size is not None:
            await self._changer.truncate(inode, size)
        if size is None or change != AttributeChange():
            await self._changer.change(inode, change)
        if size is not None and fh is None:
            await self._changer.commit_unless_open(inode)
        return self._node(inode)

    async def getxattr(self, number: int, name: bytes) -> bytes:
        """No call but for retention and legal hold. Raises NoAttribute, NotSupported unless user.*."""
        check_namespace(name)
        return await self._xattrs.get(self._namespace.inode(number), name)

    def listxattr(self, number: int) -> list[bytes]:
        """Names that belong to the file; no call. What B2 says of it can be read, but is not listed."""
        return self._xattrs.names(self._namespace.inode(number))

    async def setxattr(self, number: int, name: bytes, value: bytes) -> None:
        """As setattr. Raises NotSupported, FixedAttribute, InvalidArgument, NoRoom."""
        check_namespace(name)
        await self._xattrs.set(self._namespace.inode(number), name, value)

    async def removexattr(self, number: int, name: bytes) -> None:
        """As setattr. Raises NotSupported, NoAttribute, FixedAttribute."""
        check_namespace(name)
        await self._xattrs.remove(self._namespace.inode(number), name)

    def statfs(self) -> SpaceStatus:
        """What `df` shows; no call."""
        return SpaceStatus.with_room(self._room())

    # -- names -----------------------------------------------------------------------------

    async def mkdir(self, parent: int, name: str, mode: int, requester: Requester) -> Node:
        """B2 has the directory's placeholder when this returns."""
        directory = self._namespace.inode(parent)
        return self._given(await self._creator.mkdir(directory, name, mode, requester))

    async def symlink(self, parent: int, name: str, target: str, requester: Requester) -> Node:
        """An empty object that carries its target; in B2 when this returns."""
        directory = self._namespace.inode(parent)
        return self._given(await self._creator.symlink(directory, name, target, requester))

    async def mknod(
        self, parent: int, name: str, kind: Kind, mode: int, device: int, requester: Requester
    ) -> Node:
        """A regular file, or a FIFO, socket or device node; in B2 when this returns."""
        if kind is not Kind.FILE:
            directory = self._namespace.inode(parent)
            return self._given(await self._creator.node(directory, name, kind, mode, device, requester))
        content = await self._creator.file(self._namespace.inode(parent), name, mode, requester)
        await self._committer.commit(content)
        self._committer.drop_idle(content)
        return self._given(content.inode)

    async def unlink(self, parent: int, name: str) -> None:
        """Hide the name (or delete its versions); open handles go on."""
        await self._remover.unlink(self._namespace.inode(parent), name)

    async def rmdir(self, parent: int, name: str) -> None:
        """Remove an empty directory."""
        await self._remover.rmdir(self._namespace.inode(parent), name)

    async def rename(self, old: tuple[int, str], new: tuple[int, str], *, may_replace: bool) -> None:
        """Copy inside B2 and hide the old name; a directory with everything below it."""
        inode = self._namespace.inode
        await self._renamer.rename((inode(old[0]), old[1]), (inode(new[0]), new[1]), may_replace=may_replace)

    async def exchange(self, one: tuple[int, str], other: tuple[int, str]) -> None:
        """Two names change places, with everything below them: copies inside B2, all of them or none."""
        inode = self._namespace.inode
        await self._swapper.exchange((inode(one[0]), one[1]), (inode(other[0]), other[1]))

    # -- directories -----------------------------------------------------------------------

    def opendir(self, number: int) -> int:
        """Raises NotADirectory."""
        return self._directories.add(DirectoryHandle(self._namespace, self._namespace.inode(number)))

    async def readdir(self, fh: int, start: int) -> AsyncGenerator[tuple[int, str, Node], None]:
        """As DirectoryHandle.entries."""
        entries = self._directories.get(fh).entries(start, lambda inode: inode.path.name)
        async with aclosing(entries):
            async for position, name, inode in entries:
                yield position, name, self._node(inode)

    def releasedir(self, fh: int) -> None:
        """Drop the snapshot."""
        self._directories.pop(fh)

    # -- files -----------------------------------------------------------------------------

    async def open(self, number: int, flags: int, requester: Requester) -> int:
        """A handle, pinned to the version that the name has now. O_TRUNC cuts at once. Raises Stale;
        KeyMissing, and of a wrong key a file that is only read tells when it is read."""
        inode = self._namespace.inode(number)
        if inode.attributes.kind is not Kind.FILE:
            raise IsADirectory("only files can be opened")
        if not flags & os.O_TRUNC:
            await self._changer.check_key(inode, to_write=bool(flags & WRITE_FLAGS))
        self.check_there(inode.version)
        content = self._committer.content(inode)
        fh = self._handle(content, flags)
        if flags & os.O_TRUNC:
            await self._changer.empty(inode, requester)
        return fh

    async def create(
        self, parent: int, name: str, mode: int, flags: int, requester: Requester
    ) -> tuple[Node, int]:
        """A new file, or the one that is there already (the kernel may not know it yet).
        Raises AlreadyExists with O_EXCL."""
        directory = self._namespace.inode(parent)
        try:
            content = await self._creator.file(directory, name, mode, requester)
        except AlreadyExists:
            if flags & os.O_EXCL:
                raise
            inode = await self._namespace.lookup(directory, name)
            return self._given(inode), await self.open(inode.number, flags, requester)
        content.untouched = True
        return self._given(content.inode), self._handle(content, flags | os.O_WRONLY)

    def _handle(self, content: FileContent, flags: int) -> int:
        may_write = bool(flags & (WRITE_FLAGS | os.O_TRUNC))  # a reading open that cuts changes it too
        if may_write:
            content.writers += 1
        else:
            content.readers += 1
        return self._files.add(FileHandle(content, may_write, self._fetcher, self._prefetch))

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        """At most `size` bytes; fewer only at the end."""
        handle = self._files.get(fh)
        return await handle.content.read(ByteRange(offset, offset + size), handle.read_version)

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        """Into the staging file; returns how many bytes. Raises OSError (ENOSPC)."""
        handle = self._files.get(fh)
        if not handle.may_write:
            raise BadHandle("not open for writing")
        check_size(offset + len(data))
        written = await handle.content.write(offset, data)
        handle.content.untouched = False
        self._changer.written(handle.content)
        self._committer.wrote(handle.content)
        return written

    async def flush(self, fh: int) -> None:
        """One descriptor was closed. What was written is in B2 when this returns (or durable here,
        with --write-back). Raises the upload's error; the bytes stay staged."""
        handle = self._files.get(fh)
        if not handle.may_write:
            return
        if handle.content.untouched and handle.content.size == 0:
            # a shell closes its spare copy of a new file's descriptor before anything is written
            handle.content.untouched = False
            await self._committer.checkpoint(handle.content)
        else:
            await self._committer.commit(handle.content)

    async def fsync(self, fh: int) -> None:
        """What was written is durable on the local disk."""
        await self._committer.checkpoint(self._files.get(fh).content)

    async def release(self, fh: int) -> None:
        """The last descriptor of this open is gone. Takes what a memory map wrote after the close."""
        handle = self._files.pop(fh)
        handle.close_reader()
        content = handle.content
        try:
            if handle.may_write:
                await self._committer.commit(content, wait=False)
        finally:
            if handle.may_write:
                content.writers -= 1
            else:
                content.readers -= 1
            await self._remover.let_go(content)

    # -- the mount as a whole --------------------------------------------------------------

    async def run(self) -> None:
        """Look in the background what uploads have replaced, and fetch ahead of programs that read
        many files, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._witness.run)
            nursery.start_soon(self._remover.run)
            nursery.start_soon(self._prefetch.run)

    def economize(self, on: bool) -> None:
        """Ask B2 as little as can be, or as usual again: names are believed longer, and nothing is
        listed or fetched for those who may ask for it later."""
        self._namespace.lifetime.economize(on)
        self._prefetch.is_off = on

    async def recover(self) -> int:
        """Take up what an earlier mount left: unsent files are visible at once and sent behind.
        Returns how many there were."""
        return await self._committer.recover()

    async def flush_path(self, path: str | None = None) -> None:
        """Everything, or the file or directory `path`, is in B2 when this returns. Raises NotFound,
        and the first upload's error."""
        await self.flush_at((await self.by_path.inode(path)).path if path else None)

    async def flush_at(self, where: ObjectPath | None) -> None:
        """As flush_path, whether anything is there or not; None is for everything."""
        await self._committer.commit_all(where or self._namespace.root.path)
        await self._write_back.flush(where)

    async def seal_everything(self) -> None:
        """Nobody writes any more: whatever is still dirty is durable and queued."""
        await self._committer.commit_all(self._namespace.root.path)

    def pending(self) -> tuple[PendingFile, ...]:
        """What has not reached B2 yet."""
        return self._committer.pending(self._namespace.root.path)

    def numbers_of(self, version: ObjectVersion) -> list[int]:
        """The inodes of open files that show this version."""
        return [
            handle.content.inode.number
            for handle in self._files
            if handle.content.inode.version is not None
            and handle.content.inode.version.version_id == version.version_id
        ]

    def in_use(self) -> Iterator[ObjectVersion | None]:
        """The versions that open files show, that unsent bytes stand on, or that are being copied."""
        yield from self._committer.in_use()
        yield from self._mover.in_use()

    def check_there(self, version: ObjectVersion | None) -> None:
        """Raises Stale for a version that --keep-versions has removed, or is about to."""
        pruner = self._write_back.pruner
        if pruner is not None and version is not None and pruner.is_going(version.version_id):
            raise Stale(f"{version.path} has a newer version")

    def made(self, version: ObjectVersion) -> None:
        """B2 has confirmed a version that this mount has made, in another way than the kernel's."""
        self._committer.made(version)

    @property
    def open_files(self) -> int:
        """How many handles are open."""
        return len(self._files)

    def _given(self, inode: Inode) -> Node:
        # counted before anything else happens: an inode that nobody knows is gone at once
        self._namespace.looked_up(inode)
        return self._node(inode)

    def _node(self, inode: Inode) -> Node:
        links = 0 if inode.unlinked else 1
        return Node(inode.number, inode.attributes, self._namespace.valid_for(inode), links)

"""Past: the directory `.b2` and all below it: other times, versions, what was removed.

What is shown are versions, which never change; so all of it is read-only (ReadOnly for every change), but
for the trash (what is moved out of it is there again, what is removed from it is gone for good), for old
versions (they can be removed for good) and for objects whose names no path can spell (they can be moved to
better names, or removed).
Reading goes the way that all reading goes: a version's blocks, from the cache or B2.

Must not know: how versions are found, the live bucket's names.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress

import attrs

from b2mount.errors import (
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    ReadOnly,
)
from b2mount.filesystem.by_path import url_of_version
from b2mount.filesystem.handles import DirectoryHandle, HandleTable
from b2mount.filesystem.moments_directory import TopCatalog
from b2mount.filesystem.node import Node
from b2mount.filesystem.numbers import FIRST_VIEW, NAMES, TOP, TRASH, VERSIONS, area_of, first_number
from b2mount.filesystem.protecting import ASKED_FOR, told
from b2mount.filesystem.restoring import Restorer, Told
from b2mount.filesystem.version_xattrs import URL, attribute_of, listed_attributes
from b2mount.model import DELIMITER, ByteRange, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.catalog import Catalog
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.shelf import Shelf
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.reader import ObjectReader
from b2mount.store.interface import ObjectStore

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


@attrs.define(eq=False)
class _File:
    number: int
    reader: ObjectReader


def _high_numbers() -> itertools.count[int]:
    return itertools.count(first_number(TOP))


@attrs.define(eq=False)
class Past:
    """Answers for all numbers that are not the live bucket's. Raises only classes of `errors`."""

    _top: TopCatalog
    _catalogs: Mapping[int, Catalog]
    """Those that are there from the beginning, by the range of their numbers."""
    _known: Counter[int]
    """How often the kernel was told of inodes of a range, less what it has forgotten."""
    _fetcher: BlockFetcher
    _trash: Namespace
    _odd: Shelf
    restorer: Restorer
    _store: ObjectStore
    _tell_kernel: Callable[[Told], None]
    """Takes names that have to be asked again; returns at once."""
    _forgetful: Sequence[Callable[[], None]]
    """What has to be asked again when something was changed in the bucket."""
    _live_in_use: Callable[[], Iterable[ObjectVersion | None]]
    """The versions that files of the live bucket show, or that unsent bytes stand on."""
    _check_there: Callable[[ObjectVersion], None]
    """Raises Stale for a version that is about to be removed."""
    _files: HandleTable[_File] = attrs.field(factory=lambda: HandleTable[_File](numbers=_high_numbers()))
    _directories: HandleTable[DirectoryHandle] = attrs.field(
        factory=lambda: HandleTable[DirectoryHandle](numbers=_high_numbers())
    )

    # -- inodes ----------------------------------------------------------------------------

    def entrance(self) -> Node:
        """The directory `.b2` itself."""
        return self._node(self._top.root)

    def inode(self, number: int) -> Inode:
        """Raises NotFound."""
        return self._catalog(number).inode(number)

    async def child(self, parent: int, name: str) -> Inode:
        """Raises NotFound, NotADirectory, NameTooLong."""
        catalog = self._catalog(parent)
        return await catalog.lookup(catalog.inode(parent), name)

    async def lookup(self, parent: int, name: str) -> Node:
        """As `child`; the caller knows the inode once more."""
        inode = await self.child(parent, name)
        self._count(inode)
        node = self._node(inode)
        if area_of(parent) != TOP:
            return node
        return attrs.evolve(node, valid_for=min(node.valid_for, self._top.meant_for(name)))

    def looked_up(self, number: int) -> None:
        """The caller took an entry of readdir: it knows this inode once more."""
        self._count(self.inode(number))

    def forget(self, number: int, count: int) -> None:
        """The kernel knows it `count` times less. Never raises."""
        with suppress(NotFound):
            self._catalog(number).forget(number, count)
            self._known[area_of(number)] -= count

    def getattr(self, number: int) -> Node:
        """Raises NotFound for a number that the kernel should not have."""
        return self._node(self.inode(number))

    def readlink(self, number: int) -> str:
        """Raises InvalidArgument for anything but a symlink."""
        target = self.inode(number).attributes.target
        if target is None:
            raise InvalidArgument("not a symlink")
        return target

    async def getxattr(self, number: int, name: bytes) -> bytes:
        """What B2 knows of the version; it is asked for retention and legal hold. Raises NoAttribute."""
        version = self.inode(number).version
        if name in ASKED_FOR:
            return await told(self._store, version, name)
        if name == URL and version is not None and not self.inode(number).is_directory:
            return self._store.url_of(version).encode()
        return attribute_of(version, name)

    def listxattr(self, number: int) -> list[bytes]:
        """Names that belong to the file."""
        version = self.inode(number).version
        return listed_attributes(version.info) if version is not None else []

    async def url(self, path: str, expires: int | None) -> str:
        """The URL of the version at a path below `.b2`. Raises NotFound, IsADirectory, and InvalidArgument
        when it is to need no key."""
        inode = self._top.root
        for name in filter(None, path.split(DELIMITER)):
            inode = await self.child(inode.number, name)
        return url_of_version(self._store, inode, expires)

    # -- changes ---------------------------------------------------------------------------

    async def unlink(self, parent: int, name: str) -> None:
        """Delete a file of the trash for good, with all its versions, or one old version; remove an object
        that no path can spell. Raises ReadOnly for all others, NotPermitted for a version that is the
        current one or in use."""
        inode = await self._changeable(parent, name, TRASH, VERSIONS, NAMES)
        if inode.is_directory or inode.version is None:
            raise IsADirectory(f"{name} is a directory")
        if area_of(parent) == TRASH:
            await self._discard(inode.version.path)
            self._trash.removed(inode)
        elif area_of(parent) == VERSIONS:
            self._check_unused(inode.version)
            await self.restorer.delete_version(inode.version)
            self.bucket_changed()
        else:
            await self.restorer.remove(inode.version.path)
            self._odd.removed(inode)

    async def rmdir(self, parent: int, name: str) -> None:
        """Delete an empty directory of the trash for good. Raises ReadOnly for all others."""
        inode = await self._changeable(parent, name, TRASH)
        if not inode.is_directory:
            raise NotADirectory(f"{name} is not a directory")
        if not await self._trash.is_empty(inode):
            raise NotEmpty(f"{name} is not empty")
        for version in self._trash.keepers(inode):
            await self._discard(version.path)
        self._trash.removed(inode)

    async def move_out(self, parent: int, name: str, new: tuple[int, str]) -> None:
        """Give something of the trash, or an object that no path can spell, a name in the bucket. Raises
        ReadOnly for all others."""
        inode = await self._changeable(parent, name, TRASH, NAMES)
        if area_of(parent) == NAMES and inode.version is None:
            raise read_only()
        try:
            if inode.version is not None and area_of(parent) == NAMES:
                told = await self.restorer.rename(inode.version, *new)
                self._odd.removed(inode)
            else:
                told = await self.restorer.move_out(inode, *new)
            self._tell_kernel(told)
        finally:
            if area_of(parent) == TRASH:  # what came back may have odd names below it
                self._odd.forget_listing()
            self.bucket_changed()

    def bucket_changed(self) -> None:
        """Something was changed in the bucket: what is seen of it here is what is there now."""
        for forget in self._forgetful:
            forget()

    # -- directories -----------------------------------------------------------------------

    def opendir(self, number: int) -> int:
        """Raises NotADirectory."""
        catalog = self._catalog(number)
        return self._directories.add(DirectoryHandle(catalog, catalog.inode(number)))

    async def readdir(self, fh: int, start: int) -> AsyncGenerator[tuple[int, str, Node], None]:
        """As DirectoryHandle.entries."""
        entries = self._directories.get(fh).entries(start, self._top.name_of)
        async with aclosing(entries):
            async for position, name, inode in entries:
                yield position, name, self._node(inode)

    def releasedir(self, fh: int) -> None:
        """Drop the snapshot."""
        self._directories.pop(fh)

    # -- files -----------------------------------------------------------------------------

    def open(self, number: int, flags: int) -> int:
        """A handle for reading. Raises ReadOnly, IsADirectory, KeyMissing, Stale."""
        inode = self.inode(number)
        if inode.kind is not Kind.FILE or inode.version is None:
            raise IsADirectory("only files can be opened")
        if flags & _WRITING:
            raise read_only()
        self._store.check_key(inode.version)
        self._check_there(inode.version)
        return self._files.add(_File(number, ObjectReader(inode.version, self._fetcher)))

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        """At most `size` bytes; fewer only at the end."""
        reader = self._files.get(fh).reader
        return await reader.read(
            ByteRange(offset, offset + size).intersect(ByteRange(0, reader.version.size))
        )

    def release(self, fh: int) -> None:
        """The last descriptor of this open is gone."""
        self._files.pop(fh).reader.close()

    def numbers_of(self, version: ObjectVersion) -> list[int]:
        """The inodes of open files that show this version."""
        return [file.number for file in self._files if file.reader.version.version_id == version.version_id]

    def in_use(self) -> list[ObjectVersion]:
        """The versions that open files show."""
        return [file.reader.version for file in self._files]

    @property
    def open_files(self) -> int:
        """How many handles are open."""
        return len(self._files)

    # -- inside ----------------------------------------------------------------------------

    async def _discard(self, path: ObjectPath) -> None:
        try:
            await self.restorer.discard(path)
        except NotPermitted:
            self._trash.forget_listing(None)  # it may be there again
            raise

    async def _changeable(self, parent: int, name: str, *areas: int) -> Inode:
        if area_of(parent) not in areas:
            raise read_only()
        return await self.child(parent, name)

    def _check_unused(self, version: ObjectVersion) -> None:
        used = itertools.chain(self._live_in_use(), self.in_use())
        if version.version_id in {one.version_id for one in used if one is not None}:
            raise NotPermitted(f"{version.path}: this version is open, or unsent changes stand on it")

    def _count(self, inode: Inode) -> None:
        self._catalog(inode.number).looked_up(inode)
        self._known[area_of(inode.number)] += 1

    def _catalog(self, number: int) -> Catalog:
        area = area_of(number)
        if area >= FIRST_VIEW:
            return self._top.view(area)
        if area not in self._catalogs:
            raise NotFound(f"no inode {number}")
        return self._catalogs[area]

    def _node(self, inode: Inode) -> Node:
        area = area_of(inode.number)
        valid_for = 0.0 if area == TRASH else self._catalog(inode.number).valid_for(inode)
        return Node(inode.number, inode.attributes, valid_for)


def read_only() -> ReadOnly:
    """What every change is answered with."""
    return ReadOnly("what is in .b2 is as it was: copy it to where you want to change it")

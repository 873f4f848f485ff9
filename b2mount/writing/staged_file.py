"""StagedFile, a file being edited, and Staging, the directory that holds the bytes of all generations.

Every edited generation of a file has one sparse local file, named by its staging id, with each
byte at its own file offset.

Invariants: the local file never shrinks; it is deleted only when its bytes are in B2 or unwanted, no
record names it and no younger generation still reads from it; one process per staging directory.

Must not know: the journal, the store, who reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import attrs

from b2mount.errors import MountPointUnusable
from b2mount.model import Attributes, ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.extents import ExtentMap, Source
from b2mount.writing.local_bytes import (
    SENT,
    is_full,
    make_durable,
    read_span,
    remove_all,
    remove_strays,
    shortfalls,
    sync_directory,
    write_all,
)
from b2mount.writing.lock_holder import holder_of, in_words
from b2mount.writing.sealed_file import Fate, SealedFile, landed

MakeRoom = Callable[[int], Awaitable[bool]]
LEVELS: Final = 4
"""Directories above this one that a first mount may have made, down from ~/.cache: a power cut must not
take one of them with all that is in it."""


@attrs.define(eq=False)
class Refusal:
    """A sync has failed: the kernel may have dropped what it could not write, and a second sync would say
    that all is well. Nor is what can be read then what was written, on every file system."""

    number: int
    """The error's."""
    _unsure: ExtentMap
    """As a file in which only what was written since is staged, or never was refused; the rest is base."""

    @classmethod
    def of(cls, extents: ExtentMap, error: OSError) -> Refusal:
        """All staged bytes were refused."""
        stop = extents.staged_stop
        unsure = ExtentMap(stop, base_stop=stop)
        for extent in extents.within(ByteRange(0, stop)):
            if extent.source is not Source.STAGED:
                unsure.mark_staged(extent.span)
        return cls(error.errno or 0, unsure)

    def wrote(self, start: int, stop: int) -> None:
        """These were written again."""
        self._unsure.mark(start, stop)

    def truncate(self, size: int) -> None:
        """The file has this size now."""
        self._unsure.truncate(size)

    def check(self) -> None:
        """Raises OSError as long as not all that was refused has been written again, or cut off."""
        if not self._unsure.is_past_base:
            raise OSError(self.number, "the disk has refused what was written: it has to be written again")


@attrs.define(eq=False)
class StagedFile:
    """A file being edited. The local file exists from the first write on.

    After `seal` it may go on being written to when that was for an fsync, when the submit failed,
    or when the sealed generation was withdrawn; otherwise it must not.
    """

    staging_id: str
    path: str
    extents: ExtentMap
    _staging: Staging
    _made_from: ObjectVersion | SealedFile | None
    fate: Fate = attrs.field(factory=Fate)
    _fd: int | None = None
    _stood_on: list[SealedFile] = attrs.field(factory=list)
    refusal: Refusal | None = None
    """Of the last sync, if that failed."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.extents.size

    @property
    def base(self) -> ObjectVersion | SealedFile | None:
        """What BASE extents refer to now."""
        return landed(self._made_from)

    def write(self, offset: int, data: bytes) -> int:
        """Put bytes into the local file at once, all of them; returns how many. Raises OSError, then
        the file is as it was. (Where a disk takes space also for writing over what is there, some of
        those bytes may be new.)"""
        fd, view, stop = self._descriptor(), memoryview(data), offset + len(data)
        try:
            for part in self._parts(offset, stop):
                write_all(fd, part.start, view[part.start - offset : part.stop - offset])
        finally:
            if self.fate.sent is not None:
                self.fate.sent.touched(offset, stop)
        self.extents.mark(offset, stop)
        if self.refusal is not None:
            self.refusal.wrote(offset, stop)
        return len(data)

    def _parts(self, start: int, stop: int) -> Iterator[ByteRange]:
        """What is not staged yet comes first: only that takes space, and as long as it is not marked
        nobody sees it. A part of a write would get lost: the kernel takes no notice of an answer that
        tells of fewer bytes of a memory map than it has sent."""
        if start >= self.extents.staged_stop:
            yield ByteRange(start, stop)
            return
        extents = self.extents.within(ByteRange(start, stop))
        staged = [extent.span for extent in extents if extent.source is Source.STAGED]
        for span in staged:
            if start < span.start:
                yield ByteRange(start, span.start)
            start = span.stop
        if start < stop:
            yield ByteRange(start, stop)
        yield from staged

    def truncate(self, size: int) -> None:
        """Change the size in the map only: a journal record may refer to bytes behind it."""
        if self.fate.sent is not None:
            self.fate.sent.touched(min(size, self.size), max(size, self.size))
        self.extents.truncate(size)
        if self.refusal is not None:
            self.refusal.truncate(size)

    def pread(self, span: ByteRange) -> bytes:
        """The staged bytes of a span within one STAGED extent. Raises OSError, CorruptData."""
        return read_span(self._descriptor(), span)

    async def sync(self) -> None:
        """Make what was written durable. Raises OSError."""
        await self._staging.sync(self.staging_id, self.extents)

    def seal(self, path: ObjectPath, metadata: ObjectMetadata, attributes: Attributes) -> SealedFile:
        """The file as it is now, under the name and with the attributes that it has now."""
        self._close()
        return SealedFile(
            self.staging_id,
            path,
            metadata,
            attributes,
            self.extents.copy(),
            str(self._staging.directory),
            self.base,
            self.fate,
            time.time(),
        )

    def stand_on(self, version: ObjectVersion | None, stop: int, copied: Iterable[ByteRange]) -> None:
        """The local file has these bytes now, and base bytes are the first `stop` of `version`. What it
        stood on is kept until `recorded`: an older record of it may say that it still does."""
        if isinstance(self._made_from, SealedFile):
            self._stood_on.append(self._made_from)
        self.extents.cut_base(stop)
        for span in copied:
            self.extents.mark_staged(span)
        self._made_from = version

    def recorded(self) -> list[str]:
        """Its record says what it stands on now. Returns the local files that may go for that."""
        stood_on, self._stood_on = self._stood_on, []
        return [path for base in stood_on for path in self._staging.release(base, self.staging_id)]

    def discard(self) -> None:
        """Nobody wants these bytes: delete the local file."""
        self._close()
        self.fate.dropped = True
        for path in [self.path, *self.recorded()]:
            self._staging.delete_now(path)
        for path in self._staging.release(self._made_from, self.staging_id):
            self._staging.delete_now(path)

    def _descriptor(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._fd

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def __del__(self) -> None:
        self._close()


async def _nothing_gives_way(_needed: int) -> bool:
    return False


@attrs.define(eq=False)
class Staging:
    """The directory of the local files. `open` it before anything else."""

    directory: Path
    lane: ThreadLane
    _make_room: MakeRoom = _nothing_gives_way
    """Asked for so many bytes of the disk, for a start; False when there is nothing left to give."""
    _lock: int | None = None
    _live: WeakValueDictionary[str, StagedFile] = attrs.field(factory=WeakValueDictionary)

    def open(self) -> None:
        """Make the directory and take it for this process, until `close` or the process ends.
        Raises MountPointUnusable when another mount has it, OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for above in list(self.directory.parents)[:LEVELS]:
            with contextlib.suppress(OSError):  # one that isn't ours has been there for long
                sync_directory(str(above))
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise MountPointUnusable(
                f"{in_words(holder_of(self.directory))} uses the cache in {self.directory.parent}: "
                "unmount that, or choose another --cache-dir"
            ) from None
        self._lock = fd

    def close(self) -> None:
        """Give the directory back."""
        if self._lock is not None:
            fd, self._lock = self._lock, None
            os.close(fd)

    def create(self, base: ObjectVersion | SealedFile | None, size: int) -> StagedFile:
        """A new generation with `size` bytes, all of them those of `base` (as far as it goes)."""
        staging_id, base = uuid.uuid4().hex, landed(base)
        if isinstance(base, SealedFile):
            base = attrs.evolve(base, made_from=base.base)  # else a chain of what has landed grows
            base.fate.users |= {staging_id}
        extents = ExtentMap(size, base_stop=min(size, base.size) if base else 0)
        return self._register(StagedFile(staging_id, self.path_of(staging_id), extents, self, base))

    def reopen(self, sealed: SealedFile) -> StagedFile:
        """Go on editing a generation that was withdrawn. Whoever still sends it from the StagedFile that it
        was has the same one, and with it the same map of its bytes."""
        live = self._live.get(sealed.staging_id)
        if live is not None:
            return live
        extents, path = sealed.extents.copy(), sealed.local_path
        return self._register(
            StagedFile(sealed.staging_id, path, extents, self, sealed.made_from, sealed.fate)
        )

    def path_of(self, staging_id: str) -> str:
        """The local file of a generation."""
        return str(self.directory / staging_id)

    async def sync(self, staging_id: str, extents: ExtentMap) -> None:
        """Make a generation's local file and its name durable. Raises OSError; then also the next time,
        until all of these bytes have been written again or cut off (see Refusal)."""
        if not extents.staged_stop:
            return
        staged = self._live.get(staging_id)
        if staged is not None and staged.refusal is not None:
            staged.refusal.check()
        try:
            await self.lane.run_uncancelled(make_durable, self.path_of(staging_id), str(self.directory))
        except OSError as error:
            if staged is not None:
                staged.refusal = Refusal.of(extents, error)
            await self.make_room(error)  # for who writes it again
            raise
        if staged is not None:
            staged.refusal = None

    async def make_room(self, error: OSError, needed: int = 0) -> bool:
        """Whether it is worth trying again what met `error`: the disk was full, and something has
        given way since."""
        return is_full(error) and await self._make_room(needed)

    def keep(self, sealed: SealedFile) -> str:
        """Its local file stays, also when no record names it. Returns who to `let_go` it for."""
        user = uuid.uuid4().hex
        sealed.fate.users |= {user}
        return user

    async def let_go(self, sealed: SealedFile, user: str) -> None:
        """The end of a `keep`. Never raises OSError: the next mount removes what should have gone."""
        with contextlib.suppress(OSError):
            await self.delete(self.release(sealed, user))

    def release(self, base: ObjectVersion | SealedFile | None, user: str) -> list[str]:
        """The generation `user` reads from `base` no more. Returns the local files that may go."""
        if not isinstance(base, SealedFile):
            return []
        base.fate.users -= {user}
        if not base.fate.dropped or base.fate.version:
            return []  # whoever drops its record sees to its file
        return self._unused(base)

    def retired(self, sealed: SealedFile) -> list[str]:
        """No record names `sealed` any more: it is in B2, superseded or unlinked. Returns the local
        files that may go: none while a younger generation reads from it; else its own, and those
        that only it was keeping."""
        sealed.fate.dropped = True
        if sealed.fate.version:
            sealed.fate.users = frozenset()  # they read from B2 now
        return self._unused(sealed)

    def _unused(self, sealed: SealedFile) -> list[str]:
        if sealed.fate.users:
            return []
        own = sealed.local_path + SENT if sealed.fate.marked else sealed.local_path
        return [own, *self.release(sealed.made_from, sealed.staging_id)]

    async def delete(self, paths: list[str]) -> None:
        """Delete local files; fine when they are gone."""
        if paths:
            await self.lane.run_uncancelled(remove_all, paths)

    def delete_now(self, path: str) -> None:
        """Delete one local file without leaving the caller's step."""
        remove_all([path])

    async def shortfalls(self, generations: Iterable[SealedFile]) -> dict[str, str]:
        """By staging id: why the staged bytes of these generations can't be read, where they can't."""
        files = [(g.staging_id, g.local_path, g.extents.staged_stop) for g in generations]
        return await self.lane.run(shortfalls, files)

    async def remove_strays(self, wanted: Set[str]) -> int:
        """Delete local files that belong to no generation in `wanted` and to no open file."""
        keep = {*wanted, *self._live.keys()}
        return await self.lane.run_uncancelled(remove_strays, str(self.directory), keep)

    def _register(self, staged: StagedFile) -> StagedFile:
        self._live[staged.staging_id] = staged
        return staged

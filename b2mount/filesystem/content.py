"""FileContent: where the bytes of one inode are right now; the one place where reading and writing meet.

The bytes are layers, newest first: `staged` (being edited), `sealed` (closed, on its way to B2),
and the inode's committed version. A BASE extent of a layer is looked up in the layer below.

Invariants: one FileContent per inode that is open or has something unsent, shared by its handles,
so a reader sees every completed write; `staged` and `sealed` change only between two awaits or
under `lock`; a sealed layer whose upload has begun is never written to again.

Must not know: names, handles, the kernel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from weakref import ReferenceType, ref

import attrs
import trio

from b2mount.model import ByteRange, Kind, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.writing.extents import Source
from b2mount.writing.local_bytes import is_full
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile, Staging
from b2mount.writing.write_back import WriteBack

ReadVersion = Callable[[ObjectVersion, ByteRange], Awaitable[bytes | memoryview]]


@attrs.define(eq=False, weakref_slot=False)
class FileContent:
    """The bytes of one inode."""

    inode: Inode
    _staging: Staging
    _write_back: WriteBack
    staged: StagedFile | None = None
    sealed: SealedFile | None = None
    dirty: bool = False
    """Something in `staged` has not been submitted."""
    untouched: bool = False
    """Just created, and no close has been seen yet."""
    is_leaving: bool = False
    """The records of its bytes are being dropped: whoever does that discards them afterwards."""
    reading: tuple[ObjectVersion, ...] = ()
    """Versions that a read is under way of."""
    readers: int = 0
    writers: int = 0
    _lock: ReferenceType[trio.Lock] | None = None

    @property
    def lock(self) -> trio.Lock:
        """Held while `staged` is being sealed or checkpointed, and by a write that waits for room on the
        disk; a write waits for it. It is there while somebody has it: unsent files are many."""
        lock = self._lock() if self._lock is not None else None
        if lock is None:
            lock = trio.Lock()
            self._lock = ref(lock, self._nobody_has)
        return lock

    def _nobody_has(self, lock: ReferenceType[trio.Lock]) -> None:
        if self._lock is lock:
            self._lock = None

    @property
    def is_locked(self) -> bool:
        """Whether somebody holds the lock."""
        lock = self._lock() if self._lock is not None else None
        return lock is not None and lock.locked()

    @property
    def size(self) -> int:
        """Bytes, as a program sees them now."""
        layer = self.staged or self.sealed
        if layer is not None:
            return layer.size
        return self.inode.version.size if self.inode.version else 0

    @property
    def idle(self) -> bool:
        """Nobody has it open and B2 has all of it."""
        return not (self.readers or self.writers or self.staged or self.sealed)

    @property
    def staging_ids(self) -> tuple[str, ...]:
        """The generations that B2 does not have yet, or not for long."""
        return tuple(layer.staging_id for layer in (self.staged, self.sealed) if layer is not None)

    async def stop_sending(self) -> None:
        """As WriteBack.stop says."""
        await self._write_back.stop(*self.staging_ids)

    async def forget(self) -> None:
        """As WriteBack.forget says: nothing of it is on its way any more."""
        layers = [layer for layer in (self.staged, self.sealed) if layer is not None]
        self.is_leaving = True
        try:
            await self._write_back.forget(*self.staging_ids)
        finally:
            self.is_leaving = False
        for layer in layers:
            layer.fate.owner = None
        self.sealed = None

    def take_back(self) -> bool:
        """Go on editing what was sealed. False when its upload has begun, or someone waits for it."""
        if self.sealed is None or not self._write_back.withdraw(self.sealed.staging_id):
            return False
        if self.staged is None:
            self.staged, self.dirty = self._staging.reopen(self.sealed), True
            self.sealed = None  # else it stays: whoever forgets this file has to forget its record too
        return True

    def send_after_all(self, sealed: SealedFile | None) -> None:
        """Have it sent after all: nothing was changed since `edit` has taken `sealed` back, if it has."""
        if sealed is not None and self.staged is not None and self.staged.staging_id == sealed.staging_id:
            self.staged, self.sealed, self.dirty = None, sealed, False
            self._write_back.send_after_all(sealed.staging_id)

    def edit(self) -> StagedFile:
        """The layer to write to: the one being edited, or the sealed one taken back when its
        upload has not begun, or a new one over what there is. Raises OSError of the local disk."""
        if self.staged is None:
            self.take_back()
        staged = self.staged
        if staged is None:
            staged = self.staged = self._staging.create(*self._what_there_is())
        self.dirty = True
        return staged

    def _what_there_is(self) -> tuple[ObjectVersion | SealedFile | None, int]:
        """What else than files there is has no bytes: to send it anew costs less than a copy."""
        if self.inode.kind is not Kind.FILE:
            return None, 0
        return self.sealed or self.inode.version, self.size

    async def write(self, offset: int, data: bytes) -> int:
        """Put bytes into the staging file, all of them; returns how many. On a full disk it waits until
        others have made room. Raises OSError (ENOSPC) when nobody can; then nothing has changed."""
        if not self.is_locked:
            try:
                return self.edit().write(offset, data)
            except OSError as error:
                if not is_full(error):
                    raise
        async with self.lock:  # those that come meanwhile are written after this one
            return await self._write_somehow(offset, data)

    async def _write_somehow(self, offset: int, data: bytes) -> int:
        while True:
            try:
                return self.edit().write(offset, data)
            except OSError as error:
                if not await self._staging.make_room(error, len(data)):
                    raise

    async def truncate(self, size: int) -> None:
        """Cut or lengthen (with zeros). No byte is fetched for it."""
        async with self.lock:
            self.cut(size)

    def cut(self, size: int) -> None:
        """As `truncate`, for who has the lock."""
        if size == 0:
            self._leave_what_is_recorded()
        self.edit().truncate(size)

    def is_recorded_beyond(self, size: int) -> bool:
        """Whether a crash would leave a longer file than this of the layer that is written to."""
        layer = self.staged or self.sealed
        recorded = self._write_back.recorded(layer.staging_id) if layer is not None else None
        return recorded is not None and recorded.size > size

    def _leave_what_is_recorded(self) -> None:
        """Go on in a new local file: were the next bytes written over those that the journal knows,
        a crash would show them in a file of the old length, which nobody has ever written."""
        recorded = self._write_back.leave(self.staged.staging_id) if self.staged else self.sealed
        if recorded is not None:
            self.sealed = recorded
            self.staged = self._staging.create(recorded.base_version, 0)

    async def read(self, span: ByteRange, read_version: ReadVersion) -> bytes | memoryview:
        """The bytes of `span`, fewer at the end of the file."""
        span = span.intersect(ByteRange(0, self.size))
        layer = self.staged or self.sealed
        if layer is None:
            version = self.inode.version
            if version is None or not span:
                return b""
            with self._needing(version):
                return await read_version(version, span)
        # local bytes first, at one moment; then what is in B2, which can't change
        pieces = _gather(layer, span)
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            return pieces[0]
        with self._needing(*(piece[0] for piece in pieces if not isinstance(piece, bytes))):
            parts = [piece if isinstance(piece, bytes) else await read_version(*piece) for piece in pieces]
        return b"".join(parts)

    @contextmanager
    def _needing(self, *versions: ObjectVersion) -> Iterator[None]:
        self.reading += versions
        try:
            yield
        finally:
            left = list(self.reading)
            for version in versions:
                left.remove(version)
            self.reading = tuple(left)


Piece = bytes | tuple[ObjectVersion, ByteRange]


def _gather(layer: StagedFile | SealedFile, span: ByteRange) -> list[Piece]:
    pieces: list[Piece] = []
    for extent in layer.extents.within(span):
        if extent.source is Source.STAGED:
            pieces.append(layer.pread(extent.span))
        elif extent.source is Source.HOLE or layer.base is None:
            pieces.append(bytes(extent.span.size))
        elif isinstance(layer.base, ObjectVersion):
            pieces.append((layer.base, extent.span))
        else:
            pieces.extend(_gather(layer.base, extent.span))
    return pieces

"""Fingerprint: what tells the bytes of an upload from others: the SHA-1 of them all, and the CRC-32 of
each block, so that whoever reads them back can tell right ones from wrong ones block by block.

Invariants: a checksum is UNKNOWN unless it was made of the very bytes that were sent, or of bytes
that B2 copied from a version whose checksum was known.

Must not know: the store, where the checksums are kept.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import attrs
from isal import isal_zlib

from b2mount.errors import CorruptData
from b2mount.model import ByteRange
from b2mount.threads import ThreadLane
from b2mount.writing.extents import Run, Source

STEP: Final = 1024 * 1024
HASHED_AT_ONCE: Final = 128 * 1024 * 1024
"""Bytes per call of the lane, so that hashing a huge file does not hold up every fsync."""
UNKNOWN: Final = 0
"""In place of a checksum that nobody knows."""

_ZEROS: Final = bytes(STEP)


class Checksums(Protocol):
    """Keeps the CRC-32 of each block of versions, UNKNOWN where nobody knows it."""

    @property
    def block_size(self) -> int:
        """Bytes of every block but a version's last."""

    async def digests(self, version_id: str) -> array[int] | None:
        """What is known of a version."""

    async def keep_digests(self, version_id: str, digests: array[int]) -> None:
        """Remember it, as far as the disk lets us."""


@attrs.define(eq=False)
class Fingerprint:
    """Grows with the bytes that it is given, front to back."""

    block_size: int
    sums: array[int] = attrs.field(factory=lambda: array("I"))
    """Of the blocks that are whole; of the last one, too, once `ended`."""
    size: int = 0
    """Bytes so far."""
    _sha1: hashlib._Hash = attrs.field(factory=lambda: hashlib.sha1(usedforsecurity=False))
    _crc: int = 0
    _filled: int = 0
    """Bytes of the block that is not whole yet."""
    _is_known: bool = True
    is_local: bool = True
    """Whether all bytes were given, so that there is a SHA-1."""

    @property
    def sha1(self) -> str | None:
        """Of all bytes; None when some were passed over."""
        return self._sha1.hexdigest() if self.is_local else None

    @property
    def contents(self) -> str:
        """Tells these bytes from others between the same passed over ones."""
        return self._sha1.hexdigest()

    def copy(self) -> Fingerprint:
        """One that grows apart from this one."""
        return attrs.evolve(self, sums=self.sums[:], sha1=self._sha1.copy())

    def take(self, data: bytes) -> None:
        """The next bytes."""
        self._sha1.update(data)
        view = memoryview(data)
        while view:
            piece = view[: self.block_size - self._filled]
            self._crc = isal_zlib.crc32(piece, self._crc)
            self._fill(len(piece))
            view = view[len(piece) :]

    def skip(self, size: int) -> None:
        """The next bytes are not here."""
        self.is_local = False
        self._sha1.update(b"%d bytes that are not here" % size)
        while size:
            step = min(size, self.block_size - self._filled)
            self._is_known = False
            self._fill(step)
            size -= step

    def ended(self) -> Fingerprint:
        """What it is when there are no more bytes."""
        whole = self.copy()
        if whole._filled:
            whole.sums.append(whole._crc if whole._is_known else UNKNOWN)
        return whole

    def _fill(self, size: int) -> None:
        self.size += size
        self._filled += size
        if self._filled == self.block_size:
            self.sums.append(self._crc if self._is_known else UNKNOWN)
            self._crc, self._filled, self._is_known = 0, 0, True


async def fingerprint_of(
    lane: ThreadLane, runs: Sequence[Run], block_size: int, begun: Fingerprint | None = None
) -> Fingerprint:
    """The fingerprint of a file; base bytes are passed over. `begun` is that of its first bytes,
    where somebody has it. Raises OSError, CorruptData."""
    fingerprint = Fingerprint(block_size)
    fingerprint.is_local = all(run.source is not Source.BASE for run in runs)
    if begun is not None and fingerprint.is_local and begun.is_local:
        fingerprint = begun
    return (await grown(lane, fingerprint, runs)).ended()


async def grown(lane: ThreadLane, fingerprint: Fingerprint, runs: Sequence[Run]) -> Fingerprint:
    """`fingerprint` after the bytes of `runs` that it does not have yet; it has none behind a gap.
    Raises OSError, CorruptData."""
    waiting: list[Run] = []
    size = 0
    for piece in (piece for run in runs for piece in _pieces(run, fingerprint.size)):
        waiting.append(piece)
        size += piece.span.size
        if size >= HASHED_AT_ONCE:
            fingerprint = await lane.run(_grown, fingerprint.copy(), waiting)
            waiting, size = [], 0
    return await lane.run(_grown, fingerprint.copy(), waiting)


def fill_from_base(
    sums: array[int], runs: Iterable[Run], size: int, base: array[int], base_size: int, block_size: int
) -> None:
    """Blocks of a file of `size` bytes that are the same ones in its base have their checksums."""
    for run in runs:
        if run.source is not Source.BASE:
            continue
        first, stop = -(-run.span.start // block_size), run.span.stop // block_size
        if run.span.stop == size == base_size:
            stop = len(sums)  # the last one may be short, in both
        stop = min(stop, len(base), len(sums))
        if first < stop:
            sums[first:stop] = base[first:stop]


def _pieces(run: Run, begin: int) -> Iterable[Run]:
    for start in range(max(run.span.start, begin), run.span.stop, HASHED_AT_ONCE):
        span = ByteRange(start, min(start + HASHED_AT_ONCE, run.span.stop))
        yield Run(span, run.source, run.file)


def _grown(fingerprint: Fingerprint, runs: list[Run]) -> Fingerprint:
    """`fingerprint` after the bytes of `runs`. For a thread."""
    for run in runs:
        if run.source is Source.STAGED:
            _take_file(fingerprint, run)
        elif run.source is Source.BASE:
            fingerprint.skip(run.span.size)
        else:
            for start in range(0, run.span.size, STEP):
                fingerprint.take(_ZEROS[: run.span.size - start])
    return fingerprint


def _take_file(fingerprint: Fingerprint, run: Run) -> None:
    fd = os.open(run.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position = run.span.start
        while position < run.span.stop:
            data = os.pread(fd, min(STEP, run.span.stop - position), position)
            if not data:
                raise CorruptData("a staging file is shorter than what was written to it")
            fingerprint.take(data)
            position += len(data)
    finally:
        os.close(fd)

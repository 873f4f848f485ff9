"""The blocks of one group on disk: one sparse file, each block at its own place in it.

    0       a table: checksum and length of each block, zeros where there is none
    4096    the group's first block, 128 KiB
    135168  the second one, and so on: neighbours are neighbours here, and are read in one go

Invariants: a block's checksum covers its bytes, its place, and which group of which version it is of,
so a torn, damaged or misplaced one reads as no block, whichever of its bytes and its entry reached
the disk. That is why nothing is fsynced and blocks are written in place: after a power cut the
checksums find what was lost, and a cache may lose it. One thread at a time writes to a file.

CRC-32 finds every single flipped byte and misses one in 2^32 random damages, and nothing here is
meant against an attacker. It is zlib's, as ISA-L computes it: 25 GB/s of blocks in memory here, where
zlib does 5 and SHA-1 1.9 (2026-11-22), so reading from the cache costs little more than its copies.

Must not know: versions, which blocks there should be, trio.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs
from isal import isal_zlib

from b2mount.reading.block_index import GROUP
from b2mount.reading.whole_file import make_private

log = logging.getLogger(__name__)

BLOCK_SIZE: Final = 128 * 1024
"""Bytes of every block but a version's last. A 64 KiB read touches at most two, so it fetches at
most four times what it asks for; the kernel's ordinary read is exactly one."""
HEADER: Final = 4096
"""Bytes before the first block: a page, so that blocks are aligned."""
LARGEST: Final = HEADER + GROUP * BLOCK_SIZE
"""Bytes of the file of a group of which every block is there."""
_ENTRY: Final = struct.Struct("<II")
_TABLE: Final = struct.Struct(f"<{2 * GROUP}I")

Data: TypeAlias = bytes | memoryview


def checksum_of(data: Data) -> int:
    """The checksum of a block's bytes alone."""
    return isal_zlib.crc32(data)


@attrs.frozen
class Piece:
    """One block of a group."""

    place: int
    """Which one of the group, from 0."""
    data: Data


def write_blocks(path: str, identity: bytes, pieces: Sequence[Piece]) -> tuple[int, str]:
    """Put blocks, in the order of their places, into a group's file; it is made, in a private
    directory, if need be. Returns how many of them are there now, and what the disk said if those
    are not all."""
    written = 0
    try:
        descriptor, is_new = _open(path)
    except OSError as error:
        return 0, str(error)
    try:
        for run in _runs(pieces):
            _write_run(descriptor, identity, run)
            written += len(run)
    except OSError as error:
        if is_new and not written:
            unlink(path)
        return written, str(error)
    finally:
        os.close(descriptor)
    return written, ""


def _open(path: str) -> tuple[int, bool]:
    flags = os.O_WRONLY | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags), False
    make_private(os.path.dirname(path))
    return os.open(path, flags | os.O_CREAT, 0o600), True


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that are next to each other in the file."""
    run: list[Piece] = []
    for piece in pieces:
        if run and (piece.place != run[-1].place + 1 or len(run[-1].data) != BLOCK_SIZE):
            yield run
            run = []
        run.append(piece)
    yield run


def _write_run(descriptor: int, identity: bytes, run: list[Piece]) -> None:
    """Raises OSError; then the entries are as they were."""
    first = run[0].place
    size = sum(len(piece.data) for piece in run)
    written = os.pwritev(descriptor, [piece.data for piece in run], HEADER + first * BLOCK_SIZE)
    if written != size:
        raise OSError(f"only {written} of {size} bytes fitted on the disk")
    entries = [_ENTRY.pack(_checksum(piece.data, identity, piece.place), len(piece.data)) for piece in run]
    os.pwrite(descriptor, b"".join(entries), first * _ENTRY.size)


def _checksum(data: Data, identity: bytes, place: int) -> int:
    return isal_zlib.crc32(data, isal_zlib.crc32(identity) ^ place)


def read_blocks(path: str, identity: bytes, places: range, *, wait: bool) -> memoryview | None:
    """The bytes of neighbouring blocks; None unless every one of them is there, undamaged, and all but
    the last of full length.

    Without `wait` only what is in memory is read: raises BlockingIOError when that is not all.
    Raises OSError when there is no such file or it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        table = _pread(descriptor, _TABLE.size, 0, wait=wait)
        if len(table) != _TABLE.size:
            return None
        numbers = _TABLE.unpack(table)[2 * places.start : 2 * places.stop]
        checksums, lengths = numbers[::2], numbers[1::2]
        size = sum(lengths)
        if not (len(lengths) - 1) * BLOCK_SIZE < size <= len(lengths) * BLOCK_SIZE:
            return None
        content = _pread(descriptor, size, HEADER + places.start * BLOCK_SIZE, wait=wait)
    finally:
        os.close(descriptor)
    for number, place in enumerate(places):
        block = content[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
        if len(block) != lengths[number] or _checksum(block, identity, place) != checksums[number]:
            return None
    return content


def _pread(descriptor: int, size: int, offset: int, *, wait: bool) -> memoryview:
    if wait:
        return memoryview(os.pread(descriptor, size, offset))
    content = bytearray(size)
    try:
        count = os.preadv(descriptor, [content], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        raise
    except OSError:  # this filesystem has no RWF_NOWAIT: waiting inline is what is left
        return memoryview(os.pread(descriptor, size, offset))
    if count != size:
        raise BlockingIOError(f"{count} of {size} bytes are in memory")
    return memoryview(content).toreadonly()


def erase_block(path: str, place: int) -> bool:
    """Forget one block of a group; its bytes take their space for as long as the file is there. False
    when there was no such file, or it had to go with all blocks in it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, bytes(_ENTRY.size), place * _ENTRY.size)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return False
    except OSError:
        unlink(path)
        return False
    return True


def places_in(path: str) -> int:
    """One bit for each block that a group's file claims to have. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        table = os.pread(descriptor, _TABLE.size, 0)
    finally:
        os.close(descriptor)
    if len(table) != _TABLE.size:
        return 0
    return sum(bool(length) << place for place, length in enumerate(_TABLE.unpack(table)[1::2]))


def unlink(path: str) -> None:
    """Remove one file, as far as the disk lets us."""
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)

"""One block on disk: the bytes, then a trailer with their checksum; written whole or not at all.

Invariants: a file under a block's name was complete when it got that name (temporary file, then
rename). The checksum covers the bytes and the block's identity, so a torn, damaged or misplaced
file reads as no block at all. That is why nothing is fsynced: after a power cut the checksum finds
the files that never reached the disk, and a cache may lose them.

CRC-32 finds every single flipped byte and misses one in 2^32 random damages; zlib's runs at
4.9 GB/s here, SHA-1 at 1.8 (128 KiB, 2026-11-22), and nothing here is meant against an attacker.

Must not know: versions, which blocks there are, trio.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import Final, TypeAlias

BLOCK_SIZE: Final = 128 * 1024
"""Bytes of every block but a version's last. A 64 KiB read touches at most two, so it fetches at
most four times what it asks for; the kernel's ordinary read is exactly one."""

Data: TypeAlias = bytes | memoryview

_LARGEST: Final = 64 << 20
_TRAILER: Final = struct.Struct("<4sII")
_MAGIC: Final = b"b2m1"


def checksum_of(data: Data, identity: bytes = b"") -> int:
    """The checksum of a block's bytes; with an identity, bound to which block it is."""
    return zlib.crc32(data, zlib.crc32(identity))


def write_block(path: str, identity: bytes, data: Data) -> int:
    """Make `path` hold this block, in its (private) directory, made if need be; returns the file's
    size. Raises OSError, and then `path` is as it was."""
    trailer = _TRAILER.pack(_MAGIC, len(data), checksum_of(data, identity))
    return write_whole(path, data, trailer)


def write_whole(path: str, *pieces: Data) -> int:
    """Make `path` hold these bytes or leave it as it was; returns their number. Raises OSError."""
    temporary = f"{path}.tmp"
    try:
        descriptor = _create(temporary)
    except FileNotFoundError:
        make_private(os.path.dirname(path))
        descriptor = _create(temporary)
    try:
        size = _write_all(descriptor, pieces)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    return size


def make_private(directory: str) -> None:
    """Make a directory, and those above it that are missing, for this user alone. Fine when it is
    there. Raises OSError."""
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for path in reversed(missing):  # os.makedirs gives its mode to the last one only
        with contextlib.suppress(FileExistsError):  # another thread was sooner
            os.mkdir(path, 0o700)


def _write_all(descriptor: int, pieces: tuple[Data, ...]) -> int:
    size = sum(map(len, pieces))
    try:
        written = os.writev(descriptor, pieces)
    finally:
        os.close(descriptor)
    if written != size:
        raise OSError(f"only {written} of {size} bytes fitted on the disk")
    return size


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def read_block(path: str, identity: bytes, *, wait: bool) -> memoryview | None:
    """The block's bytes; None when the file is not that block, whole and undamaged.

    Without `wait` only what is in memory is read: raises BlockingIOError when that is not all.
    Raises OSError when there is no such file or it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = _pread(descriptor, wait=wait)
    finally:
        os.close(descriptor)
    size = len(content) - _TRAILER.size
    if size < 0:
        return None
    magic, expected, checksum = _TRAILER.unpack_from(content, size)
    data = content[:size]
    if magic != _MAGIC or expected != size or checksum != checksum_of(data, identity):
        return None
    return data


def _pread(descriptor: int, *, wait: bool) -> memoryview:
    size = os.fstat(descriptor).st_size
    if size > _LARGEST:
        return memoryview(b"")
    if wait:
        return memoryview(os.pread(descriptor, size, 0))
    content = bytearray(size)
    try:
        count = os.preadv(descriptor, [content], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        raise
    except OSError:  # this filesystem has no RWF_NOWAIT: waiting inline is what is left
        return memoryview(os.pread(descriptor, size, 0))
    if count != size:
        raise BlockingIOError(f"{count} of {size} bytes are in memory")
    return memoryview(content).toreadonly()

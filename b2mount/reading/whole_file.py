"""A small file of the cache, written whole or not at all: the bytes, then a trailer with their checksum.

Invariants: a file that has its name was complete when it got it (temporary file, then rename). The
checksum covers the bytes and what they are for, so a torn, damaged or misplaced file reads as none.
That is why nothing is fsynced: after a power cut the checksum finds what never reached the disk.

Must not know: versions, blocks, trio.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Final

from isal import isal_zlib

_LARGEST: Final = 320 << 20
"""Bytes of a file that can be one: four for each block of 128 KiB of the largest object in B2, 10 TB."""
_TRAILER: Final = struct.Struct("<4sII")
_MAGIC: Final = b"b2m1"


def write_whole(path: str, identity: bytes, data: bytes) -> None:
    """Make `path` hold these bytes, in its (private) directory, made if need be. Raises OSError, and
    then `path` is as it was."""
    temporary = f"{path}.tmp"
    make_private(os.path.dirname(path))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, data, _TRAILER.pack(_MAGIC, len(data), _checksum(data, identity)))
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _write_all(descriptor: int, *pieces: bytes) -> None:
    size = sum(map(len, pieces))
    try:
        written = os.writev(descriptor, pieces)
    finally:
        os.close(descriptor)
    if written != size:
        raise OSError(f"only {written} of {size} bytes fitted on the disk")


def read_whole(path: str, identity: bytes) -> bytes | None:
    """The bytes; None when the file is not that one, whole and undamaged. Raises OSError when there
    is no such file or it can't be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, size, 0) if _TRAILER.size <= size <= _LARGEST else b""
    finally:
        os.close(descriptor)
    if len(content) < _TRAILER.size:
        return None
    data, trailer = content[: -_TRAILER.size], content[-_TRAILER.size :]
    return data if _TRAILER.unpack(trailer) == (_MAGIC, len(data), _checksum(data, identity)) else None


def _checksum(data: bytes, identity: bytes) -> int:
    return isal_zlib.crc32(data, isal_zlib.crc32(identity))


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

"""ChangeLog: a small file beside the index of names that says whether the index can be believed, and
what of it can't be.

It begins with a header: whose names these are, whether somebody is writing to the index, since which
start of the machine, and the last time that was known. Records follow: directories of which nothing
older than the record is true any more.

A record is one `write` without an fsync: that outlives a killed process. It does not outlive a power
cut; so while a mount is in use the header, which is durable before anything is changed, names the
start of the machine, and after another start an index that was not closed is not believed at all.

Invariants: what is not whole, or not of this index, reads as nothing.

Must not know: what is in the index.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from b2mount.namespace.wall_clock import Moment

FORMAT: Final = f"b2mount names 1 {sys.byteorder}"
"""Changes with everything that is written to the index."""
_HEADER: Final = 4096
_CHECKSUM: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct("<I?QI")
"""Checksum of the rest, whether all below is meant, sequence, length of the name."""
_LONGEST: Final = 4096


@attrs.frozen
class Header:
    """See the module."""

    identity: str
    """Of the account, bucket and prefix."""
    index_id: str
    """Of the index beside it."""
    is_closed: bool
    moment: Moment


@attrs.frozen
class Change:
    """What was known of a directory up to `sequence` is not to be believed."""

    key: str
    sequence: int
    is_below: bool
    """And of all below it."""


@attrs.define(eq=False)
class ChangeLog:
    """An open file. All methods may raise OSError."""

    _fd: int
    _header: Header
    _end: int = _HEADER

    @classmethod
    def open(cls, path: Path, header: Header) -> ChangeLog:
        """Make it, or take one up that has been read: durably, with a new header. Its records are there
        until they are replaced."""
        log = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), header)
        log.write_header(header)
        log.sync()
        return log

    def write_header(self, header: Header) -> None:
        """Durable after `sync`."""
        self._header = header
        data = json.dumps(attrs.asdict(header) | {"format": FORMAT}).encode().ljust(_HEADER - _CHECKSUM.size)
        _write(self._fd, _CHECKSUM.pack(zlib.crc32(data)) + data, 0)

    def keep_moment(self, moment: Moment) -> None:
        """What the clocks have said last."""
        self.write_header(attrs.evolve(self._header, moment=moment))

    def append(self, change: Change) -> None:
        """Known to the next process when this returns, unless the machine stops."""
        data = _encoded(change)
        _write(self._fd, data, self._end)
        self._end += len(data)

    def replace(self, changes: Sequence[Change]) -> None:
        """Only these records are needed from now on. A process killed in here leaves what reads as
        nothing."""
        data = b"".join(map(_encoded, changes))
        _write(self._fd, data, _HEADER)
        self._end = _HEADER + len(data)
        os.ftruncate(self._fd, self._end)

    def sync(self) -> None:
        """Make it durable."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Durable and over: the index can be believed as it is."""
        self.replace([])
        self.write_header(attrs.evolve(self._header, is_closed=True))
        self.sync()
        os.close(self._fd)

    def leave(self) -> None:
        """Let go of the file as it is."""
        os.close(self._fd)

    def void(self) -> None:
        """Nobody may believe the index; and it is over."""
        try:
            os.ftruncate(self._fd, 0)
        finally:
            os.close(self._fd)


def read_log(path: Path) -> tuple[Header, list[Change]] | None:
    """None for no log, or none that can be believed. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _read_header(data[:_HEADER]), _read_records(data)
    except (ValueError, TypeError, KeyError, struct.error):
        return None


def void_log(path: Path) -> None:
    """Durably: nobody will believe the index. Fine when there is none. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.ftruncate(fd, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_header(data: bytes) -> Header:
    if len(data) != _HEADER or _CHECKSUM.pack(zlib.crc32(data[_CHECKSUM.size :])) != data[: _CHECKSUM.size]:
        raise ValueError("no header")
    found = json.loads(data[_CHECKSUM.size :])
    if found.pop("format") != FORMAT:
        raise ValueError("of another version")
    return Header(**(found | {"moment": Moment(**found["moment"])}))


def _read_records(data: bytes) -> list[Change]:
    changes: list[Change] = []
    at = _HEADER
    while at < len(data):
        checksum, is_below, sequence, length = _RECORD.unpack_from(data, at)
        end = at + _RECORD.size + length
        if length > _LONGEST or zlib.crc32(data[at + _CHECKSUM.size : end]) != checksum or end > len(data):
            raise ValueError("a damaged record")
        key = data[at + _RECORD.size : end].decode("utf-8", "surrogatepass")
        changes.append(Change(key, sequence, is_below))
        at = end
    return changes


def _encoded(change: Change) -> bytes:
    key = change.key.encode("utf-8", "surrogatepass")
    data = _RECORD.pack(0, change.is_below, change.sequence, len(key)) + key
    return _CHECKSUM.pack(zlib.crc32(data[_CHECKSUM.size :])) + data[_CHECKSUM.size :]


def _write(fd: int, data: bytes, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise OSError("the disk is full")

"""What is done with the files of the staging directory: plain functions, most of them for a thread.

Must not know: trio, what the bytes are.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from b2mount.errors import CorruptData
from b2mount.model import ByteRange

NO_SPACE: Final = 28
_OVER_QUOTA: Final = 122
"""ENOSPC and EDQUOT, which a program has to see as they are."""
SENT: Final = ".sent"
"""At the end of a name: B2 has these bytes, and here they have made room."""
_OURS: Final = re.compile(r"[0-9a-f]{32}(\.\w+)?")
"""Names of staging files and of what belongs to them; anything else in the directory is left alone."""


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's part of it, had no more room."""
    return error.errno in {NO_SPACE, _OVER_QUOTA}


def write_all(fd: int, offset: int, data: bytes | memoryview) -> None:
    """Put all of these bytes there. Raises OSError; then a part of them may be there."""
    done = 0
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)


def write_at(path: str, offset: int, data: bytes) -> None:
    """As `write_all`, into a file that is made when there is none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, offset, data)
    finally:
        os.close(fd)


def read_span(fd: int, span: ByteRange) -> bytes:
    """All bytes of `span`. Raises OSError, CorruptData when the file is too short."""
    data = os.pread(fd, span.size, span.start)
    while len(data) < span.size:
        more = os.pread(fd, span.size - len(data), span.start + len(data))
        if not more:
            raise CorruptData("a staging file is shorter than what was written to it")
        data += more
    return data


def make_durable(path: str, directory: str) -> None:
    """Make a file's bytes and its name in `directory` durable. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
    sync_directory(directory)


def sync_directory(directory: str) -> None:
    """Make the names in a directory durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Delete a file; fine when it is gone."""
    Path(path).unlink(missing_ok=True)


def remove_all(paths: list[str]) -> None:
    """Delete files; fine when they are gone."""
    for path in paths:
        remove(path)


def mark_sent(paths: list[str]) -> None:
    """Give the bytes of these files up; what is left says of each that B2 has them. Takes no space.
    Fine when there is no such file: then it had no bytes of its own. Raises OSError."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, path + SENT)
            os.truncate(path + SENT, 0)


def marked_sent(directory: str) -> set[str]:
    """The staging ids of what `mark_sent` has left there."""
    return {path.name.removesuffix(SENT) for path in Path(directory).glob(f"*{SENT}")}


def shortfalls(files: list[tuple[str, str, int]]) -> dict[str, str]:
    """Of (id, path, where its last byte must end): by id, why the bytes can't all be there."""
    reasons = ((staging_id, _shortfall(path, stop)) for staging_id, path, stop in files)
    return {staging_id: reason for staging_id, reason in reasons if reason is not None}


def _shortfall(path: str, staged_stop: int) -> str | None:
    if not staged_stop:
        return None
    try:
        size = Path(path).stat().st_size
    except FileNotFoundError:
        return f"its staged bytes are gone: {path} is missing"
    return None if size >= staged_stop else f"its staged bytes are incomplete: {path} is too short"


def remove_strays(directory: str, keep: set[str]) -> int:
    """Delete the files that bear names of ours and are not in `keep`; returns how many."""
    strays = [p for p in Path(directory).iterdir() if _OURS.fullmatch(p.name) and p.name not in keep]
    for path in strays:
        remove(str(path))
    return len(strays)

"""What an upload does with files of the staging directory, in the disk lane."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from b2mount.errors import CorruptData
from b2mount.model import ByteRange
from b2mount.threads import ThreadLane
from b2mount.writing.extents import Run, Source

STEP: Final = 1024 * 1024
HASHED_AT_ONCE: Final = 128 * 1024 * 1024
"""Bytes per call of the lane, so that hashing a huge file does not hold up every fsync."""

_ZEROS: Final = bytes(STEP)


async def sha1_of(lane: ThreadLane, runs: Iterable[Run]) -> str:
    """The SHA-1 of a file that is all staged bytes and holes. Raises OSError, CorruptData."""
    digest = hashlib.sha1(usedforsecurity=False)
    waiting: list[Run] = []
    size = 0
    for piece in (piece for run in runs for piece in _pieces(run)):
        waiting.append(piece)
        size += piece.span.size
        if size >= HASHED_AT_ONCE:
            digest = await lane.run(_hashed, digest.copy(), waiting)
            waiting, size = [], 0
    return (await lane.run(_hashed, digest.copy(), waiting)).hexdigest()


def write_at(path: str, offset: int, data: bytes) -> None:
    """Put bytes into a file, which is made when there is none. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Delete a file; fine when it is gone."""
    Path(path).unlink(missing_ok=True)


def _pieces(run: Run) -> Iterable[Run]:
    for start in range(run.span.start, run.span.stop, HASHED_AT_ONCE):
        span = ByteRange(start, min(start + HASHED_AT_ONCE, run.span.stop))
        yield Run(span, run.source, run.file)


def _hashed(digest: hashlib._Hash, runs: list[Run]) -> hashlib._Hash:
    """`digest` after the bytes of `runs`."""
    for run in runs:
        if run.source is Source.STAGED:
            _hash_file(digest, run)
        else:
            for start in range(0, run.span.size, STEP):
                digest.update(_ZEROS[: run.span.size - start])
    return digest


def _hash_file(digest: hashlib._Hash, run: Run) -> None:
    fd = os.open(run.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position = run.span.start
        while position < run.span.stop:
            data = os.pread(fd, min(STEP, run.span.stop - position), position)
            if not data:
                raise CorruptData("a staging file is shorter than what was written to it")
            digest.update(data)
            position += len(data)
    finally:
        os.close(fd)

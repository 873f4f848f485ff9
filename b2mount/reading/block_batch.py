"""Many files of the cache at once, in one go of a thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import attrs

from b2mount.reading.block_file import Piece, unlink, write_blocks
from b2mount.reading.block_scan import remove_directory


@attrs.frozen
class GroupWrite:
    """Blocks of one group on their way to the disk, in plain values for a thread."""

    path: str
    identity: bytes
    pieces: Sequence[Piece]
    """In the order of their places."""


def write_all(writes: list[GroupWrite]) -> tuple[list[int], str]:
    """How many pieces of each are on the disk now; and the last refusal in words."""
    counts: list[int] = []
    refusal = ""
    for write in writes:
        count, error = write_blocks(write.path, write.identity, write.pieces)
        counts.append(count)
        refusal = error or refusal
    return counts, refusal


def remove(paths: list[str], emptied: list[str]) -> None:
    """Remove files, then directories that hold nothing else."""
    for path in paths:
        unlink(path)
    for directory in emptied:
        with contextlib.suppress(OSError):  # checksums stay
            os.rmdir(directory)


def remove_all(doomed: list[str]) -> None:
    """Remove directories with all in them."""
    for directory in doomed:
        remove_directory(directory)

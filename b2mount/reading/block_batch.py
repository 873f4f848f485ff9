"""Many block files at once, in one go of a thread."""

from __future__ import annotations

import contextlib
import logging
import os

import attrs

from b2mount.reading.block_file import Data, write_block
from b2mount.reading.block_scan import remove_directory

log = logging.getLogger(__name__)


@attrs.frozen
class Write:
    """One block on its way to the disk, in plain values for a thread."""

    path: str
    identity: bytes
    data: Data


def write_all(writes: list[Write]) -> tuple[list[int | None], str]:
    """The size of each file, None where the disk refused; and the last refusal in words."""
    sizes: list[int | None] = []
    refusal = ""
    for write in writes:
        try:
            sizes.append(write_block(write.path, write.identity, write.data))
        except OSError as error:
            sizes.append(None)
            refusal = str(error)
    return sizes, refusal


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


def unlink(path: str) -> None:
    """Remove one file, as far as the disk lets us."""
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)

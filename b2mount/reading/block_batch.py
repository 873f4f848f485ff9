"""Many files of the cache at once, in one go of a thread."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Iterable

import attrs

from b2mount.model import BlockId
from b2mount.reading.block_file import Data, Piece, unlink, write_blocks
from b2mount.reading.block_index import GROUP
from b2mount.reading.block_scan import remove_directory
from b2mount.reading.cache_layout import DOOMED, directory_key, directory_of, file_of, group_identity

log = logging.getLogger(__name__)


@attrs.frozen
class GroupWrite:
    """Blocks of one group on their way to the disk, in plain values for a thread."""

    path: str
    identity: bytes
    blocks: list[tuple[BlockId, Data]]
    """In order."""


def group_writes(root: str, blocks: Iterable[tuple[BlockId, Data]]) -> list[GroupWrite]:
    """What is to be written where in the cache directory `root`."""
    groups: dict[tuple[str, int], list[tuple[BlockId, Data]]] = {}
    for block, data in sorted(blocks, key=lambda item: item[0].index):
        groups.setdefault((block.version_id, block.index // GROUP), []).append((block, data))
    return [
        GroupWrite(file_of(root, directory_key(name), number), group_identity(name, number), group)
        for (name, number), group in groups.items()
    ]


def write_all(writes: list[GroupWrite]) -> tuple[list[int], str]:
    """How many blocks of each are on the disk now; and the last refusal in words."""
    counts: list[int] = []
    refusal = ""
    for write in writes:
        pieces = [Piece(block.index % GROUP, data) for block, data in write.blocks]
        count, error = write_blocks(write.path, write.identity, pieces)
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


def set_aside(root: str, key: str) -> str | None:
    """Rename the directory of a version, so that nothing in it is found from now on; returns where it
    is, for `remove_all`. None when there is no such directory, or it can't be renamed."""
    doomed = f"{root}/{DOOMED}{uuid.uuid4().hex}"
    try:
        os.rename(directory_of(root, key), doomed)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.info("can't remove cached blocks: %s", error)
        return None
    return doomed


def remove_all(doomed: list[str]) -> None:
    """Remove directories with all in them."""
    for directory in doomed:
        remove_directory(directory)

"""What a cache directory holds, from names, sizes and times alone: a million blocks in seconds.

Plain functions for a thread. Whatever does not belong there is removed: half-written files of a
killed mount, files of a strange name, directories without a block.

Must not know: what the blocks are, trio.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from typing import Final

from b2mount.reading.block_file import make_private
from b2mount.reading.block_index import GROUP, Group, size_on_disk

log = logging.getLogger(__name__)

DIGESTS: Final = "digests"
DOOMED: Final = "gone-"
"""How the name of a directory begins that is only there to be removed."""
_KEY_DIGITS: Final = 32


def scan(root: str) -> list[tuple[str, int, Group]]:
    """All groups of blocks under `root`, which is made if need be, least recently used first.
    Raises OSError when the directory can't be read."""
    make_private(root)
    os.chmod(root, 0o700)
    found: list[tuple[str, int, Group]] = []
    for directory, key in _version_directories(root):
        groups = _groups_in(directory)
        if not groups:
            remove_directory(directory)
        found.extend((key, number, group) for number, group in groups.items())
    found.sort(key=lambda item: item[2].touched)
    return found


def remove_directory(directory: str) -> None:
    """Remove a version's directory with all in it, as far as the disk lets us."""
    shutil.rmtree(directory, ignore_errors=True)


def _version_directories(root: str) -> Iterator[tuple[str, str]]:
    with os.scandir(root) as heads:
        for head in heads:
            if not head.is_dir(follow_symlinks=False):
                continue
            if head.name.startswith(DOOMED):
                remove_directory(head.path)
                continue
            with os.scandir(head.path) as tails:
                for tail in tails:
                    key = head.name + tail.name
                    if len(key) == _KEY_DIGITS and tail.is_dir(follow_symlinks=False):
                        yield tail.path, key


def _groups_in(directory: str) -> dict[int, Group]:
    groups: dict[int, Group] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name == DIGESTS:
                continue
            if not (name.isascii() and name.isdigit()) or str(int(name)) != name:
                _remove_stray(entry.path)
                continue
            found = entry.stat(follow_symlinks=False)
            index = int(name)
            group = groups.setdefault(index // GROUP, Group())
            group.present |= 1 << index % GROUP
            group.size += size_on_disk(found.st_size)
            group.touched = max(group.touched, found.st_mtime)
    return groups


def _remove_stray(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)

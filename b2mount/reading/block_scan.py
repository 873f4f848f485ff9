"""What a cache directory holds, from names, sizes and times alone: a million blocks in seconds.

Plain functions for a thread. Whatever does not belong there is removed: half-written files of a
killed mount, files of a strange name, directories with neither a block nor recent checksums.

Must not know: what the blocks are, trio.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from typing import Final

import attrs

from b2mount.reading.block_file import make_private
from b2mount.reading.block_index import GROUP, Group, size_on_disk

log = logging.getLogger(__name__)

DIGESTS: Final = "digests"
DOOMED: Final = "gone-"
"""How the name of a directory begins that is only there to be removed."""
_KEY_DIGITS: Final = 32
_KEPT: Final = 90 * 86400.0
"""Seconds that checksums stay without a block of their version: they take 32 KiB for a gigabyte."""


@attrs.define
class Found:
    """What was found."""

    groups: list[tuple[str, int, Group]] = attrs.field(factory=list)
    """By key and number, least recently used first."""
    with_checksums: set[str] = attrs.field(factory=set)
    """The keys of versions whose checksums are there."""


def scan(root: str) -> Found:
    """All groups of blocks under `root`, which is made if need be. Raises OSError when the directory
    can't be read."""
    make_private(root)
    os.chmod(root, 0o700)
    found = Found()
    since = time.time() - _KEPT
    for directory, key in _version_directories(root):
        groups, checksums = _groups_in(directory)
        if not groups and checksums < since:
            remove_directory(directory)
        elif checksums:
            found.with_checksums.add(key)
        found.groups.extend((key, number, group) for number, group in groups.items())
    found.groups.sort(key=lambda item: item[2].touched)
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


def _groups_in(directory: str) -> tuple[dict[int, Group], float]:
    """The groups of blocks in a version's directory, and when its checksums were written."""
    groups: dict[int, Group] = {}
    checksums = 0.0
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name == DIGESTS:
                checksums = entry.stat(follow_symlinks=False).st_mtime
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
    return groups, checksums


def _remove_stray(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)

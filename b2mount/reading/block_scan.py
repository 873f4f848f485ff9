"""What a cache directory holds, from names, sizes and times, and a table here and there: a million
blocks in seconds.

Plain functions for a thread. Whatever does not belong there is removed: half-written files of a
killed mount, files of a strange name, directories with neither a block nor recent checksums.

A file without a hole is taken to have all its blocks, which saves a seek for each on a slow disk;
of the others the table is read. Both are claims: the checksums are looked at when a block is read.

Must not know: what the blocks are, trio.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from typing import Final

import attrs

from b2mount.reading.block_file import BLOCK_SIZE, HEADER, LARGEST, places_in, unlink
from b2mount.reading.block_index import Group
from b2mount.reading.cache_layout import BLOCKS, DIGESTS, DOOMED, KEY_DIGITS
from b2mount.reading.whole_file import make_private

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
                    if len(key) == KEY_DIGITS and tail.is_dir(follow_symlinks=False):
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
            number = _number_of(name)
            group = None if number is None else _group_in(entry)
            if number is None or group is None:
                unlink(entry.path)
            else:
                groups[number] = group
    return groups, checksums


def _number_of(name: str) -> int | None:
    number = name.removesuffix(BLOCKS)
    is_ours = number != name and number.isascii() and number.isdigit() and str(int(number)) == number
    return int(number) if is_ours else None


def _group_in(entry: os.DirEntry[str]) -> Group | None:
    """None when the file is none of a group, or holds nothing."""
    found = entry.stat(follow_symlinks=False)
    if not (stat.S_ISREG(found.st_mode) and HEADER < found.st_size <= LARGEST):
        return None
    places = (1 << -(-(found.st_size - HEADER) // BLOCK_SIZE)) - 1
    if found.st_blocks * 512 < found.st_size:
        try:
            places &= places_in(entry.path)
        except OSError:
            return None
    if not places:
        return None
    return Group(places, places, found.st_blocks * 512, found.st_mtime)

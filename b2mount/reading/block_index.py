"""Pure: which blocks are on disk, how much they take, and in which order they are to go.

Neighbouring blocks share a group (4 MiB of a version) and its file. Use is remembered by group, and
a group goes as a whole, the least recently used one first: a million blocks of a sequential reader
are 31,000 small records, where one for each would be 300 MB of memory (2026-11-22), and trimming
them removes 31,000 files.

Invariants: `size` is the sum over all groups, in bytes as the disk counts them. A group whose last
block was forgotten still takes its space, so it stays, as the next one to go.

Must not know: files, versions (only a text key for each), trio.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import attrs

GROUP: Final = 32
LEAST: Final = 40 << 10
"""Bytes of a cache for each group that it may have. A tiny file is a group of two pages on disk, but of 630
bytes in memory: by bytes alone 10 GB of them would be 800 MB there."""
_DISK_UNIT: Final = 4096


@attrs.frozen
class CacheStatus:
    """What a person may ask of the cache; hits and misses since the start."""

    bytes: int
    blocks: int
    capacity: int
    hits: int
    misses: int


def size_on_disk(size: int) -> int:
    """What `size` bytes of a file take."""
    return -(-size // _DISK_UNIT) * _DISK_UNIT


@attrs.define(eq=False)
class Group:
    """Up to GROUP neighbouring blocks of one version, one bit each."""

    present: int = 0
    taken: int = 0
    """Those that have space in the file: the ones present and what was forgotten since."""
    size: int = 0
    touched: float = 0.0
    """Unix time at which its use was last noted on disk."""


@attrs.define(eq=False)
class BlockIndex:
    """The blocks on disk, least recently used first."""

    most_groups: int = sys.maxsize
    size: int = 0
    count: int = 0
    _groups: OrderedDict[tuple[str, int], Group] = attrs.field(factory=OrderedDict)
    """An OrderedDict and not cachetools: groups change size."""
    _versions: dict[str, set[int]] = attrs.field(factory=dict)

    def __contains__(self, block: tuple[str, int]) -> bool:
        key, index = block
        group = self._groups.get((key, index // GROUP))
        return group is not None and bool(group.present >> index % GROUP & 1)

    def holds(self, key: str, indexes: range) -> bool:
        """Whether all of these neighbouring blocks are here."""
        for number in range(indexes.start // GROUP, -(-indexes.stop // GROUP)):
            group = self._groups.get((key, number))
            first = max(0, indexes.start - number * GROUP)
            stop = min(GROUP, indexes.stop - number * GROUP)
            wanted = (1 << stop) - (1 << first)
            if group is None or group.present & wanted != wanted:
                return False
        return True

    def indexes(self, key: str) -> Iterator[int]:
        """The blocks of a version, in no order."""
        for number in self._versions.get(key, ()):
            present = self._groups[key, number].present
            yield from (number * GROUP + bit for bit in range(GROUP) if present >> bit & 1)

    def has_version(self, key: str) -> bool:
        """Whether any group of it is here."""
        return key in self._versions

    def is_hollow(self, key: str, number: int) -> bool:
        """Whether no block of a group is here, or not any more."""
        group = self._groups.get((key, number))
        return group is None or not group.present

    def add(self, key: str, index: int, size: int, overhead: int = 0) -> Group:
        """A block of `size` bytes is there now, in a file that takes `overhead` beside its blocks. Its
        group is the most recently used one."""
        number = index // GROUP
        group = self._groups.get((key, number))
        if group is None:
            group = Group()
            self.add_group(key, number, group)
            self._grow(group, overhead)
        self._groups.move_to_end((key, number))
        bit = 1 << index % GROUP
        if not group.taken & bit:
            group.taken |= bit
            self._grow(group, size_on_disk(size))
        self.count += not group.present & bit
        group.present |= bit
        return group

    def _grow(self, group: Group, size: int) -> None:
        group.size += size
        self.size += size

    def touch(self, key: str, number: int) -> Group | None:
        """A group was used. None when it is not here, or hollow."""
        group = self._groups.get((key, number))
        if group is None or not group.present:
            return None
        self._groups.move_to_end((key, number))
        return group

    def add_group(self, key: str, number: int, group: Group) -> None:
        """A whole group as it was found on disk; more recently used than all before it."""
        self._groups[key, number] = group
        self._versions.setdefault(key, set()).add(number)
        self.size += group.size
        self.count += group.present.bit_count()

    def forget(self, key: str, index: int) -> bool:
        """A block is there no longer, but its group is. False when it was not here before."""
        if (key, index) not in self:
            return False
        group = self._groups[key, index // GROUP]
        group.present &= ~(1 << index % GROUP)
        self.count -= 1
        if not group.present:
            self._groups.move_to_end((key, index // GROUP), last=False)
        return True

    def remove(self, key: str, number: int) -> int:
        """The file of a group is gone; returns the bytes that freed. Fine when it is not here."""
        group = self._groups.pop((key, number), None)
        if group is None:
            return 0
        self.size -= group.size
        self.count -= group.present.bit_count()
        numbers = self._versions[key]
        numbers.discard(number)
        if not numbers:
            del self._versions[key]
        return group.size

    def remove_version(self, key: str) -> int:
        """All files of a version are gone; returns the bytes that freed."""
        return sum(self.remove(key, number) for number in list(self._versions.get(key, ())))

    def beyond(self, most: int) -> list[tuple[str, int]]:
        """The groups that have to go, in order, so that no more than `most` bytes and `most_groups` are
        left."""
        gone: list[tuple[str, int]] = []
        left, surplus = self.size, len(self._groups) - self.most_groups
        for group, record in self._groups.items():
            if left <= most and len(gone) >= surplus:
                break
            gone.append(group)
            left -= record.size
        return gone

"""Pure: which blocks are on disk, how much they take, and in which order they are to go.

Neighbouring blocks share a group (4 MiB of a version), and use is remembered by group: a million
blocks of a sequential reader are 31,000 small records, where one record for each would be 300 MB of
memory (2026-11-22). Least recently used groups go first, and inside one the lowest block first.

Invariants: `size` is the sum over all groups, in bytes as the disk counts them; a group that holds
no block is not there.

Must not know: files, versions (only a text key for each), trio.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import attrs

GROUP: Final = 32
_DISK_UNIT: Final = 4096


def size_on_disk(size: int) -> int:
    """What a file of `size` bytes takes."""
    return -(-size // _DISK_UNIT) * _DISK_UNIT


@attrs.define(eq=False)
class Group:
    """Up to GROUP neighbouring blocks of one version."""

    present: int = 0
    size: int = 0
    touched: float = 0.0
    """Unix time at which its use was last noted on disk."""


@attrs.define(eq=False)
class BlockIndex:
    """The blocks on disk, least recently used first."""

    size: int = 0
    count: int = 0
    _groups: OrderedDict[tuple[str, int], Group] = attrs.field(factory=OrderedDict)
    """An OrderedDict and not cachetools: groups change size, and leave block by block."""
    _versions: dict[str, set[int]] = attrs.field(factory=dict)

    def __contains__(self, block: tuple[str, int]) -> bool:
        key, index = block
        group = self._groups.get((key, index // GROUP))
        return group is not None and bool(group.present >> index % GROUP & 1)

    def indexes(self, key: str) -> Iterator[int]:
        """The blocks of a version, in no order."""
        for number in self._versions.get(key, ()):
            present = self._groups[key, number].present
            yield from (number * GROUP + bit for bit in range(GROUP) if present >> bit & 1)

    def has_version(self, key: str) -> bool:
        """Whether any block of it is here."""
        return key in self._versions

    def add(self, key: str, index: int, size: int) -> Group:
        """A file of `size` bytes is there now. Its group is the most recently used one."""
        number = index // GROUP
        group = self._groups.setdefault((key, number), Group())
        self._groups.move_to_end((key, number))
        self._versions.setdefault(key, set()).add(number)
        bit = 1 << index % GROUP
        if not group.present & bit:
            group.present |= bit
            group.size += size_on_disk(size)
            self.size += size_on_disk(size)
            self.count += 1
        return group

    def touch(self, key: str, index: int) -> Group:
        """A block, which must be here, was used."""
        number = index // GROUP
        self._groups.move_to_end((key, number))
        return self._groups[key, number]

    def add_group(self, key: str, number: int, group: Group) -> None:
        """A whole group as it was found on disk; more recently used than all before it."""
        self._groups[key, number] = group
        self._versions.setdefault(key, set()).add(number)
        self.size += group.size
        self.count += group.present.bit_count()

    def remove(self, key: str, index: int) -> int:
        """The file is gone; returns the bytes that freed. Fine when it is not here."""
        number = index // GROUP
        group = self._groups.get((key, number))
        bit = 1 << index % GROUP
        if group is None or not group.present & bit:
            return 0
        freed = group.size // group.present.bit_count()  # equal, but for the last block of a version
        group.present &= ~bit
        group.size -= freed
        self.size -= freed
        self.count -= 1
        if not group.present:
            self._forget(key, number)
        return freed

    def remove_version(self, key: str) -> int:
        """All files of a version are gone; returns the bytes that freed."""
        before = self.size
        for index in list(self.indexes(key)):
            self.remove(key, index)
        return before - self.size

    def _forget(self, key: str, number: int) -> None:
        del self._groups[key, number]
        numbers = self._versions[key]
        numbers.discard(number)
        if not numbers:
            del self._versions[key]

    def oldest(self) -> tuple[str, int] | None:
        """The block that is to go next."""
        for (key, number), group in self._groups.items():
            lowest = (group.present & -group.present).bit_length() - 1
            return key, number * GROUP + lowest
        return None

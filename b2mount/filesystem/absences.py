"""Absences: names that the kernel was told do not exist, and may still take for absent.

Invariants: at most MOST of them at a time. Beyond that the kernel is told no more of them to keep, so
that what it keeps is always known here: a refresh has to name each.

Must not know: why a name is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import trio
from cachetools import TLRUCache

MOST: Final = 10_000
"""Some 2 MB. Who looks for more absent names than that within a time to live asks once more for each."""

_Place = tuple[int, str]


def _until(_place: _Place, until: float, _now: float) -> float:
    return until


def _table() -> TLRUCache[_Place, float]:
    return TLRUCache(maxsize=MOST, ttu=_until, timer=trio.current_time)


@attrs.define(eq=False)
class Absences:
    """By the number of the directory, and the name."""

    _told: TLRUCache[_Place, float] = attrs.field(factory=_table)

    def told(self, directory: int, name: str, seconds: float) -> float:
        """For how many of these seconds the kernel may take it that there is no such name."""
        if seconds <= 0:
            return 0.0
        place = directory, name
        if place not in self._told:
            self._told.expire()
            if len(self._told) >= MOST:
                return 0.0
        self._told[place] = max(self._told.get(place, 0.0), trio.current_time() + seconds)
        return seconds

    def __iter__(self) -> Iterator[_Place]:
        self._told.expire()
        return iter(list(self._told))

"""Long pages in short pieces, between which others have their turn. Pure.

Invariants: the pieces, one after another, say what the whole says.

Must not know: caches, who asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from b2mount.model import DELIMITER, Entry, Kind
from b2mount.namespace.listing import Level
from b2mount.store.interface import ObjectPage

TURN: Final = 128
"""Rows that are gone through at once: 3 ms, for which nobody else is answered. An answer takes several
turns of the loop, and in each of them a page, a reader and the index may want theirs first."""


def in_turns(page: ObjectPage) -> Iterator[ObjectPage]:
    """The page as shorter ones that follow each other."""
    keys = [version.path.key for version in page.objects]
    cuts: list[str | None] = list(sorted([*keys, *page.prefixes])[TURN::TURN])
    first, first_prefix = 0, 0
    for cut in (*cuts, None):
        last = len(keys) if cut is None else bisect_left(keys, cut)
        last_prefix = len(page.prefixes) if cut is None else bisect_left(page.prefixes, cut)
        objects, prefixes = page.objects[first:last], page.prefixes[first_prefix:last_prefix]
        yield ObjectPage(objects, prefixes, page.next_key if cut is None else cut)
        first, first_prefix = last, last_prefix


def level_in_turns(level: Level) -> Iterator[Level]:
    """The page of a directory as shorter ones that follow each other."""
    for first in range(0, max(1, len(level.entries)), TURN):
        following = level.entries[first + TURN : first + TURN + 1]
        cursor = _key(following[0]) if following else level.cursor
        short = attrs.evolve(level, entries=level.entries[first : first + TURN], cursor=cursor)
        yield short if not first else attrs.evolve(short, placeholder=None, marker=None, odd=())


def joined(levels: Sequence[Level]) -> Level:
    """Pages of a directory that follow each other, as one."""
    return Level(
        tuple(entry for level in levels for entry in level.entries),
        next((level.placeholder for level in levels if level.placeholder is not None), None),
        next((level.marker for level in levels if level.marker is not None), None),
        tuple(key for level in levels for key in level.odd),
        levels[-1].cursor,
    )


def _key(entry: Entry) -> str:
    return entry.name + DELIMITER if entry.kind is Kind.DIRECTORY else entry.name

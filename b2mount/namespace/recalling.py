"""Recaller: brings listings on from the index of names, some entries at a time.

Invariants: a listing that is being recalled gets nothing from elsewhere. What the index has no more
when half of it is given is asked of the store from the beginning, by whoever reads on; names that were
given stay given, and the listing is not kept.

Must not know: the store, what this mount changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

import attrs
import trio
from cachetools import LRUCache

from b2mount.model import ObjectPath
from b2mount.namespace.directory_cache import Answer, DirectoryCache
from b2mount.namespace.flights import Flights
from b2mount.namespace.inode import Inode
from b2mount.namespace.listing import Listing
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.name_table import Packed
from b2mount.namespace.recollection import Recollection, cursor_at, entry_of
from b2mount.namespace.stored_rows import StoredRow
from b2mount.namespace.turns import TURN

_PARTS: Final = 4
"""Parts of long listings in memory, for who asks for many names of one."""


@attrs.define(eq=False)
class _Recalling:
    """How far it is."""

    found: Recollection
    rows: list[StoredRow]
    """Of the part that is being given out."""
    given: int = 0
    part: int = -1


class Recaller:
    """See the module."""

    def __init__(
        self,
        index: NameIndex,
        cache: DirectoryCache,
        ttl: float,
        learnt: Callable[[ObjectPath, Listing], None],
    ) -> None:
        """`learnt` is told of each piece of a listing."""
        self._index = index
        self._cache = cache
        self._ttl = ttl
        self._learnt = learnt
        self._flights: Flights[None] = Flights()
        self._under_way: WeakKeyDictionary[Listing, _Recalling] = WeakKeyDictionary()
        self._parts: LRUCache[tuple[int, int], dict[str, Packed]] = LRUCache(_PARTS)

    def is_under_way(self, listing: Listing) -> bool:
        """Whether the rest of a listing comes from the index."""
        return listing in self._under_way

    async def bring_on(self, directory: Inode, listing: Listing) -> bool:
        """Whether it was brought on; else the store has to be asked."""
        before = listing.cursor, listing.count, listing.pages
        while (listing.cursor, listing.count, listing.pages) == before:
            if not self._index.is_open or (listing.has_begun and not self.is_under_way(listing)):
                return False
            await self._flights.join(listing, partial(self._next, directory, listing))
            if not self.is_under_way(listing):
                break
            # else whoever was joined may have given his rows before: the next ones are not the store's yet
        return (listing.cursor, listing.count, listing.pages) != before

    async def answer(self, directory: ObjectPath, name: str) -> Answer | None:
        """What a long listing says of one name, without the others; None for an unknown or short one."""
        found = await self._index.find(directory)
        if found is None or not found.parts:
            return None
        answer = Answer(None, found.began + self._ttl)
        for number, part in enumerate(found.parts):
            if part.first <= name <= part.last:
                rows = await self._part(found, number)
                if rows is None:
                    return None
                if name in rows:
                    answer = Answer(entry_of(directory, (name, rows[name])), answer.expires)
        return answer

    async def _part(self, found: Recollection, number: int) -> dict[str, Packed] | None:
        rows = self._parts.get((found.listing_id, number))
        if rows is None:
            read = await self._index.part(found, number)
            if read is None:
                return None
            rows = self._parts[found.listing_id, number] = dict(read)
        return rows

    # -- inside ----------------------------------------------------------------------------

    async def _next(self, directory: Inode, listing: Listing) -> None:
        path = directory.path
        recalling = self._under_way.get(listing) or await self._begin(directory, listing)
        if recalling is None or listing.is_complete:
            return
        if recalling.given == len(recalling.rows) and recalling.part + 1 < len(recalling.found.parts):
            rows = await self._index.part(recalling.found, recalling.part + 1)
            if rows is None or directory.path != path:
                self._give_up(listing)
                return
            recalling.rows, recalling.given, recalling.part = rows, 0, recalling.part + 1
        self._give(path, listing, recalling)
        await trio.lowlevel.checkpoint()

    async def _begin(self, directory: Inode, listing: Listing) -> _Recalling | None:
        path = directory.path
        found = await self._index.find(path)
        if found is None or directory.path != path or directory.removed or listing.has_begun:
            return None
        listing.start(found.began, self._ttl)
        listing.placeholder, listing.marker, listing.odd = found.placeholder, found.marker, found.odd
        recalling = self._under_way[listing] = _Recalling(found, list(found.rows))
        return recalling

    def _give(self, path: ObjectPath, listing: Listing, recalling: _Recalling) -> None:
        first, last = recalling.given, min(recalling.given + TURN, len(recalling.rows))
        rest = recalling.rows[last : last + 1]
        cursor = cursor_at(rest[0]) if rest else recalling.found.cursor_after(recalling.part)
        self._cache.read_on(path, listing)
        listing.recall(recalling.rows[first:last], path, cursor)
        listing.pages += 1
        recalling.given = last
        self._learnt(path, listing)
        if listing.is_complete:
            del self._under_way[listing]
            self._cache.put(path, listing)

    def _give_up(self, listing: Listing) -> None:
        """What was given may be due, or changed, by the time the store has told the rest."""
        del self._under_way[listing]
        listing.expires = float("-inf")
        listing.cursor = ""

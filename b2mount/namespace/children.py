"""ChildStream: the entries of one directory, in order, while their pages still come in.

Invariants: a position means the same name for the life of the stream. What was there when the stream
began, and was neither removed nor moved since, comes exactly once; what came or went since may or may
not be seen. A page that can't be had is an error, never the end.

Must not know: how entries become inodes, the store.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping
from typing import Final

from b2mount.model import DELIMITER, Attributes, Kind, ObjectVersion
from b2mount.namespace.directory_cache import Answer
from b2mount.namespace.inode import Inode
from b2mount.namespace.lister import Lister
from b2mount.namespace.listing import Listing
from b2mount.namespace.planner import LONGEST_PAGE
from b2mount.namespace.resolver import Resolver

_AHEAD: Final = 1000
"""Entries left to read at which the next page is fetched in any case: with pages of a thousand, one is
ahead. Whoever has read more has as many ahead of him as he has read, and at most a long page."""
_KEPT_BACK: Final = 32
"""Entries that are given one at a time while names of the directory are asked for and the next page is on
its way. The kernel keeps a directory locked while a part of it is read: whoever reads it would have waited
for the page, and everybody who asks for a name in it with him."""
_A_MOMENT: Final = 0.02
"""Seconds before each of them."""
_NOTHING: Final = Attributes(Kind.FILE, 0, 0, 0, size=0, modified_ns=0, changed_ns=0, accessed_ns=0)


class ChildStream:
    """One reading of a directory."""

    def __init__(
        self,
        directory: Inode,
        listing: Listing,
        here: Mapping[str, Inode],
        lister: Lister,
        resolver: Resolver,
    ) -> None:
        """`here` are the entries that are known without the listing, and better."""
        self._directory = directory
        self._listing = listing
        self._here = dict(here)
        self._waiting = deque(sorted(here))
        self._lister = lister
        self._resolver = resolver
        self._given = array("q")
        """By position: the place in the listing; -1 - n for the one that is number n of `_better`."""
        self._better: list[tuple[str, Inode]] = []
        self._last: tuple[int, Inode] | None = None
        """The position that was reached last, and who was there."""
        self._taken = 0

    async def get(self, position: int) -> Inode | None:
        """The entry at a position, None after the last one; waits for the page that has it.

        A position that was read before and whose entry has gone since gives an inode that is
        `removed`, to be skipped. Raises what the store raises; asking again tries again."""
        if self._is_short(position):
            await self._lister.wait_for_more(self._directory, self._listing, _A_MOMENT)
        while True:
            while not self._has(position):
                await self._lister.advance(self._directory, self._listing)
            if position >= len(self._given):
                return None
            name, inode = self._at(position)
            if inode is not None and self._is_here(name, inode):
                return inode
            if position < len(self._given) - 1:
                return Inode(0, self._directory.path.file(name), _NOTHING, None, removed=True)
            self._last = None
            self._given.pop()  # nobody was told of a later one: the next takes its place

    @property
    def keepers(self) -> list[ObjectVersion]:
        """The objects that keep the directory alive when it is empty, once `get` has come to its end."""
        return self._listing.keepers

    def ready(self, position: int) -> bool:
        """Whether `get` would answer without waiting."""
        return self._has(position) and not self._is_short(position)

    # -- inside -----------------------------------------------------------------------------

    def _is_short(self, position: int) -> bool:
        """Whether what is left is worth keeping back for a while."""
        is_next = position >= len(self._given) - 1
        left = self._listing.count - self._taken
        return is_next and 0 < left < _KEPT_BACK and self._lister.is_shared(self._directory, self._listing)

    def _has(self, position: int) -> bool:
        while position >= len(self._given):
            if not self._give_next():
                return self._listing.is_complete or self._directory.removed
        return True

    def _give_next(self) -> bool:
        """The next name in order has a position; False when the pages so far have no more."""
        listing, directory = self._listing, self._directory
        ahead = min(max(_AHEAD, self._taken), LONGEST_PAGE)
        if listing.count - self._taken <= ahead and listing.has_begun:
            self._lister.look_ahead(directory, listing)
        while self._taken < listing.count:
            chunk, row = listing.row(self._taken)
            if self._waiting and self._waiting[0] < chunk.names[row]:
                return self._give_better(self._waiting.popleft())
            self._taken += 1
            if chunk.names[row] not in self._here:
                inode = self._resolver.listed(directory, listing, self._taken - 1)
                if inode is not None:
                    self._last = len(self._given), inode
                    self._given.append(self._taken - 1)
                    return True
        if self._waiting and listing.is_complete:
            return self._give_better(self._waiting.popleft())
        return False

    def _give_better(self, name: str) -> bool:
        # a page may have brought news of a name that was known better when the stream began
        found = self._listing.find(name)
        if found is None:
            inode = self._resolver.child(self._directory, name)
        else:
            answer = Answer(found[0].entry(found[1]), self._listing.expires)
            inode = self._resolver.resolve(self._directory, name, answer)
        if inode is not None:
            self._better.append((name, inode))
            self._given.append(-len(self._better))
        return True

    def _at(self, position: int) -> tuple[str, Inode | None]:
        place = self._given[position]
        if place < 0:
            return self._better[-1 - place]
        chunk, row = self._listing.row(place)
        name = chunk.names[row]
        if self._last is not None and self._last[0] == position:
            return name, self._last[1]
        inode = self._resolver.child(self._directory, name)
        return name, inode or self._resolver.listed(self._directory, self._listing, place)

    def _is_here(self, name: str, inode: Inode) -> bool:
        place = self._directory.path.file(name)
        is_its_path = inode.path.key.removesuffix(DELIMITER) == place.key
        return is_its_path and inode.path.bucket == place.bucket and not inode.removed

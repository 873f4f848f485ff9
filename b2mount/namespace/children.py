"""ChildStream: the entries of one directory, in order, while their pages still come in.

Invariants: a position means the same name for the life of the stream. What was there when the stream
began, and was neither removed nor moved since, comes exactly once; what came or went since may or may
not be seen. A page that can't be had is an error, never the end.

Must not know: how entries become inodes, the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from b2mount.model import Attributes, Kind
from b2mount.namespace.inode import Inode
from b2mount.namespace.lister import Lister
from b2mount.namespace.listing import Listing

_AHEAD: Final = 1000
"""Entries left to read at which the next page is fetched: with pages of a thousand, one is ahead."""
_NOTHING: Final = Attributes(Kind.FILE, 0, 0, 0, size=0, modified_ns=0, changed_ns=0, accessed_ns=0)


class ChildStream:
    """One reading of a directory."""

    def __init__(
        self,
        directory: Inode,
        listing: Listing,
        here: Mapping[str, Inode],
        lister: Lister,
        resolve: Callable[[Inode, str, Listing | None], Inode | None],
    ) -> None:
        """`here` are the entries that are known without the listing, and better."""
        self._directory = directory
        self._listing = listing
        self._here = dict(here)
        self._waiting = deque(sorted(here))
        self._lister = lister
        self._resolve = resolve
        self._given: list[tuple[str, Inode]] = []
        self._taken = 0

    async def get(self, position: int) -> Inode | None:
        """The entry at a position, None after the last one; waits for the page that has it.

        A position that was read before and whose entry has gone since gives an inode that is
        `removed`, to be skipped. Raises what the store raises; asking again tries again."""
        while True:
            while not self.ready(position):
                await self._lister.advance(self._directory, self._listing)
            if position >= len(self._given):
                return None
            name, inode = self._given[position]
            if self._is_here(name, inode):
                return inode
            if position < len(self._given) - 1:
                return Inode(0, self._directory.path.file(name), _NOTHING, None, removed=True)
            self._given.pop()  # nobody was told of a later one: the next takes its place

    def ready(self, position: int) -> bool:
        """Whether `get` would answer without waiting."""
        while position >= len(self._given):
            name = self._next_name()
            if name is None:
                return self._listing.is_complete or self._directory.removed
            # a page may have brought news of a name that was known better when the stream began
            only_here = name in self._here and name not in self._listing.entries
            inode = self._resolve(self._directory, name, None if only_here else self._listing)
            if inode is not None:
                self._given.append((name, inode))
        return True

    def _next_name(self) -> str | None:
        """The next name in order, None when the pages so far have no more."""
        listing = self._listing
        if len(listing.names) - self._taken <= _AHEAD and listing.has_begun:
            self._lister.look_ahead(self._directory, listing)
        while self._taken < len(listing.names):
            name = listing.names[self._taken]
            if self._waiting and self._waiting[0] < name:
                return self._waiting.popleft()
            self._taken += 1
            if name not in self._here:
                return name
        return self._waiting.popleft() if self._waiting and listing.is_complete else None

    def _is_here(self, name: str, inode: Inode) -> bool:
        directory = self._directory.path
        return not inode.removed and inode.path in (directory.file(name), directory.directory(name))

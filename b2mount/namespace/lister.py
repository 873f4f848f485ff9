"""Lister: asks the tree, so that nothing is asked twice at a time, and remembers what it said.

Invariants: one request at a time for each listing and each name, whoever wants it. An answer that
belongs to a directory which was moved away meanwhile is asked again, never used. A page ahead is
fetched only while `run` is running; without it everything works, page after page.

Must not know: inode numbers, attributes, what programs see.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Final

import trio

from b2mount.errors import B2MountError
from b2mount.model import ObjectPath
from b2mount.namespace.directory_cache import Answer, DirectoryCache
from b2mount.namespace.flights import Flights
from b2mount.namespace.inode import Inode
from b2mount.namespace.listing import Listing
from b2mount.namespace.names import OddNames
from b2mount.namespace.overlay import Overlay
from b2mount.namespace.tree import Tree

log: Final = logging.getLogger(__name__)


class Lister:
    """Listings and single entries, each from the cache or by one shared request."""

    def __init__(
        self,
        tree: Tree,
        cache: DirectoryCache,
        overlay: Overlay,
        ttl: float,
        learnt: Callable[[Inode, Listing], None],
    ) -> None:
        """`learnt` is told of each page of a directory, after it has come in."""
        self._tree = tree
        self._cache = cache
        self._overlay = overlay
        self._ttl = ttl
        self._learnt = learnt
        self._pages: Flights[None] = Flights()
        self._answers: Flights[Answer] = Flights()
        self._directory_moves = 0
        self._nursery: trio.Nursery | None = None
        self._ahead: set[Listing] = set()
        self.odd: Final = OddNames()

    async def run(self) -> None:
        """Fetch pages ahead of their readers, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def known(self, directory: ObjectPath, name: str) -> Answer | None:
        """What the cache says of a name, None when it says nothing."""
        listing = self._cache.listing(directory)
        if listing is not None and listing.knows(name):
            return Answer(listing.entries.get(name), listing.expires)
        return self._cache.answer(directory, name)

    async def entry(self, directory: Inode, name: str) -> Answer:
        """Ask about a name: the directory's first page tells, and all other names of a small
        directory with it; a big directory is asked for the one name."""
        if not self._cache.is_big(directory.path):
            listing = self._cache.growing(directory.path)
            if not listing.has_begun:
                await self.advance(directory, listing)
            if listing.knows(name):
                return Answer(listing.entries.get(name), listing.expires)
        path = directory.path
        key = (self._directory_moves, path, name)
        return await self._answers.join(key, functools.partial(self._ask, path, name))

    async def advance(self, directory: Inode, listing: Listing) -> None:
        """One page more, for all who read this listing."""
        await self._pages.join(listing, functools.partial(self._next_page, directory, listing))

    def look_ahead(self, directory: Inode, listing: Listing) -> None:
        """Have the next page fetched in the background, if there is one."""
        if self._nursery is None or listing.is_complete or listing in self._pages or listing in self._ahead:
            return
        self._ahead.add(listing)
        self._nursery.start_soon(self._advance_quietly, directory, listing)

    def directory_moved(self) -> None:
        """Answers that are on their way may be about another directory by now."""
        self._directory_moves += 1

    async def _ask(self, path: ObjectPath, name: str) -> Answer:
        moves = self._directory_moves
        with self._overlay.asking() as ask:
            entry = await self._tree.entry(path, name)
            answer = Answer(entry, ask.time + self._ttl)
            if moves == self._directory_moves:
                self._overlay.heard(path, name, entry, ask)
                self._cache.put_answer(path, name, answer)
        return answer

    async def _next_page(self, directory: Inode, listing: Listing) -> None:
        while listing.cursor is not None and not directory.removed:
            path, before = directory.path, listing.cursor
            self._cache.read_on(path, listing)
            with self._overlay.asking() as ask:
                level = await self._tree.page(path, before)
                if directory.path != path:
                    continue
                if not listing.has_begun:
                    listing.start(ask.time, self._ttl)
                self.odd.saw(listing.absorb(level))
                self._overlay.heard_page(path, listing, before, ask)
                if listing.keeps_itself:
                    self._overlay.shown(path.parent, path.name, ask)
                self._learnt(directory, listing)
            if not directory.removed and (listing.is_complete or before == ""):
                self._cache.put(path, listing)
            return

    async def _advance_quietly(self, directory: Inode, listing: Listing) -> None:
        """An error here reaches the reader when he asks for the page himself."""
        try:
            await self.advance(directory, listing)
        except B2MountError as error:
            log.debug("page ahead of %s: %s", directory.path, error)
        except Exception:
            log.exception("page ahead of %s", directory.path)
        finally:
            self._ahead.discard(listing)

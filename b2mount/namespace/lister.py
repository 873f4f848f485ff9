"""Lister: asks the tree, so that nothing is asked twice at a time, and remembers what it said.

Invariants: one request at a time for each listing, each scan and each name, whoever wants it. An
answer that belongs to a directory which was moved away meanwhile is asked again, never used. A page
ahead is fetched only while `run` is running; without it everything works, page after page.

Must not know: inode numbers, attributes, what programs see.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from cachetools import TTLCache

from b2mount.errors import B2MountError
from b2mount.model import DELIMITER, PLACEHOLDER, ObjectPath
from b2mount.namespace.directory_cache import Answer, DirectoryCache
from b2mount.namespace.flat import Piece, pieces_of
from b2mount.namespace.flights import Flights
from b2mount.namespace.inode import Inode
from b2mount.namespace.lifetime import Lifetime
from b2mount.namespace.listing import Asked, Level, Listing
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.names import OddNames
from b2mount.namespace.overlay import Ask, Overlay, Record
from b2mount.namespace.planner import PAGE, Planner, Scan, rows_of_page
from b2mount.namespace.recalling import Recaller
from b2mount.namespace.tree import Tree
from b2mount.namespace.turns import in_turns, level_in_turns
from b2mount.store.interface import ObjectPage

log: Final = logging.getLogger(__name__)

_WHILE_ASKED: Final = 2.0
"""Seconds after a question about a single name for which more of its directory are to be expected."""
_DIRECTORIES_ASKED: Final = 64
_PAGES_FOR_A_NAME: Final = 3
"""Pages that are read of a directory of directories for the sake of single names."""
_PAGES_WAITED_FOR: Final = 2
"""Those of them that somebody waits for: the second one tells of a level of a thousand directories, without
which each of these would cost calls of its own."""


class Lister:
    """Listings and single entries, each from the cache or by one shared request."""

    def __init__(
        self,
        tree: Tree,
        cache: DirectoryCache,
        overlay: Overlay,
        index: NameIndex,
        lifetime: Lifetime,
        learnt: Callable[[ObjectPath, Listing], None],
    ) -> None:
        """`learnt` is told of each page of a directory, after it has come in. What the index knows is not
        asked."""
        self._tree = tree
        self._cache = cache
        self._overlay = overlay
        self._lifetime = lifetime
        self._learnt = learnt
        self._index = index
        self._recaller = Recaller(index, cache, lifetime.usual, self._recalled)
        self._planner = Planner(cache)
        self._pages: Flights[None] = Flights()
        self._answers: Flights[Answer] = Flights()
        self._directory_moves = 0
        self._asked: TTLCache[ObjectPath | None, bool] = TTLCache(
            maxsize=_DIRECTORIES_ASKED, ttl=_WHILE_ASKED, timer=trio.current_time
        )
        self._nursery: trio.Nursery | None = None
        self._ahead: set[object] = set()
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
        directory with it; else it is asked for the one name. Whoever waits for it has waited for
        one page before, or two if nobody else reads the directory; the next comes meanwhile, for others."""
        path, drops = directory.path, self._cache.drops
        self._asked[path] = True
        answer = await self._recaller.answer(path, name) if self._index.is_open else None
        if answer is not None:
            if (path, drops) == (directory.path, self._cache.drops):
                self._cache.put_answer(path, name, answer)
            return answer
        if not self._cache.is_big(directory.path):
            listing, waits = self._cache.growing(directory.path), 0
            while not (listing.knows(name) or directory.removed) and self._is_worth_waiting(
                directory, listing, waits
            ):
                await self.advance(directory, listing)
                waits += 1
            if listing.knows(name):
                return Answer(listing.entries.get(name), listing.expires)
            if self._is_worth_reading(listing):
                self.look_ahead(directory, listing)
        path = directory.path
        key = (self._directory_moves, self._cache.drops, path, name)
        return await self._answers.join(key, functools.partial(self._ask, path, name))

    async def advance(self, directory: Inode, listing: Listing) -> None:
        """Some entries more, for all who read this listing: those of a page, or the first of one that is
        just coming in."""
        coming = self._coming(directory, listing)
        if coming is None:
            await self._one_page_more(directory, listing)
        else:
            before = listing.cursor, listing.count
            await self._pages.watch(coming, lambda: (listing.cursor, listing.count) != before)

    def is_shared(self, directory: Inode, listing: Listing) -> bool:
        """Whether names of a directory are being asked for while its next page is under way."""
        is_coming = listing in self._ahead or self._coming(directory, listing) is not None
        return is_coming and directory.path in self._asked

    async def wait_for_more(self, directory: Inode, listing: Listing, seconds: float) -> None:
        """So long at most, if something is under way; its error is for those who need it."""
        coming, before = self._coming(directory, listing), listing.count
        with trio.move_on_after(seconds), contextlib.suppress(B2MountError):
            await self._pages.watch(coming, lambda: listing.count != before)

    def _coming(self, directory: Inode, listing: Listing) -> Listing | Scan | None:
        """What is under way and brings a listing on."""
        either = listing, self._planner.going_on(directory.path, listing)
        return next((one for one in either if one in self._pages), None)

    async def _one_page_more(self, directory: Inode, listing: Listing) -> None:
        if listing.is_complete or directory.removed or await self._recaller.bring_on(directory, listing):
            return
        scan = self._planner.next_page(directory.path, listing)
        if scan is None:
            await self._pages.join(listing, functools.partial(self._next_page, directory, listing))
        else:
            await self._pages.join(scan, functools.partial(self._next_of, scan, directory, listing))

    async def own(self, directory: Inode) -> None:
        """What B2 says of a directory itself has been learnt when this returns. Only its own listing shows
        that: as much of it is read as comes up to the placeholder."""
        while directory.version is None and not directory.removed:
            listing = self._cache.growing(directory.path)
            if listing.cursor is None or listing.cursor > PLACEHOLDER:
                return
            await self.advance(directory, listing)

    def look_ahead(self, directory: Inode, listing: Listing) -> None:
        """Have the next page fetched in the background, if there is one."""
        if not listing.is_complete and listing not in self._pages:
            self._in_background(listing, lambda: self._one_page_more(directory, listing))

    def walked(self, directory: ObjectPath) -> None:
        """A directory is being read. When a walk goes through here, its next page comes ahead."""
        scan = self._planner.follows(directory)
        if scan is not None and scan not in self._pages:
            request = functools.partial(self._next_of, scan, None, None)
            self._in_background(scan, lambda: self._pages.join(scan, request))

    def forget(self, path: ObjectPath | None) -> None:
        """What was said of a path and all below it, or of everything, is not to be believed; what is asked
        from now on waits for no answer from before."""
        self._planner.forget()
        self._index.forget(path)

    def changed(self, directory: ObjectPath, name: str, record: Record) -> None:
        """This mount has done something to a name, or is about to."""
        if record.inode is not None and record.inode.is_directory:
            listing = self._cache.listing(directory)
            found = listing.find(name) if listing is not None else None
            if found is not None and found[0].is_directory(found[1]):
                return  # that a directory is there was true before, and is true now
        self._index.changed(directory)

    def emptied(self, path: ObjectPath) -> None:
        """The directory has gone, or is a new one: nothing from before is true of it."""
        self._cache.drop(path)
        self._index.changed_below(path)

    def directory_moved(self, old: ObjectPath, new: ObjectPath) -> None:
        """Answers that are on their way may be about another directory by now."""
        self._directory_moves += 1
        self._planner.forget()
        self._index.changed_below(old)
        self._index.changed_below(new)

    def _is_worth_waiting(self, directory: Inode, listing: Listing, waits: int) -> bool:
        """Whether who asks for one name, and has waited so often, waits for its next page: for the first one,
        and when it costs nothing; not for a long one, nor for one that is under way for others, who may read
        on for ever."""
        if listing.cursor is None:
            return False
        if self._recaller.is_under_way(listing):
            return True
        if not listing.has_begun:
            scan = self._planner.leading_to(directory.path) if self._may_look_ahead else None
            return scan is None or not (waits or scan.under_way > PAGE)
        if self._may_look_ahead and (listing.pages >= _PAGES_WAITED_FOR or self._coming(directory, listing)):
            return False
        return self._is_worth_reading(listing)

    def _is_worth_reading(self, listing: Listing) -> bool:
        """Whether a page more is read for the sake of names: of a directory that holds directories, or that
        the pages which lead to it have not come to."""
        if not listing.has_begun:
            return True
        return DELIMITER in (listing.cursor or "") and listing.pages < _PAGES_FOR_A_NAME

    async def _ask(self, path: ObjectPath, name: str) -> Answer:
        moves, drops = self._directory_moves, self._cache.drops
        with self._overlay.asking() as ask:
            entry = await self._tree.entry(path, name)
            answer = Answer(entry, ask.time + self._lifetime.ttl)
            if moves == self._directory_moves and drops == self._cache.drops:
                self._overlay.heard(path, name, entry, ask)
                self._cache.put_answer(path, name, answer)
        return answer

    # -- pages -----------------------------------------------------------------------------

    async def _next_page(self, directory: Inode, listing: Listing) -> None:
        """A page with a delimiter."""
        while listing.cursor is not None and not directory.removed:
            path, begin = directory.path, listing.cursor
            self._cache.read_on(path, listing)
            asked = self._index.asks()
            with self._overlay.asking() as ask:
                level = await self._tree.page(path, begin, self._rows(path, listing.pages))
                if directory.path != path:
                    continue
                listing.pages += 1
                for short in level_in_turns(level):
                    if directory.path != path or directory.removed or listing.cursor != begin:
                        break
                    self._cache.read_on(path, listing)
                    self._absorb(path, listing, Piece(begin, short), ask, asked)
                    begin = short.cursor or ""
                    self._pages.stir(listing)
                    await trio.lowlevel.checkpoint()
            if not directory.removed and directory.path == path and listing.pages <= _PAGES_FOR_A_NAME:
                self._cache.put(path, listing)
            return

    async def _next_of(self, scan: Scan, directory: Inode | None, listing: Listing | None) -> None:
        """The next page of a scan. The listing for whose sake it is asked for is always brought on, and
        begun when the page has come to where it would be."""
        if scan.cursor is None:
            self._planner.forget()  # somebody else has read it to its end meanwhile
            return
        path = directory.path if directory is not None else None
        if path is not None and listing is not None:
            self._cache.read_on(path, listing)
        with scan.asking(self._rows(path, scan.followed)):
            await self._ask_scan(scan, scan.cursor, path, listing)

    async def _ask_scan(
        self, scan: Scan, cursor: str, path: ObjectPath | None, listing: Listing | None
    ) -> None:
        moves, drops, asked = self._directory_moves, self._cache.drops, self._index.asks()
        with self._overlay.asking() as ask:
            page = await self._tree.flat(scan.root, cursor, scan.under_way)
            scan.has_page()
            grown: dict[Listing, ObjectPath] = {}
            for short in in_turns(page):
                if moves != self._directory_moves or scan.cursor is None:
                    return
                for each, piece in self._pieces(scan, short, path).items():
                    wanted = listing if each == path else None
                    taker = wanted or (self._taker(each, piece) if drops == self._cache.drops else None)
                    if taker is not None and taker.cursor == piece.before:
                        self._cache.read_on(each, taker)
                        self._absorb(each, taker, piece, ask, asked)
                        taker.pages += taker not in grown
                        grown[taker] = each
                self._pages.stir(scan)
                await trio.lowlevel.checkpoint()
            for taker, each in grown.items() if moves == self._directory_moves else ():
                if taker is not listing or taker.pages == 1:
                    self._cache.put(each, taker)

    def _pieces(self, scan: Scan, page: ObjectPage, wanted: ObjectPath | None) -> dict[ObjectPath, Piece]:
        """What the next page of a scan says, which goes on behind it; of `wanted` also that it is empty."""
        start = scan.cursor or ""
        pieces = pieces_of(page, scan.root, start, scan.last)
        last = page.objects[-1].path.key if page.objects else ""
        inside = page.next_key if page.next_key and page.next_key.startswith(scan.root.key) else None
        begun = sum(not piece.before for piece in pieces.values())
        scan.went_on(len(page.objects), begun, last, inside)
        is_passed = wanted is not None and start <= wanted.key and _is_past(inside, wanted.key)
        if wanted is not None and is_passed and wanted not in pieces:
            pieces[wanted] = Piece("", Level((), None, None, (), None))
        return pieces

    def _taker(self, path: ObjectPath, piece: Piece) -> Listing | None:
        """The listing that a piece continues; a new one for a directory of which nothing is known."""
        known = self._cache.listing(path)
        if known is None and not piece.before:
            return self._cache.growing(path)
        return None if known is not None and self._recaller.is_under_way(known) else known

    def _absorb(
        self, path: ObjectPath, listing: Listing, piece: Piece, ask: Ask, asked: Asked | None
    ) -> None:
        if not listing.has_begun:
            listing.start(ask.time, self._lifetime.ttl)
            listing.asked = asked
            self._index.begun(path, asked)
        self.odd.saw(listing.absorb(piece.level))
        self._overlay.heard_page(path, listing, piece.before, ask)
        if listing.keeps_itself:
            self._overlay.shown(path.parent, path.name, ask)
        self._learnt(path, listing)
        if listing.is_complete:
            self._cache.put(path, listing)
        if listing.is_complete and not self._overlay.contradicts(path, listing):
            self._index.learnt(path, listing)

    def _recalled(self, path: ObjectPath, listing: Listing) -> None:
        self.odd.saw(listing.odd)
        self._learnt(path, listing)

    def _rows(self, directory: ObjectPath | None, before: int) -> int:
        """How many rows to ask for: each thousand that comes costs a call. Few while others want single
        names of the directory, which the kernel keeps locked until a reader of it has his next page."""
        return PAGE if directory in self._asked or self._lifetime.is_saving else rows_of_page(before)

    # -- ahead -----------------------------------------------------------------------------

    @property
    def _may_look_ahead(self) -> bool:
        return self._nursery is not None and not self._lifetime.is_saving

    def _in_background(self, what: object, request: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is not None and what not in self._ahead and self._may_look_ahead:
            self._ahead.add(what)
            self._nursery.start_soon(self._quietly, what, request)

    async def _quietly(self, what: object, request: Callable[[], Awaitable[None]]) -> None:
        """An error here reaches the reader when he asks for the page himself."""
        try:
            await request()
        except B2MountError as error:
            log.debug("a page ahead: %s", error)
        except Exception:
            log.exception("a page ahead")
        finally:
            self._ahead.discard(what)


def _is_past(cursor: str | None, directory: str) -> bool:
    """Whether a scan that goes on at a key has all of a directory behind it; not when a page has ended
    just before its first name."""
    return cursor is None or (directory < cursor and not cursor.startswith(directory))

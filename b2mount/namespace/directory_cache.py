"""DirectoryCache: listings and single answers, for their time to live, within a number of names.

Invariants: nothing past its time is served; a time to live counts from when the question was asked.
All that is kept is bounded by `max_names`, least recently used goes first. A listing that is being
read page by page is shared by all who read it, and kept by them alone until it is complete.

Must not know: inodes, what this mount changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

import attrs
import trio
from cachetools import LRUCache, TLRUCache

from b2mount.model import Entry, ObjectPath
from b2mount.namespace.listing import GIVEN_UP, Listing
from b2mount.namespace.name_table import NameTable

_BIG_DIRECTORIES: Final = 1024
_CHANGING: Final = 1024
"""Directories that are being moved."""
_ANSWER: Final = 5
"""Names of a listing that take as much memory as one that was asked for alone."""
_MANY: Final = 500
"""Names on one page from which a directory that is not all there is a big one: a page that has
fewer is taken up by what is below."""


@attrs.frozen
class Answer:
    """What the store said of one name."""

    entry: Entry | None
    expires: float

    @property
    def size(self) -> int:
        """It counts as several names: it is kept as it is, and takes so much."""
        return _ANSWER


def _expiry(_key: ObjectPath, value: Listing | Answer, _now: float) -> float:
    return value.expires


def _size(value: Listing | Answer) -> int:
    return value.size


class DirectoryCache:
    """What the store said lately."""

    def __init__(self, max_names: int, table: Callable[[ObjectPath], NameTable] | None = None) -> None:
        """`table` says where the rows of a directory's listings are kept, for longer than these."""
        self._max_names = max_names
        self._table = table
        self._known: TLRUCache[ObjectPath, Listing | Answer] = TLRUCache(
            maxsize=max_names, ttu=_expiry, timer=trio.current_time, getsizeof=_size
        )
        self.drops = 0
        """Goes up when something that is known is not to be believed any more."""
        self._growing: WeakValueDictionary[ObjectPath, Listing] = WeakValueDictionary()
        self._moment = 0
        self._changing: LRUCache[ObjectPath, int] = LRUCache(maxsize=_CHANGING)
        """Since which moment B2 is being asked to change what is below a directory."""
        self._big: LRUCache[ObjectPath, bool] = LRUCache(maxsize=_BIG_DIRECTORIES)

    @property
    def names(self) -> int:
        """How many names are kept, listings counting as one more each."""
        return int(self._known.currsize)

    def listing(self, directory: ObjectPath) -> Listing | None:
        """What is known of a directory: all of it, or its beginning."""
        growing = self._growing.get(directory)
        if growing is not None and growing.expires > trio.current_time():
            return growing
        known = self._known.get(directory)
        return known if isinstance(known, Listing) else None

    def answer(self, directory: ObjectPath, name: str) -> Answer | None:
        """What is known of one name that was asked for alone."""
        known = self._known.get(directory.file(name))
        return known if isinstance(known, Answer) else None

    def is_big(self, directory: ObjectPath) -> bool:
        """Whether the directory did not fit into one page when it was last seen."""
        return bool(self._big.get(directory, False))

    def put(self, directory: ObjectPath, listing: Listing) -> None:
        """Keep a listing, if it is within bounds, and in time; else what is newer stays."""
        if listing.is_complete or listing.count < _MANY:
            self._big.pop(directory, None)
        else:
            self._big[directory] = True
        if listing.expires <= trio.current_time():
            return
        self.drop(directory)
        self._growing[directory] = listing  # who still reads it has to hear when it is forgotten
        if listing.size <= self._max_names:
            self._known[directory] = listing

    def put_answer(self, directory: ObjectPath, name: str, answer: Answer) -> None:
        """Keep what was said of one name."""
        if self._max_names > 0:
            self._known[directory.file(name)] = answer

    def new(self, directory: ObjectPath) -> Listing:
        """A listing of which nothing has come yet."""
        return Listing(table=self._table(directory)) if self._table is not None else Listing()

    def growing(self, directory: ObjectPath) -> Listing:
        """The listing to go on with: the one that is known, or being read, or a new one. It is shared
        from now on, and kept by its readers until `put`."""
        listing = self.listing(directory)
        if listing is None:
            listing = self.new(directory)
        if not listing.is_complete:
            self.drop(directory)
            self._growing[directory] = listing
        return listing

    def read_on(self, directory: ObjectPath, listing: Listing) -> None:
        """A listing is about to grow: while it does, its readers keep it, not the bounded table."""
        listing.brought = self._moment
        if self.listing(directory) is listing:
            self.drop(directory)
            self._growing[directory] = listing

    def drop(self, directory: ObjectPath) -> None:
        """Forget one directory's listing."""
        self._known.pop(directory, None)
        self._growing.pop(directory, None)

    def forget(self, path: ObjectPath | None) -> None:
        """Forget what was said of a path and all below it, and the listing that it stands in."""
        self.drops += 1
        for table in (self._known, self._growing):
            for key in list(table):
                if path is None or path.holds(key) or key in (path, path.parent, path.parent.file(path.name)):
                    self._expire(key)

    def changing(self, directory: ObjectPath) -> None:
        """B2 is about to be asked to change what is below a directory: listings show some of it before."""
        self._moment += 1
        self._changing[directory] = self._moment

    def moved(self, old: ObjectPath, new: ObjectPath) -> None:
        """Carry what is known below the directory `old` to `new`, in place of what was known there; not what
        was asked since `changing`."""
        self.forget_below(new)
        if (moment := self._changing.pop(old, None)) is not None:
            self._forget_since(old, moment)
        for key in [key for key in self._known if old.holds(key)]:
            if (value := self._known.pop(key, None)) is not None:  # else its time has just run out
                self._known[key.moved(old, new)] = value
        for key, listing in [one for one in self._growing.items() if old.holds(one[0])]:
            del self._growing[key]
            self._growing[key.moved(old, new)] = listing

    def forget_below(self, directory: ObjectPath) -> None:
        """Forget what was said of a directory and of all below it."""
        self.drops += 1
        for table in (self._known, self._growing):
            for key in [key for key in table if directory.holds(key)]:
                self._expire(key)

    def _forget_since(self, directory: ObjectPath, moment: int) -> None:
        for table in (self._known, self._growing):
            for key in [key for key in table if directory.holds(key)]:
                value = table.get(key)
                if not (isinstance(value, Listing) and value.brought < moment):
                    self._expire(key)

    def _expire(self, key: ObjectPath) -> None:
        """Forget it, also where it is being read: it must not come back as complete."""
        for value in (self._known.pop(key, None), self._growing.pop(key, None)):
            if isinstance(value, Listing):
                value.expires = GIVEN_UP

"""Overlay: what this mount did to names, where B2's listings may not show it yet.

Invariants: a record that is pending (not in B2 yet) wins over every listing. One that B2 has
(settled) still wins over listings that were asked for before, and, until its guard runs out, over
listings that lag behind it; a listing that shows something newer takes over. A directory with
anything pending in it is pending itself. Settled records go away by themselves.

The guard is the longest time to live: a listing from before the change, cached, is gone by then.

Must not know: the store, the cache of listings, lookup counts.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from b2mount.model import Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.lifetime import Lifetime
from b2mount.namespace.listing import Listing, passed

_OLD_ANSWER_GUARD: Final = 1.0
"""Seconds for those who waited for an answer that was older than a change to be served."""
_PAST_VERSIONS: Final = 8
"""Versions of one name that a lagging listing might still show; their times tell about older ones."""


@attrs.frozen
class Ask:
    """A question to the store: its place in the order of all questions and changes, and its time."""

    order: int
    time: float


@attrs.frozen(eq=False, weakref_slot=False)
class Record:
    """What this mount knows better about one name."""

    inode: Inode | None
    """Who has the name; None when it is gone, or when only `entry` says who."""
    entry: Entry | None
    """What B2 has, as far as this mount knows; None for nothing."""
    is_pending: bool
    order: int = 0
    until: float = 0.0
    """Settled: the end of the guard. A pending directory: when a listing that shows it is believed."""
    past: tuple[str, ...] = ()
    """Version ids that this mount has replaced or removed."""
    newest_ms: int = 0
    """The upload time of the newest version that is known to have had the name."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing has the name."""
        return self.inode is None and self.entry is None

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than that this file is pending."""
        is_file = self.inode is not None and not self.inode.is_directory
        return is_file and self.is_pending and self.entry is None and not (self.past or self.newest_ms)

    def lags(self, entry: Entry | None) -> bool:
        """Whether a listing that shows `entry` looks older than this record."""
        if entry is None:
            return self.entry is not None
        if entry.version is None:
            return self.entry is None or self.entry.kind is not Kind.DIRECTORY
        return entry.version.version_id in self.past or entry.version.uploaded_ms < self.newest_ms


@attrs.define(eq=False)
class _Level:
    """The records of one directory. Of a pending file, mostly there is nothing to say but which it is:
    such a record is made when it is asked for, since there may be hundreds of thousands of them."""

    _records: dict[str, Record | Inode] = attrs.field(factory=dict)
    _in_order: list[str] = attrs.field(factory=list)
    """The names, sorted when somebody asked last; empty when there are others by now."""
    pending: int = 0

    def __len__(self) -> int:
        return len(self._records)

    def get(self, name: str) -> Record | None:
        found = self._records.get(name)
        return Record(found, None, is_pending=True) if isinstance(found, Inode) else found

    def all(self) -> dict[str, Record]:
        """A copy."""
        return {name: record for name in self._records if (record := self.get(name)) is not None}

    def between(self, before: str, cursor: str | None) -> list[str]:
        """The names of which a listing may have heard that went from `before` to `cursor`, and few others."""
        if not self._in_order:
            self._in_order = sorted(self._records)
        first = bisect_left(self._in_order, before)
        last = None if cursor is None else bisect_left(self._in_order, cursor)
        shorter = [before[:end] for end in range(1, len(before)) if before[:end] in self._records]
        return [*shorter, *self._in_order[first:last]]  # `a` is passed when `a/` is, behind `a-1`

    def put(self, name: str, record: Record) -> None:
        if name not in self._records:
            self._in_order = []
        self.pending += record.is_pending - self._is_pending(name)
        self._records[name] = record.inode if record.inode is not None and record.is_plain else record

    def drop(self, name: str) -> None:
        self.pending -= self._is_pending(name)
        self._in_order = []
        del self._records[name]

    def _is_pending(self, name: str) -> bool:
        record = self.get(name)
        return record is not None and record.is_pending


class Overlay:
    """All records of a mount, by directory and name."""

    def __init__(
        self,
        lifetime: Lifetime,
        changed: Callable[[ObjectPath, str, Record], None] = lambda _directory, _name, _record: None,
    ) -> None:
        """`changed` hears of each name that this mount does something to, after it is recorded."""
        self._lifetime = lifetime
        self._changed = changed
        self._order = itertools.count(1)
        self._levels: dict[ObjectPath, _Level] = {}
        self._expiring: deque[tuple[float, Record, ObjectPath, str]] = deque()
        self._asks: set[int] = set()

    def __len__(self) -> int:
        return sum(len(level) for level in self._levels.values())

    # -- questions --------------------------------------------------------------------------

    def get(self, directory: ObjectPath, name: str) -> Record | None:
        """The record of a name, where this mount knows better than a listing."""
        if not self._levels:
            return None
        self._prune()
        level = self._levels.get(directory)
        return level.get(name) if level is not None else None

    def records(self, directory: ObjectPath) -> dict[str, Record]:
        """All records of a directory, by name; a copy."""
        self._prune()
        level = self._levels.get(directory)
        return level.all() if level is not None else {}

    def is_all_gone(self, directory: ObjectPath, names: Sequence[str]) -> bool:
        """Whether a directory that had these names has none now, nor any other that is known here."""
        found = (self.get(directory, name) for name in reversed(names))  # the first ones go first, mostly
        if not all(record is not None and record.is_gone for record in found):
            return False
        return all(record.is_gone for record in self.records(directory).values())

    def has_pending(self, directory: ObjectPath) -> bool:
        """Whether anything directly in it is not in B2 yet."""
        level = self._levels.get(directory)
        return level is not None and level.pending > 0

    # -- changes ----------------------------------------------------------------------------

    def pending(self, directory: ObjectPath, name: str, inode: Inode) -> None:
        """`inode` has the name here, and B2 does not know it, or not in this state."""
        old = self.get(directory, name)
        entry = old.entry if old else None
        if inode.is_directory:
            record = self._after(old, inode, entry, is_pending=True)
        else:  # nothing that a listing says moves it: it needs no moment, and there may be many
            past, newest = (old.past, old.newest_ms) if old else ((), 0)
            record = Record(inode, entry, is_pending=True, past=past, newest_ms=newest)
        self._do(directory, name, record)

    def settled(
        self,
        directory: ObjectPath,
        name: str,
        inode: Inode | None,
        entry: Entry | None,
        replaced: ObjectVersion | None = None,
    ) -> None:
        """B2 has `entry` under the name now (None: nothing any more), instead of `replaced`."""
        old = self.get(directory, name)
        record = self._after(old, inode, entry, is_pending=False)
        past, newest = record.past, record.newest_ms
        for version in (replaced, old.entry.version if old and old.entry else None):
            if version is not None and (entry is None or version != entry.version):
                past = (*(one for one in past if one != version.version_id), version.version_id)
                newest = max(newest, version.uploaded_ms)
        if entry is not None and entry.version is not None:
            past = tuple(one for one in past if one != entry.version.version_id)
            newest = entry.version.uploaded_ms
        self._do(directory, name, attrs.evolve(record, past=past[-_PAST_VERSIONS:], newest_ms=newest))

    def rebased(self, directory: ObjectPath, name: str, entry: Entry) -> None:
        """B2 has `entry` under a name whose newer state is still pending."""
        record = self.get(directory, name)
        if record is not None and record.is_pending:
            self._do(directory, name, attrs.evolve(record, entry=entry))

    def moved(self, old: ObjectPath, new: ObjectPath) -> None:
        """Carry all records below the directory `old` to `new`, in place of what was known there."""
        for path in [path for path in self._levels if new.holds(path)]:
            del self._levels[path]
        for path in [path for path in self._levels if old.holds(path)]:
            level = self._levels.pop(path)
            for name, record in level.all().items():
                self._put(path.moved(old, new), name, self._renewed(record))

    def forget(self, path: ObjectPath | None) -> None:
        """Drop the settled records of a directory and below (or of one name, or all)."""
        for directory, level in list(self._levels.items()):
            for name, record in level.all().items():
                own = (directory.file(name), directory.directory(name))
                if not record.is_pending and (path is None or path.holds(directory) or path in own):
                    self._drop(directory, name)

    # -- what listings say ------------------------------------------------------------------

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """A question is on its way to the store while this lasts."""
        ask = Ask(next(self._order), trio.current_time())
        self._asks.add(ask.order)
        try:
            yield ask
        finally:
            self._asks.discard(ask.order)

    def heard_page(self, directory: ObjectPath, listing: Listing, before: str | None, ask: Ask) -> None:
        """Rows of the directory have come; the listing knew the names before `before` already."""
        self._prune()
        level = self._levels.get(directory)
        for name in level.between(before or "", listing.cursor) if level is not None else ():
            if listing.knows(name) and (before == "" or not passed(before, name)):
                self.heard(directory, name, listing.entries.get(name), ask)

    def heard(self, directory: ObjectPath, name: str, entry: Entry | None, ask: Ask) -> None:
        """The store has answered about one name. What is newer than the record takes over."""
        record = self.get(directory, name)
        if record is None:
            return
        if record.is_pending:
            if entry is not None and entry.kind is Kind.DIRECTORY:
                self.shown(directory, name, ask)
            return
        if ask.order < record.order:
            self._put(directory, name, self._renewed(record, _OLD_ANSWER_GUARD))
        elif not record.lags(entry) or trio.current_time() >= record.until:
            inode = record.inode if _same(record.entry, entry) else None
            self._put(directory, name, attrs.evolve(record, inode=inode, entry=entry, order=ask.order))

    def contradicts(self, directory: ObjectPath, listing: Listing) -> bool:
        """Whether a complete listing looks older than something that this mount did and B2 has."""
        settled = [one for one in self.records(directory).items() if not one[1].is_pending]
        return any(record.lags(listing.entries.get(name)) for name, record in settled)

    def shown(self, directory: ObjectPath, name: str, ask: Ask) -> None:
        """B2 shows that the directory `name` is there: no need to insist on it, unless what is in it
        is known here only, or the answer may be older than the reason to insist."""
        record = self.get(directory, name)
        if record is None or not record.is_pending or record.inode is None or not record.inode.is_directory:
            return
        if ask.time >= record.until and not self.has_pending(record.inode.path):
            self._drop(directory, name)

    # -- inside -----------------------------------------------------------------------------

    def _after(
        self, old: Record | None, inode: Inode | None, entry: Entry | None, *, is_pending: bool
    ) -> Record:
        return Record(
            inode,
            entry,
            is_pending,
            order=next(self._order),
            until=trio.current_time() + self._lifetime.longest,
            past=old.past if old else (),
            newest_ms=old.newest_ms if old else 0,
        )

    def _renewed(self, record: Record, at_least: float = 0.0) -> Record:
        """The record as if it had just been made, for what is still on its way to those who asked."""
        until = max(record.until, trio.current_time() + max(self._lifetime.longest, at_least))
        return attrs.evolve(record, order=next(self._order), until=until)

    def _do(self, directory: ObjectPath, name: str, record: Record) -> None:
        self._put(directory, name, record)
        self._changed(directory, name, record)

    def _put(self, directory: ObjectPath, name: str, record: Record) -> None:
        if not record.is_pending:
            self._expiring.append((record.until, record, directory, name))
        level = self._levels.setdefault(directory, _Level())
        level.put(name, record)

    def _drop(self, directory: ObjectPath, name: str) -> None:
        level = self._levels[directory]
        level.drop(name)
        if not len(level):
            del self._levels[directory]

    def _prune(self) -> None:
        """Drop the settled records whose guard is over; not while an older question is on its way."""
        now = trio.current_time()
        oldest = min(self._asks, default=None)
        while self._expiring and self._expiring[0][0] <= now:
            _, record, directory, name = self._expiring[0]
            if oldest is not None and oldest < record.order:
                return
            self._expiring.popleft()
            level = self._levels.get(directory)
            if level is not None and level.get(name) is record:
                self._drop(directory, name)


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None or one.version is None or other.version is None:
        return one == other or bool(one and other and one.kind is other.kind is Kind.DIRECTORY)
    return one.version.version_id == other.version.version_id

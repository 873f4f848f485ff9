"""NameIndex: what B2 has said of names, kept on disk with the time at which it was asked, so that the
next mount need not ask again before it is due, nor this one for what it had to drop from memory.

What is kept are complete listings, some seconds after they came, in SQLite (index_file). Nothing else
may come to be believed by way of it than what this process would believe had it never ended:

    1. Nothing is older than the time to live of the mount that asks. Ages are told by the wall clock;
       when that was set back, everything is forgotten, since nobody knows how old it is.
    2. No listing is believed that was asked for before the last change of this mount in the directory,
       or before the newest listing of it that anybody here has seen a page of. Each makes the older
       ones doubtful (doubts); so does a refresh, with all below.
    3. A doubt is recorded before the change that causes it is told to anybody: one small write to the
       log beside the index (change_log), in the same turn of the loop, without a thread and without an
       fsync. The listing itself goes with the next batch, and then the record. A process that is killed
       leaves the log as it was: the next mount applies it first.
    4. Without fsyncs a power cut may lose records, and all else. Therefore the log's header says, made
       durable before anything can be changed, that the index is in use since this start of the machine.
       Only a clean end, which syncs everything, takes that back. What is found in use from before another
       start of the machine is thrown away.
    5. So is what is damaged in any way, of another format, account, bucket or prefix, and everything
       after an error of the disk. Nobody but the log is told: the names are asked of B2.

The price is that a power cut costs the index; what is bought is that no change ever waits for the disk.
A time to live under WORTHWHILE is too short for an index: then there is none, and an old one is
removed, since nobody would record doubts in it.

Must not know: inodes, what is done with the entries.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio
from cachetools import LRUCache

from b2mount.model import ObjectPath
from b2mount.namespace.change_log import Change, ChangeLog, Header, read_log, void_log
from b2mount.namespace.doubts import Doubts, key_of
from b2mount.namespace.index_file import ERRORS, IndexFile, StoredListing, remove_index
from b2mount.namespace.listing import Asked, Listing
from b2mount.namespace.recollection import (
    PART,
    Part,
    Recollection,
    body_of,
    part_of,
    recollected,
)
from b2mount.namespace.stored_rows import StoredRow, decode
from b2mount.namespace.turns import TURN
from b2mount.namespace.wall_clock import Moment, read_moment
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

WORTHWHILE: Final = 300.0
"""Seconds for which names are to be believed at least, else none are kept."""
_PAUSE: Final = 1.0
"""Seconds in which listings gather for one transaction."""
_AT_ONCE: Final = 20_000
"""Entries in one transaction, roughly."""
_FOLLOWING: Final = 15
"""Listings that are read together with the one that is asked for: a walk wants them next."""
_AHEAD: Final = 64
_DROPPED_AT_ONCE: Final = 200
DATABASE: Final = "names.sqlite3"
LOG: Final = "names.log"


@attrs.define(eq=False)
class _Files:
    """What is open."""

    log: ChangeLog
    index: IndexFile


@attrs.define(eq=False)
class NameIndex:
    """See the module. Until it is opened, and once it is closed or broken, it knows nothing and keeps
    nothing. No method raises anything but trio.Cancelled."""

    _directory: Path
    _identity: str
    """Of the account, the bucket and the prefix that the key sees."""
    _root: ObjectPath
    _ttl: float
    _lane: ThreadLane
    _now: Callable[[], Moment] = read_moment
    _files: _Files | None = attrs.field(default=None, init=False)
    _moment: Moment = attrs.field(init=False)
    """The last one known."""
    _doubts: Doubts = attrs.field(factory=lambda: Doubts(0), init=False)
    _waiting: list[tuple[ObjectPath, Listing]] = attrs.field(factory=list, init=False)
    _writing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _reading: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _work: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ahead: LRUCache[str, StoredListing] = attrs.field(factory=lambda: LRUCache(_AHEAD), init=False)

    @classmethod
    def nowhere(cls) -> NameIndex:
        """One that is never to be opened."""
        return cls(Path(), "", ObjectPath("", ""), 0.0, ThreadLane("no index", 1))

    # -- life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what an earlier mount has left, as far as it can be believed."""
        self._moment = self._now()
        try:
            if self._ttl < WORTHWHILE:
                await self._lane.run_uncancelled(_throw_away, self._directory)
                return
            opening = partial(_open, self._directory, self._identity, self._moment)
            files, self._moment = await self._lane.run_uncancelled(opening)
        except ERRORS as error:
            log.info("names are not kept on disk: %s", error)
            return
        self._doubts = Doubts(files.index.sequence)
        self._files = files

    async def run(self) -> None:
        """Store what is learnt, until cancelled."""
        await self._guarded(self._drop_old)
        while True:
            await self._work.wait()
            await trio.sleep(_PAUSE)
            await self.store()

    async def close(self) -> None:
        """Store the rest, durably: what is there is to be believed by the next mount. Nothing may be
        changed any more that is not journaled."""
        await self.store()
        async with self._writing, self._reading:
            files, self._files = self._files, None
            self._waiting.clear()
            if files is not None:
                changes, sequence = self._doubts.take(), self._doubts.sequence
                try:
                    await self._lane.run_uncancelled(_close, files, sequence, changes)
                except ERRORS as error:
                    log.info("names are not kept on disk: %s", error)

    @property
    def is_open(self) -> bool:
        """Whether it may know anything."""
        return self._files is not None

    # -- what happens ----------------------------------------------------------------------

    def asks(self) -> Asked | None:
        """The store is being asked for a listing now."""
        return Asked(self._doubts.next(), self._moment_now().wall_ns) if self._files is not None else None

    def changed(self, directory: ObjectPath) -> None:
        """What is directly in a directory is different, or going to be. No older listing is believed."""
        if self._files is not None:
            self._note(self._doubts.changed(directory))

    def changed_below(self, directory: ObjectPath) -> None:
        """As `changed`, of a directory and all below it."""
        if self._files is not None:
            self._note(self._doubts.changed_below(directory))

    def forget(self, path: ObjectPath | None) -> None:
        """Nothing is to be believed of a path, of all below it, and of the directory that it stands in;
        or of anything."""
        if path is not None and path != self._root:
            self.changed(path.parent)
        self.changed_below(path.as_directory if path and path.name else self._root)

    def begun(self, directory: ObjectPath, asked: Asked | None) -> None:
        """The first page of a listing has come: nobody is to be shown an older one any more."""
        if self._files is not None and asked is not None:
            self._note(self._doubts.superseded(directory, asked.sequence))

    def learnt(self, directory: ObjectPath, listing: Listing) -> None:
        """A listing is complete."""
        if self._files is not None and listing.asked is not None:
            self._waiting.append((directory, listing))
            self._work.set()

    def _note(self, change: Change | None) -> None:
        if change is None or self._files is None:
            return
        self._work.set()
        try:
            self._files.log.append(change)
        except OSError as error:
            self._break(error)

    def _break(self, error: Exception) -> None:
        """Nobody will believe it any more, whatever becomes of this process."""
        files, self._files = self._files, None
        self._waiting.clear()
        self._ahead.clear()
        if files is None:
            return
        log.info("names are not kept on disk any more: %s", error)
        try:
            files.log.void()
            remove_index(self._directory / DATABASE)
        except OSError as failure:
            log.info("the broken index of names can't be removed: %s", failure)

    def _moment_now(self) -> Moment:
        """Now; everything is in doubt when nobody can tell how long ago things were."""
        now = self._now()
        after = now.after(self._moment)
        self._moment = now if after is None else after
        if after is None:
            log.info("the clock was set back: names will be asked again")
            self.changed_below(self._root)
        return self._moment

    # -- what is known ---------------------------------------------------------------------

    async def find(self, directory: ObjectPath) -> Recollection | None:
        """What is known of a directory and not due."""
        if self._files is None or self._doubts.is_absent(directory):
            return None
        stored = self._ahead.get(key_of(directory))
        if stored is None or not self._doubts.believes(directory, stored.sequence):
            await self._guarded(partial(self._read, key_of(directory)))
            stored = self._ahead.get(key_of(directory))
        if stored is None:
            return None
        age = (self._moment_now().wall_ns - stored.asked_ns) / 1e9
        if not 0 <= age < self._ttl or not self._doubts.believes(directory, stored.sequence):
            return None
        try:
            return recollected(directory, stored.listing_id, trio.current_time() - age, stored.body)
        except ERRORS as error:
            self._break(error)
            return None

    async def part(self, found: Recollection, number: int) -> list[StoredRow] | None:
        """The entries of a part of a long listing; None when it has gone."""
        rows: list[StoredRow] = []

        async def read(files: _Files) -> None:
            async with self._reading:
                read_part = files.index.read_part
                body = await self._lane.run_uncancelled(read_part, found.listing_id, number)
            rows.extend(decode(body) if body is not None else ())

        await self._guarded(read)
        return rows or None

    async def _read(self, key: str, files: _Files) -> None:
        async with self._reading:
            self._ahead.pop(key, None)
            rows = await self._lane.run_uncancelled(files.index.read, key, _FOLLOWING)
            self._ahead.update({row.key: row for row in reversed(rows)})

    # -- what is kept ----------------------------------------------------------------------

    async def store(self) -> None:
        """Bring everything to the file that is not there yet."""
        self._work = trio.Event()
        await self._guarded(self._store_batch)
        while self._waiting and self._files is not None:
            await self._guarded(self._store_batch)

    async def _store_batch(self, files: _Files) -> None:
        async with self._writing:
            batch: list[tuple[ObjectPath, StoredListing]] = []
            size = taken = 0
            while taken < len(self._waiting) and size < _AT_ONCE:  # they wait on, should this be cancelled
                directory, listing = self._waiting[taken]
                size, taken = size + listing.size, taken + 1
                stored = await self._stored(files, directory, listing)
                if stored is not None:
                    batch.append((directory, stored))
            del self._waiting[:taken]
            # from here to the thread nothing happens in between
            rows = [row for directory, row in batch if self._doubts.may_store(directory, row.sequence)]
            for directory, _ in batch:
                self._doubts.stored(directory)
            changes, sequence = self._doubts.take(), self._doubts.sequence
            await self._lane.run_uncancelled(files.index.write, sequence, changes, rows)
            if self._files is files:
                files.log.replace(self._doubts.left)
                files.log.keep_moment(self._moment_now())
                oldest = min((asked.sequence for asked in self._asked_waiting()), default=sequence)
                if self._doubts.tidy(oldest):
                    self._ahead.clear()

    def _asked_waiting(self) -> Iterator[Asked]:
        return (listing.asked for _, listing in self._waiting if listing.asked is not None)

    async def _stored(self, files: _Files, directory: ObjectPath, listing: Listing) -> StoredListing | None:
        """A listing as it is kept, its parts written; None for one that is not to be kept."""
        asked = listing.asked
        if asked is None or not self._doubts.may_store(directory, asked.sequence):
            return None
        if listing.expires <= trio.current_time() or listing.table.directory != directory:
            return None
        listing_id, files.index.next_id = files.index.next_id, files.index.next_id + 1
        rows: list[StoredRow] = []
        parts: list[Part] = []
        try:
            for first in range(0, listing.count, TURN):
                rows += listing.packed(first, first + TURN)
                await trio.lowlevel.checkpoint()
                if listing.count > PART and (len(rows) >= PART or first + TURN >= listing.count):
                    part, body = part_of(rows)
                    await self._lane.run_uncancelled(files.index.write_part, listing_id, len(parts), body)
                    parts, rows = [*parts, part], []
        except LookupError:
            return None  # an odd version, which can't be packed
        whole = body_of(listing, rows, parts)
        if whole is None:
            return None
        return StoredListing(listing_id, key_of(directory), asked.sequence, asked.wall_ns, whole)

    async def _drop_old(self, files: _Files) -> None:
        due = self._moment_now().wall_ns - int(self._ttl * 1e9)
        async with self._writing:
            await self._lane.run_uncancelled(files.index.drop_strays)
        while self._files is files:
            async with self._writing:
                found = await self._lane.run_uncancelled(files.index.drop_older, due, _DROPPED_AT_ONCE)
            if not found:
                return

    async def _guarded(self, work: Callable[[_Files], Awaitable[None]]) -> None:
        """An error of the index is the end of it, and of nothing else."""
        files = self._files
        if files is None:
            return
        try:
            await work(files)
        except ERRORS as error:
            if self._files is files:
                self._break(error)


def _open(directory: Path, identity: str, moment: Moment) -> tuple[_Files, Moment]:
    """In a thread. Raises ERRORS."""
    found = read_log(directory / LOG)
    if found is not None:
        header, changes = found
        is_safe = header.is_closed or moment.is_same_boot(header.moment)
        after = moment.after(header.moment)
        if header.identity == identity and is_safe and after is not None:
            try:
                return _begin(directory, attrs.evolve(header, is_closed=False, moment=after), changes), after
            except ERRORS as error:
                log.info("the index of names is damaged, they will be asked again: %s", error)
    _throw_away(directory)
    header = Header(identity, uuid.uuid4().hex, is_closed=False, moment=moment)
    return _begin(directory, header, []), moment


def _begin(directory: Path, header: Header, changes: Sequence[Change]) -> _Files:
    """From the first line on the index is in use; it can be believed when this returns."""
    changed = ChangeLog.open(directory / LOG, header)
    try:
        index = IndexFile.open(directory / DATABASE, header.index_id)
        index.sequence = max([index.sequence, *(change.sequence for change in changes)])
        index.write(index.sequence, changes, [])
        changed.replace([])
    except BaseException:
        changed.leave()
        raise
    return _Files(changed, index)


def _throw_away(directory: Path) -> None:
    """Durably: what is left of it will not be believed."""
    void_log(directory / LOG)
    remove_index(directory / DATABASE)
    (directory / LOG).unlink(missing_ok=True)


def _close(files: _Files, sequence: int, changes: Sequence[Change]) -> None:
    files.index.write(sequence, changes, [])
    files.index.close()
    files.log.close()

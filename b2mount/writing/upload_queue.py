"""UploadQueue: what waits to be sent, by staging id, by name and by time. Pure state, no awaits.

Invariants: of one name at most one upload runs, and only the latest entry that is ready is ever
begun; nothing is begun while an earlier or later entry of its name is being recorded, while the
generation it stands on is under way, or under a held name.

Must not know: the journal, the store.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs
import trio

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.writing.sealed_file import Fate, SealedFile


class UploadState(enum.Enum):
    """Where a generation is on its way to B2."""

    RECORDING = "recording"
    """The journal is being written for it; nothing else may happen to it."""
    EDITING = "editing"
    """Withdrawn, or recorded by an fsync: not to be sent as it is."""
    QUEUED = "queued"
    UPLOADING = "uploading"
    FAILED = "failed"
    DONE = "done"
    """In B2, forgotten, or superseded by `successor`."""


WAITING = frozenset({UploadState.QUEUED, UploadState.FAILED})


_NOTHING: Final[Mapping[Entry, frozenset[object]]] = MappingProxyType({})


@attrs.define(eq=False, weakref_slot=False)
class Entry:
    """One generation in the queue."""

    sealed: SealedFile
    state: UploadState = UploadState.RECORDING
    order: int = 0
    due: float = 0.0
    attempts: int = 0
    sent: int = 0
    error: Exception | None = None
    version: ObjectVersion | None = None
    successor: Entry | None = None
    recovered: bool = False
    begun: bool = False
    """An upload of it under this name, or of what it took the place of, has begun here or in an earlier
    process: B2 may have it without our knowing."""
    broken: bool = False
    """Its staged bytes are gone: it can't be sent, and takes nothing else's place."""
    left: bool = False
    """EDITING, but nobody edits it any more: it goes as soon as something later is recorded."""
    unwanted: bool = False
    """About to be forgotten: not to be begun, nor gone on with."""
    waiters: frozenset[object] = frozenset()
    """Closes that wait for the result."""
    gathers_until: float | None = None
    """Only attributes change, and nobody waits: more of that kind may come until then, and go with it."""
    displaced: Mapping[Entry, frozenset[object]] = _NOTHING
    """What it took the place of with its name, and who waits for it because of that."""
    _changed: trio.Event | None = None

    @property
    def staging_id(self) -> str:
        """The generation."""
        return self.sealed.staging_id

    @property
    def path(self) -> ObjectPath:
        """The name that it is sent under."""
        return self.sealed.path

    def has_sent(self, size: int) -> None:
        """B2 has so many bytes of it."""
        self.sent = size

    def is_wanted(self) -> bool:
        """Whether its upload is to go on."""
        return not self.unwanted

    def met(self, error: Exception) -> None:
        """Keep what went wrong, apart from where: the frames that it came through, and what caused it, hold
        whole requests and replies, and every file in a long queue may have met something."""
        error.__cause__ = error.__context__ = None
        self.error = error.with_traceback(None)

    def change(self, state: UploadState) -> None:
        """Go to another state, and tell whoever waits for one."""
        self.state = state
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def next_change(self) -> None:
        """Wait for the next `change`."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def followed(self, entry: Entry, token: object) -> Entry:
        """The last that has taken its place. Who waits at `entry`, which has given it back, leaves that."""
        last = self
        while last.successor is not None:
            last = last.successor
        if entry is not last and entry.state is not UploadState.DONE:
            entry.leave(token)
        return last

    def leave(self, token: object) -> None:
        """Who waited for it, and so for what took its place, does so no more."""
        last: Entry | None = self
        while last is not None:
            last.waiters -= {token}
            last = last.successor

    def stands_on(self, fate: Fate) -> bool:
        """Whether base bytes of this generation come from the one with this fate."""
        below = self.sealed.made_from
        while isinstance(below, SealedFile):
            if below.fate is fate:
                return True
            below = below.made_from
        return False


@attrs.define(eq=False)
class UploadQueue:
    """See the module."""

    entries: dict[str, Entry] = attrs.field(factory=dict)
    _by_path: dict[ObjectPath, Entry | tuple[Entry, ...]] = attrs.field(factory=dict)
    _heap: list[tuple[float, int, Entry]] = attrs.field(factory=list)
    _blocked: list[Entry] = attrs.field(factory=list)
    """What is looked at again whenever something ends."""
    _held: Counter[ObjectPath] = attrs.field(factory=Counter)
    _under_hold: dict[ObjectPath, dict[Entry, None]] = attrs.field(factory=dict)
    """By the held name, what is looked at again when that is released: it can be very many."""
    unknown: list[SealedFile] = attrs.field(factory=list)
    """Generations of an earlier process that nobody sends any more. It may have started a large file
    and died before that was on record."""
    abandoned: list[str] = attrs.field(factory=list)
    """Generations that nobody sends any more, whose parts in B2 are to be cancelled."""
    _order: int = 0
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def next_order(self) -> int:
        """A number above all before."""
        self._order += 1
        return self._order

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        self.entries[entry.staging_id] = entry
        self._join_path(entry, entry.path)

    def replace(self, entry: Entry, sealed: SealedFile) -> None:
        """The entry is about this value now, maybe under another name."""
        if sealed.path != entry.path:
            self._leave_path(entry)
            self._join_path(entry, sealed.path)
        entry.sealed = sealed

    def schedule(self, entry: Entry, due: float) -> None:
        """Begin it at `due`, not before."""
        entry.due = due
        heapq.heappush(self._heap, (due, entry.order, entry))
        self.wake()

    def hurry(self, entry: Entry) -> None:
        """Somebody waits for it: what gathers changes goes at once."""
        if entry.gathers_until is not None:
            entry.gathers_until = None
            if entry.state is UploadState.QUEUED:
                self.schedule(entry, min(entry.due, trio.current_time()))

    def unblock(self) -> None:
        """Something ended: look again at what could not be begun."""
        blocked, self._blocked = self._blocked, []
        for entry in blocked:
            if entry.state is UploadState.QUEUED:
                self.schedule(entry, entry.due)
        self.wake()

    def put_back(self, entry: Entry, state: UploadState) -> None:
        """What was tried with an entry failed: it is in the state that it was in before."""
        entry.change(state)
        if state is UploadState.QUEUED:
            self.schedule(entry, entry.due)
        self.unblock()

    def not_wanted(self, staging_ids: Iterable[str]) -> list[Entry]:
        """Entries and all that are older, unwanted from now on."""
        latest = filter(None, map(self.entries.get, staging_ids))
        found = list(dict.fromkeys(each for entry in latest for each in (entry, *self.older(entry))))
        for entry in found:
            entry.unwanted = True
        return found

    def want_again(self, entries: Iterable[Entry]) -> None:
        """They are not forgotten after all."""
        for entry in entries:
            entry.unwanted = False
            if entry.state is UploadState.QUEUED:
                self.schedule(entry, entry.due)

    def withdraw(self, staging_id: str) -> bool:
        """Begin it no more, because it is edited further. False when that can't be."""
        entry = self.entries.get(staging_id)
        if entry is None or entry.unwanted or entry.waiters or entry.broken:
            return False
        if entry.state in WAITING:
            entry.change(UploadState.EDITING)
        return entry.state is UploadState.EDITING

    def send_after_all(self, staging_id: str) -> None:
        """The opposite of `withdraw`."""
        entry = self.entries.get(staging_id)
        if entry is not None and entry.state is UploadState.EDITING:
            self.put_back(entry, UploadState.QUEUED)

    def end(self, entry: Entry) -> None:
        """An entry is DONE: it leaves the queue."""
        entry.displaced = _NOTHING
        if self.entries.get(entry.staging_id) is entry:
            del self.entries[entry.staging_id]
        self._leave_path(entry)
        entry.change(UploadState.DONE)
        self.unblock()

    def end_superseded(self, entry: Entry, latest: Entry) -> None:
        """A later entry of the name takes the place of `entry`, and its closers wait for that one."""
        entry.successor = latest
        latest.waiters |= entry.waiters
        latest.begun |= entry.begun
        self.give_up(entry)
        self.end(entry)

    def give_back(self, latest: Entry, staging_ids: Container[str]) -> None:
        """The place of those of them that `latest` took it of: they wait again, and so do their closers."""
        displaced, latest.displaced = latest.displaced, _NOTHING
        for entry, waiters in displaced.items():
            if entry.staging_id not in staging_ids:
                continue
            entry.successor, entry.sealed.fate.dropped = None, False
            latest.waiters -= waiters
            self.abandoned = [staging_id for staging_id in self.abandoned if staging_id != entry.staging_id]
            self.unknown = [sealed for sealed in self.unknown if sealed is not entry.sealed]
            self.add(entry)
            self.put_back(entry, UploadState.EDITING if entry.left else UploadState.QUEUED)

    def give_up(self, entry: Entry) -> None:
        """Nobody sends it any more: nothing of it is to stay in B2."""
        self.abandoned.append(entry.staging_id)
        if entry.recovered:
            self.unknown.append(entry.sealed)

    def wake(self) -> None:
        """Let whoever waits look at the queue."""
        self._wake.set()

    async def wait(self, until: float) -> None:
        """Wait for a `wake`, until a moment at most."""
        self._wake = trio.Event()
        with trio.move_on_at(until):
            await self._wake.wait()

    def hold(self, path: ObjectPath) -> None:
        """Begin nothing at or below `path`, until `release`."""
        self._held[path] += 1

    def release(self, path: ObjectPath) -> None:
        """The end of a `hold`."""
        self._held[path] -= 1
        if not self._held[path]:
            del self._held[path]
            self._blocked.extend(self._under_hold.pop(path, ()))
            for entry in self._of(path):
                entry.change(entry.state)  # who waits may want to know that it is no more in between
        self.unblock()

    def is_given_away(self, entry: Entry, first: Entry) -> bool:
        """Whether `entry`, which somebody writes to, has taken the place of `first` for good: by a rename
        that is done, and not taken back."""
        is_edited = entry is not first and entry.state is UploadState.EDITING
        return is_edited and entry.path not in self._held

    def next_ready(self, now: float) -> Entry | None:
        """The next entry to begin, taken out of the schedule; None when there is none by now."""
        while self._heap and self._heap[0][0] <= now:
            due, _, entry = heapq.heappop(self._heap)
            if entry.state is not UploadState.QUEUED or entry.due != due or entry.unwanted:
                continue
            held = next((h for h in self._held if h == entry.path or h.holds(entry.path)), None)
            if held is not None:
                self._under_hold.setdefault(held, {})[entry] = None
            elif self._may_begin(entry):
                return entry
            else:
                self._blocked.append(entry)
        return None

    def next_due(self) -> float:
        """When the next entry becomes ready; infinity when nothing is scheduled."""
        return self._heap[0][0] if self._heap else math.inf

    def others(self, path: ObjectPath, entry: Entry) -> Iterator[Entry]:
        """The other entries of a name."""
        return (other for other in self._of(path) if other is not entry)

    def older(self, entry: Entry) -> list[Entry]:
        """The entries that `entry` stands on, the nearest first, and all earlier ones of its name."""
        found = [other for other in self.others(entry.path, entry) if other.order < entry.order]
        found.sort(key=lambda other: -other.order)
        generation = entry.sealed.made_from
        while isinstance(generation, SealedFile):
            other = self.entries.get(generation.staging_id)
            if other is not None and other not in found:
                found.append(other)
            generation = generation.made_from
        return found

    def being_sent(self, path: ObjectPath) -> SealedFile | None:
        """What of a name is under way in this moment."""
        return next((e.sealed for e in self._of(path) if e.state is UploadState.UPLOADING), None)

    def superseded(self, path: ObjectPath) -> list[tuple[Entry, Entry]]:
        """Waiting entries of a name that a later one has taken the place of, each with that one."""
        here = [e for e in self._of(path) if not e.broken]
        later = [e for e in here if e.state in WAITING or e.state is UploadState.UPLOADING]
        if len(later) < 2:
            return []
        latest = max(later, key=lambda e: e.order)
        return [(e, latest) for e in later if e is not latest and e.state in WAITING]

    def _may_begin(self, entry: Entry) -> bool:
        busy = {UploadState.UPLOADING, UploadState.RECORDING}
        related = [self.entries.get(user) for user in entry.sealed.fate.users]
        base = entry.sealed.base
        if isinstance(base, SealedFile):
            related.append(self.entries.get(base.staging_id))
        return not (
            any(other.state in busy for other in self.others(entry.path, entry))
            or any(other is not None and other.state is UploadState.UPLOADING for other in related)
        )

    def _of(self, path: ObjectPath) -> tuple[Entry, ...]:
        here = self._by_path.get(path, ())
        return (here,) if isinstance(here, Entry) else here

    def _join_path(self, entry: Entry, path: ObjectPath) -> None:
        here = self._of(path)
        self._by_path[path] = (*here, entry) if here else entry

    def _leave_path(self, entry: Entry) -> None:
        here = tuple(self.others(entry.path, entry))
        if here:
            self._by_path[entry.path] = here if len(here) > 1 else here[0]
        else:
            self._by_path.pop(entry.path, None)


async def end_of(entries: Iterable[Entry]) -> None:
    """None of them is being sent then, one after the other."""
    for entry in entries:
        while entry.state is UploadState.UPLOADING:
            await entry.next_change()


async def stand_still(entries: Sequence[Entry]) -> None:
    """Returns when none of these is being sent or recorded."""
    busy = {UploadState.RECORDING, UploadState.UPLOADING}
    while found := [entry for entry in entries if entry.state in busy]:
        await found[0].next_change()

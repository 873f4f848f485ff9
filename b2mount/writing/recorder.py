"""Recorder: changes of the upload queue that have to be durable: the journal and the queue in step.

Invariants: an entry that is being recorded stands still (RECORDING): nobody sends, renames or
withdraws it meanwhile; when the journal fails, queue and journal are as before; a record that
takes the place of others does so in one transaction; local files go after their records.

Must not know: how and when files are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from b2mount.errors import CorruptData, StoreFailure
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.writing.journal import Journal
from b2mount.writing.local_bytes import SENT, is_full, mark_sent, marked_sent
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import Staging
from b2mount.writing.upload_queue import WAITING, Entry, UploadQueue, UploadState

log = logging.getLogger(__name__)

GATHERING: Final = 0.5
"""Seconds after a change of attributes in which another one goes with it."""
LONGEST_GATHERING: Final = 5.0
"""Seconds after the first of them: then B2 has to hear of it."""


@attrs.define(eq=False)
class Recorder:
    """See the module. Its methods are for callers that can't be cancelled in the middle."""

    _journal: Journal
    _staging: Staging
    _queue: UploadQueue
    _delay: float
    _owed: list[SealedFile] = attrs.field(factory=list, init=False)
    """Generations that are done with and whose records the journal could not drop yet. They go with the
    next one that it can write or drop, so that no older record of a name outlives a younger one."""

    async def record(
        self, sealed: SealedFile, then: UploadState, *, gathers: bool = False, under: str | None = None
    ) -> None:
        """Make a generation durable, data first, and take it into the queue. With `gathers` it waits a
        moment for further changes. What is on record of the generation `under` stays, as the later one."""
        entry = self._queue.entries.get(sealed.staging_id)
        while entry is not None and entry.state in {UploadState.RECORDING, UploadState.UPLOADING}:
            await entry.next_change()
            entry = self._queue.entries.get(sealed.staging_id)
        before = entry.state if entry is not None else None
        if entry is None:
            entry = Entry(sealed)
            self._queue.add(entry)
        entry.change(UploadState.RECORDING)
        gone: list[Entry] = []
        try:
            await self._staging.sync(sealed.staging_id, sealed.extents)
            later = [e for e in self._queue.others(sealed.path, entry) if e.staging_id == under]
            with self._replacing(sealed.path, entry, then, spared=later) as gone:
                above = self._renumbered([entry], later)
                word = "editing" if then is UploadState.EDITING else "sealed"
                await self._journal.append(sealed, word, [other.sealed for other in gone], above)
        except BaseException:
            if before is None:
                self._queue.end(entry)
            else:
                self._queue.put_back(entry, before)
            raise
        entry.gathers_until = trio.current_time() + LONGEST_GATHERING if gathers else None
        self._take(entry, sealed, then)
        await self._clear([entry], gone)

    async def amend(
        self,
        staging_id: str,
        changed: Callable[[SealedFile], SealedFile],
        restores: Sequence[SealedFile] = (),
    ) -> bool:
        """Record another name or other attributes. Earlier generations of its name that wait take a new name
        along, and those in `restores` are on record again, which this one was to replace: all at one moment.
        False when the upload has begun; True, too, when nothing is recorded under this staging id."""
        entry = await self._standing_still(staging_id)
        if entry is None:
            return True
        if entry.state is UploadState.UPLOADING or entry.unwanted:
            return False
        sealed, generations = changed(entry.sealed), [entry]
        # what is being edited leaves earlier generations of its name to be sent, but takes over a new name
        takes_over = _amended(entry.state)
        if sealed.path != entry.path:
            generations = [*self._earlier(entry, {back.staging_id for back in restores}), entry]
            takes_over = UploadState.QUEUED
        values = [*(attrs.evolve(each.sealed, path=sealed.path) for each in generations[:-1]), sealed]
        await self._amend(dict(zip(generations, values, strict=True)), takes_over, restores)
        return True

    async def drop_unlinked(self, entries: Sequence[Entry]) -> None:
        """Nobody wants these any more: their records go, at one moment, and the local files of those that are
        not being edited. Never raises: nothing is sent from here, and what stays on record goes as soon as
        anything can."""
        for entry in entries:
            if entry.state is UploadState.EDITING and not entry.left:
                self._staging.keep(entry.sealed)  # whoever edits it deletes it
            entry.change(UploadState.RECORDING)
        await self._retire([entry.sealed for entry in entries])
        for entry in entries:
            self._queue.give_up(entry)
            self._queue.end(entry)

    async def pay(self) -> None:
        """Drop the records that could not be dropped before. Never raises."""
        if self._journal.owed:  # else they are going just now
            await self._retire(())

    async def retire(self, entry: Entry, version: ObjectVersion) -> None:
        """B2 has it: its record goes, then its local file. Never raises: a record that stays is
        recognised by the next mount."""
        await self._retire([entry.sealed])
        entry.version = version
        self._queue.end(entry)

    async def drop_superseded(self, path: ObjectPath) -> None:
        """Waiting entries of a name, but for the latest, will not be sent."""
        ended = self._queue.superseded(path)
        for entry, latest in ended:
            self._queue.end_superseded(entry, latest)
        if ended:
            await self._retire([entry.sealed for entry, _ in ended])

    async def replay(self) -> list[Entry]:
        """What an earlier process left recorded, queued again; the rest of the directory is cleared.
        Entries whose bytes are gone are failed."""
        found = await self._without_sent(await self._journal.replay())
        generations = [generation for sealed in found for generation in _with_bases(sealed)]
        if not self._journal.has_unreadable:
            wanted = {generation.staging_id for generation in generations}
            await self._staging.remove_strays(
                wanted | {f"{sealed.staging_id}{SENT}" for sealed in self._owed}
            )
        reasons = await self._staging.shortfalls(generations)
        for sealed in found:
            entry = Entry(sealed, UploadState.QUEUED, self._queue.next_order(), recovered=True, begun=True)
            self._queue.add(entry)
            reason = _first_of(reasons, sealed)
            if reason is not None:
                log.error("%s can't be sent: %s", sealed.path, reason)
                entry.broken, entry.error = True, CorruptData(f"{sealed.path}: {reason}")
                entry.change(UploadState.FAILED)
        for path in {sealed.path for sealed in found}:
            await self.drop_superseded(path)
        left = [entry for entry in self._queue.entries.values() if entry.state is UploadState.QUEUED]
        for entry in left:
            self._queue.schedule(entry, trio.current_time())
        return left

    async def shortfall(self, sealed: SealedFile) -> str | None:
        """Why local bytes that a generation needs can't be read, or None."""
        return _first_of(await self._staging.shortfalls(_with_bases(sealed)), sealed)

    # -- steps -----------------------------------------------------------------------------

    async def _standing_still(self, staging_id: str) -> Entry | None:
        """The entry, when neither it nor an earlier one of its name is being recorded."""
        while (entry := self._queue.entries.get(staging_id)) is not None:
            related = (entry, *self._queue.older(entry))
            busy = next((each for each in related if each.state is UploadState.RECORDING), None)
            if busy is None:
                break
            await busy.next_change()
        return entry

    def _earlier(self, entry: Entry, others: Container[str]) -> list[Entry]:
        """What else there is of the file that `entry` is the latest generation of, oldest first; but for what
        is on its way. `others` are those of another file that has had the name."""
        found = [e for e in self._queue.older(entry) if e.path == entry.path and not (e.broken or e.unwanted)]
        waiting = [e for e in found if e.state in WAITING or e.state is UploadState.EDITING]
        own = [e for e in waiting if e.staging_id not in others]
        return sorted(own, key=lambda each: each.order)

    async def _amend(
        self, values: Mapping[Entry, SealedFile], takes_over: UploadState, restores: Sequence[SealedFile]
    ) -> None:
        """Record these values of generations of one file, oldest first, and have them in the queue."""
        *_, latest = values
        before = {entry: entry.state for entry in values}
        for entry in values:
            entry.change(UploadState.RECORDING)
        gone: list[Entry] = []
        try:
            with self._replacing(values[latest].path, latest, takes_over, spared=values) as gone:
                above = self._renumbered(list(values))
                replaced = [other.sealed for other in gone]
                await self._journal.rename(list(values.values()), above, replaced, restores)
                waiters = {other: other.waiters - latest.waiters for other in gone}
        except BaseException:
            for entry, state in before.items():
                self._queue.put_back(entry, state)
            raise
        if values[latest].path != latest.path:
            self._queue.give_back(latest, {back.staging_id for back in restores})
            if gone:
                latest.displaced = {e: waiters[e] for e in gone if e.state is UploadState.DONE}
        for entry, sealed in values.items():
            self._take(entry, sealed, _amended(before[entry]))
        await self._clear(values, gone)

    @contextmanager
    def _replacing(
        self, path: ObjectPath, entry: Entry, then: UploadState, spared: Container[Entry] = ()
    ) -> Iterator[list[Entry]]:
        """The earlier entries of a name that a closed `entry` takes the place of, but for those that take the
        name with it. They stand still inside, and are as before when that fails. One that is being edited
        loses only its record."""
        fate = entry.sealed.fate
        before = {
            other: other.state
            for other in self._queue.others(path, entry)
            if (then is UploadState.QUEUED or other.left)
            and (other.state in WAITING or other.state is UploadState.EDITING)
            and not (other.broken or other in spared or other.stands_on(fate))
        }
        for other in before:
            other.change(UploadState.RECORDING)
        try:
            yield list(before)
        except BaseException:
            for other, state in before.items():
                self._queue.put_back(other, state)
            raise
        for other, state in before.items():
            if state is UploadState.EDITING and not other.left:
                self._queue.put_back(other, state)
            else:
                self._queue.end_superseded(other, entry)

    def _renumbered(self, entries: Sequence[Entry], later: Sequence[Entry] = ()) -> list[str]:
        """These are the latest now, in this order, and those that stand on them, and `later`, stay later."""
        users = [user for entry in entries for user in entry.sealed.fate.users]
        found = [e for e in map(self._queue.entries.get, users) if e is not None]
        above = list(dict.fromkeys(e for e in (*found, *later) if e not in entries))
        for entry in (*entries, *above):
            entry.order = self._queue.next_order()
        return [user.staging_id for user in above]

    def _take(self, entry: Entry, sealed: SealedFile, then: UploadState) -> None:
        """What is on record now is in the queue."""
        sealed.fate.dropped = False
        self._queue.replace(entry, sealed)
        entry.error, entry.attempts, entry.sent = None, 0, 0
        entry.change(then)
        if then is UploadState.QUEUED:
            self._queue.schedule(entry, self._due(entry))

    async def _clear(self, taken: Iterable[Entry], gone: Sequence[Entry]) -> None:
        """What those that were taken in have replaced goes."""
        self._queue.unblock()
        queued = {entry.path for entry in taken if entry.state is UploadState.QUEUED}
        for path in queued:  # what has failed while it was recorded is not to be sent after it
            await self.drop_superseded(path)
        await self._delete_files([other.sealed for other in gone if other.state is UploadState.DONE])
        await self.pay()

    def _due(self, entry: Entry) -> float:
        now = trio.current_time()
        if entry.gathers_until is None or entry.waiters:
            return now + self._delay
        return max(now + self._delay, min(now + GATHERING, entry.gathers_until))

    async def _retire(self, gone: Sequence[SealedFile]) -> None:
        self._owed.extend(gone)
        owed = list(self._owed)
        try:
            await self._strike_off(owed)
        except (OSError, StoreFailure) as error:
            log.warning("the journal still lists what B2 has, or what was removed: %s", error)
            self._journal.owed = tuple(self._owed)
            return
        paid = {sealed.staging_id for sealed in owed}
        self._owed = [sealed for sealed in self._owed if sealed.staging_id not in paid]
        self._journal.owed = tuple(s for s in self._journal.owed if s.staging_id not in paid)
        await self._delete_files(owed)

    async def _strike_off(self, gone: Sequence[SealedFile]) -> None:
        try:
            await self._journal.retire(*gone)
        except OSError as error:
            # what B2 has is the last thing that can make room; a younger record may still need its file
            sent = [s for s in gone if s.fate.version and not (s.fate.users or s.fate.marked)]
            if not is_full(error) or not sent:
                raise
            for sealed in sent:
                sealed.fate.marked = True
            await self._staging.lane.run_uncancelled(mark_sent, [s.local_path for s in sent])
            await self._journal.retire(*gone)

    async def _without_sent(self, found: list[SealedFile]) -> list[SealedFile]:
        """What is left of these when those have gone whose bytes B2 has."""
        marks = await self._staging.lane.run(marked_sent, str(self._staging.directory))
        sent = [sealed for sealed in found if sealed.staging_id in marks]
        for sealed in sent:
            sealed.fate.marked = True
        if sent:
            await self._retire(sent)
        return [sealed for sealed in found if sealed.staging_id not in marks]

    async def _delete_files(self, gone: Sequence[SealedFile]) -> None:
        try:
            await self._staging.delete([path for sealed in gone for path in self._staging.retired(sealed)])
        except OSError as error:
            log.warning("staging files that are not needed any more stay for now: %s", error)


def _amended(state: UploadState) -> UploadState:
    """The state of a recorded entry whose name or attributes have changed: what has failed is tried again."""
    return state if state is UploadState.EDITING else UploadState.QUEUED


def _first_of(reasons: Mapping[str, str], sealed: SealedFile) -> str | None:
    return next((reasons[g.staging_id] for g in _with_bases(sealed) if g.staging_id in reasons), None)


def _with_bases(sealed: SealedFile) -> Iterator[SealedFile]:
    generation: ObjectVersion | SealedFile | None = sealed
    while isinstance(generation, SealedFile):
        yield generation
        generation = generation.base

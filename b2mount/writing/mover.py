"""Mover: renames of objects inside B2: a copy under the new name, then the old name hidden. Journaled.

What a replay finds of a rename, and what it does, so that nothing is lost and nothing is doubled:

    the destination holds our copy        hide the old name, if it still shows what was moved
    the destination is absent, or what    copy, then hide, if the old name still shows what was moved
      it was, or older than the rename
    somebody wrote the destination since  nothing: the rename had not returned, both names stay
    a later unsent file here is to be     the old name is given back, if it was hidden: the rename was
      sent to the destination             reported as failed
    a later unsent file here is to be     nothing: the rename was reported as failed. Hidden now, the name
      sent to the old name                  would stay hidden under a large file that was begun before
    the old name shows something else     nothing more: somebody has removed or replaced it since

What B2 refuses (a cap, the key's rights) stays in the journal for the next mount, which finds the same; this
one goes on without it. When that happens to an old name that is to be given back, the journal says so from
then on: what is sent to the destination covers the copy that it is known by.

Our copy is known by its size, SHA-1, content type and info: see `copying`. Objects that change places
are the Exchanger's.

Invariants: a rename is in the journal before its first request and until it is done or has been
reported as failed; a name is hidden only after B2 has confirmed the copy.

Must not know: directories, inodes, what is unsent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError, NotFound, Unavailable
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.copying import in_parallel, is_copy, may_pass, newest
from b2mount.writing.exchanger import Exchanger, Swap
from b2mount.writing.journal import Journal
from b2mount.writing.records import MoveRecord
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.strays import Stray, Strays
from b2mount.writing.uploader import Uploader

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries."""
LONGEST_REFUSED: Final = 900.0
"""The same, where B2 answers and refuses: each try is a request, and a cap may last for a day."""


class MoveIncomplete(B2MountError):
    """Some of the objects of a directory could not be moved; the others are under their new names."""

    def __init__(self, moved: dict[ObjectPath, ObjectVersion], failed: dict[ObjectPath, Exception]) -> None:
        path, cause = next(iter(failed.items()))
        super().__init__(f"{len(failed)} of {len(moved) + len(failed)} not moved; {path}: {cause}")
        self.moved = moved
        """By old path: the new version."""
        self.failed = failed
        """By old path: why."""
        self.cause = cause
        """The first error."""


@attrs.define(eq=False)
class Mover:
    """See the module."""

    _store: ObjectStore
    _journal: Journal
    _uploader: Uploader
    _parallel: int = attrs.field(default=16, kw_only=True)
    _unsure: set[int] = attrs.field(factory=set, init=False)
    """Renames that were begun and may not be done; they stay in the journal."""
    _refused: dict[MoveRecord, Exception] = attrs.field(factory=dict, init=False)
    """What an earlier process began and this one can't finish."""
    _needed: dict[object, Sequence[ObjectVersion]] = attrs.field(factory=dict, init=False)
    _filling: dict[object, frozenset[ObjectPath]] = attrs.field(factory=dict, init=False)
    """The new names of what is being renamed."""
    _owes: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Something is to be taken back."""
    _exchanger: Exchanger = attrs.field(init=False)
    _strays: Strays = attrs.field(init=False)

    @_strays.default
    def _make_strays(self) -> Strays:
        strays = Strays(self._store, self._moving)
        self._uploader.on_begin = strays.forget
        return strays

    @_exchanger.default
    def _make_exchanger(self) -> Exchanger:
        return Exchanger(self._store, self._journal, self._uploader, self._parallel)

    async def move(
        self,
        moves: Sequence[tuple[ObjectVersion, ObjectPath]],
        replaces: Sequence[SealedFile] = (),
        over: Mapping[ObjectPath, str] = MappingProxyType({}),
    ) -> list[ObjectVersion]:
        """Move objects; returns the new versions, in order. For a single one raises its error; for
        several MoveIncomplete, when some could not be moved: those are still under their old names.
        When cancelled, the next mount finishes it. The records of the unsent files in `replaces`, which
        the moved ones take the place of, are gone from the start, else the next mount would send them
        over what it has moved: when this fails, they are on record again, to be submitted again. `over` has
        the ids of the versions that the new names have now, where they have any."""
        if not moves:
            return []
        with self.needing([version for version, _ in moves]) as token:
            self._filling[token] = frozenset(path for _, path in moves)
            return await self._move_all(moves, replaces, over)

    async def _move_all(
        self,
        moves: Sequence[tuple[ObjectVersion, ObjectPath]],
        replaces: Sequence[SealedFile],
        over: Mapping[ObjectPath, str],
    ) -> list[ObjectVersion]:
        with trio.CancelScope(shield=True):
            records = await self._journal.begin_moves(moves, self._store.now_ms, replaces, over)
        results: dict[int, ObjectVersion] = {}
        failed: dict[int, Exception] = {}

        async def move_one(record: MoveRecord) -> None:
            try:
                results[record.number] = await self._move(record)
            except Exception as error:
                failed[record.number] = error

        await in_parallel(self._parallel, move_one, records)
        with trio.CancelScope(shield=True):
            ended = [record for record in records if record.number not in self._unsure]
            await self._end(ended, replaces if failed else ())
        if failed and len(records) == 1:
            raise failed[records[0].number]
        if failed:
            raise MoveIncomplete(
                {r.version.path: results[r.number] for r in records if r.number in results},
                {r.version.path: failed[r.number] for r in records if r.number in failed},
            )
        return [results[record.number] for record in records]

    async def exchange(self, swaps: Sequence[Swap]) -> list[ObjectVersion]:
        """Let objects change places: all of them, or none. See Exchanger."""
        with self.needing([swap.source for swap in swaps]):
            try:
                return await self._exchanger.exchange(swaps)
            finally:
                if self._exchanger.owes:
                    self._owes.set()

    async def take_back(self) -> bool:
        """What an exchange that failed has left under wrong names goes; whether there was any. To be said
        before names are looked up that are to be moved. Raises what the store raises."""
        return await self._exchanger.pay()

    def is_open(self, path: ObjectPath) -> bool:
        """Whether what B2 shows under a name may be the copy of a rename or exchange that is not done, or has
        failed and is not taken back yet: it says nothing of who has the name."""
        is_filled = any(path in paths for paths in self._filling.values())
        return is_filled or self._exchanger.is_open(path) or self._strays.may_be_at(path)

    def check_taken_back(self) -> None:
        """Raises Unavailable while names show what an exchange that failed has left there."""
        if self._exchanger.owes:
            raise Unavailable("names are not yet what they were before an exchange that failed")

    async def run(self, taken_back: Callable[[], None]) -> None:
        """Take back what exchanges and renames that failed have left, as soon as B2 does it, until
        cancelled; then `taken_back`: names mean others again."""
        pause = FIRST_PAUSE
        while True:
            await self._owes.wait()
            await trio.sleep(pause)  # B2 has just been in trouble
            longest = LONGEST_PAUSE
            try:
                exchanged = await self.take_back()
                if await self._strays.pay() or exchanged:
                    taken_back()
            except B2MountError as error:
                log.debug("what failed is not taken back yet: %s", error)
                longest = LONGEST_PAUSE if isinstance(error, Unavailable) else LONGEST_REFUSED
            pause = min(pause * 2, longest)
            if not (self._exchanger.owes or self._strays.are_owed):
                self._owes, pause = trio.Event(), FIRST_PAUSE

    async def copy(self, version: ObjectVersion, path: ObjectPath) -> ObjectVersion:
        """Copy a version of any size inside B2, with its metadata, and leave it where it is."""
        with self.needing([version]):
            return await self._uploader.copy(version, path)

    @contextmanager
    def needing(self, versions: Sequence[ObjectVersion]) -> Iterator[object]:
        """Inside, these are `in_use`: for who is about to copy them."""
        token = object()
        self._needed[token] = versions
        try:
            yield token
        finally:
            del self._needed[token]
            self._filling.pop(token, None)

    def in_use(self) -> Iterator[ObjectVersion]:
        """The versions that are being copied, or about to be, and those that a mount is to go on with."""
        yield from self._moving()
        yield from (record.version for record in self._refused)
        yield from self._exchanger.left()

    def _moving(self) -> Iterator[ObjectVersion]:
        for versions in self._needed.values():
            yield from versions

    async def has_begun(self) -> bool:
        """Whether an earlier process left any rename to be finished. Raises OSError, StoreFailure."""
        return bool(await self._journal.moves()) or await self._exchanger.has_begun()

    async def replay(self) -> None:
        """Finish what an earlier process began, but for what B2 refuses. Waits for B2 as long as it is out
        of reach; let uploads begin after it. Never raises but when the journal can't be read."""
        left = await self._journal.moves()
        pause = 1.0
        while True:
            waiting: list[MoveRecord] = []

            async def finish_one(record: MoveRecord, waiting: list[MoveRecord] = waiting) -> None:
                if not await self._finish(record):
                    waiting.append(record)

            await in_parallel(self._parallel, finish_one, left)
            left = waiting
            if await self._exchanger.replay() and not left:
                break
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        for record, error in list(self._refused.items())[:1]:  # one line, however many there are
            log.warning(
                "%d renames that an earlier mount began are not done, the next one tries again; %s to %s: %s",
                len(self._refused),
                record.version.path,
                record.destination,
                error,
            )

    # -- one object ------------------------------------------------------------------------

    async def _move(self, record: MoveRecord) -> ObjectVersion:
        stray = Stray(record.version, record.destination, record.over, record.begun_ms)
        try:
            version = await self._uploader.copy(record.version, record.destination)
        except Unavailable:
            self._owe(stray)  # it may have been heard
            raise
        try:
            await self._store.hide(record.version.path)
        except NotFound:
            pass  # somebody removed the old name meanwhile
        except Unavailable:
            if await self._is_hidden(record):
                return version
            raise
        except Exception:
            await self._undo(version, stray)
            raise
        return version

    def _owe(self, stray: Stray) -> None:
        self._strays.owe(stray)
        self._owes.set()

    async def _is_hidden(self, record: MoveRecord) -> bool:
        """Whether a request to hide that got no answer was heard. When that can't be known either,
        both names stay as they are and the next mount finishes the rename: to take the copy back
        could leave neither."""
        try:
            current = await newest(self._store, record.version.path)
        except B2MountError:
            current = record.version
        if current is not None and current.version_id == record.version.version_id:
            self._unsure.add(record.number)
            return False
        return True

    async def _undo(self, copy: ObjectVersion, stray: Stray) -> None:
        try:
            await self._store.delete_version(copy)
        except B2MountError as error:
            if may_pass(error, self._store):
                self._owe(stray)
            else:
                log.warning("%s is under its old name too: %s", copy.path, error)

    async def _finish(self, record: MoveRecord) -> bool:
        """False when B2 is out of reach. What it refuses is `_refused` then."""
        source, destination = record.version, record.destination
        try:
            if record.is_way_back:
                await self._give_back(record)
            elif await self._journal.written_since(record, destination):
                await self._put_back(record)
            elif await self._journal.written_since(record, source.path):
                log.info("%s keeps its name: what was written to it since is about to be sent", source.path)
            elif await self._is_still_wanted(record):
                log.info("finishing the rename of %s to %s", source.path, destination)
                if not is_copy(await newest(self._store, destination), source):
                    await self._uploader.copy(source, destination)
                await self._store.hide(source.path)
        except NotFound:
            pass  # somebody removed it between our question and our request
        except Unavailable as error:
            log.warning("the rename of %s waits: %s", source.path, error)
            return False
        except Exception as error:
            log.debug("the rename of %s to %s stays half done", source.path, destination, exc_info=True)
            self._refused[record] = error
            return True
        await self._end([record])
        return True

    async def _put_back(self, record: MoveRecord) -> None:
        """The rename was reported as failed, and what it was to replace is about to be sent: what was
        moved must have its old name, and nothing else."""
        try:
            if is_copy(await newest(self._store, record.destination), record.version):
                await self._give_back(record)
        except (NotFound, Unavailable):
            raise
        except B2MountError:
            path = record.version.path
            turn_back = "UPDATE moves SET bucket = ?, key = ? WHERE number = ?"
            await self._journal.write([(turn_back, (path.bucket, path.key, record.number))])
            raise

    async def _give_back(self, record: MoveRecord) -> None:
        path = record.version.path
        if await self._journal.written_since(record, path) or await newest(self._store, path) is not None:
            return
        log.info("%s has its name again", path)
        await self._uploader.copy(record.version, path)

    async def _is_still_wanted(self, record: MoveRecord) -> bool:
        source = await newest(self._store, record.version.path)
        if source is None or source.version_id != record.version.version_id:
            return False
        there = await newest(self._store, record.destination)
        if there is None or is_copy(there, source) or there.version_id == record.over:
            return True  # whatever the clocks of this machine and of B2 say
        if there.uploaded_ms < record.begun_ms:
            return True
        log.warning("%s was not renamed: %s has been written since", source.path, there.path)
        return False

    async def _end(self, records: Iterable[MoveRecord], restores: Sequence[SealedFile] = ()) -> None:
        try:
            await self._journal.end_moves(records, restores)
        except (B2MountError, OSError) as error:
            log.warning("the journal still lists renames that are done: %s", error)

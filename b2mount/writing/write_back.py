"""WriteBack: brings sealed files into B2: order per name, delay, retry, flush.

Invariants: what `submit` or `checkpoint` has returned for is durable on the local disk; nothing
leaves the queue without a version, unless it was unlinked or a later close of the name is durable;
uploads of one name go in the order of their closes, one at a time; nothing that happens to one
upload stops the others.

Trouble that may pass (B2 out of reach, a full local disk) is tried again with growing pauses for
ever; other errors make an upload `failed`, tried again by `flush`, by a new name or attributes,
and by the next mount.

Must not know: how a file is sent, inodes and handles.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError, CorruptData, Replaced, StoreFailure, Unavailable
from b2mount.model import Attributes, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.writing.journal import Journal
from b2mount.writing.large_file import NotWanted
from b2mount.writing.pending_upload import PendingUpload, pending_upload
from b2mount.writing.pruner import Pruner
from b2mount.writing.recorder import Recorder
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile, Staging
from b2mount.writing.upload_queue import WAITING, Entry, UploadQueue, UploadState, end_of, stand_still
from b2mount.writing.uploader import Uploader

log = logging.getLogger(__name__)

GLANCE: Final = 5.0
"""Seconds between two looks of a closer whose time is up at whether uploads go through at all."""
LONGEST_PAUSE: Final = 300.0
"""Seconds between two tries of the same file; the first pause is one second, then they double."""

Uploaded = Callable[[SealedFile, ObjectVersion | None], None]


@attrs.define(eq=False)
class WriteBack:
    """See the module. Nothing is sent but while `run` runs."""

    _journal: Journal
    _staging: Staging
    _uploader: Uploader
    _delay: float = attrs.field(default=0.0, kw_only=True)
    """Seconds without a further change before a file is sent."""
    _parallel: int = attrs.field(default=32, kw_only=True)
    """Files sent at once."""
    _retry_for: float = attrs.field(default=60.0, kw_only=True)
    """Seconds that `settle` is patient with trouble that may pass."""
    pruner: Pruner | None = attrs.field(default=None, kw_only=True)
    """Who removes what was superseded (--keep-versions); None where all versions stay."""
    _uploaded: Uploaded = attrs.field(default=lambda sealed, version: None, kw_only=True)
    _queue: UploadQueue = attrs.field(factory=UploadQueue, init=False)
    _recorder: Recorder = attrs.field(init=False)
    _running: int = attrs.field(default=0, init=False)
    _runs: bool = attrs.field(default=False, init=False)

    @_recorder.default
    def _make_recorder(self) -> Recorder:
        return Recorder(self._journal, self._staging, self._queue, self._delay)

    def on_uploaded(self, uploaded: Uploaded) -> None:
        """Call this whenever B2 has a file, before anything of it is deleted here; with None for a change of
        attributes that has given way to what others have made of the name."""
        self._uploaded = uploaded

    def bases(self, but_for: ObjectPath | None = None) -> Iterator[ObjectVersion | None]:
        """The versions that files which B2 does not have yet were made from; but for those of a name."""
        files = (entry.sealed for entry in self._queue.entries.values() if entry.path != but_for)
        return (sealed.base_version for sealed in files if sealed.fate.version is None)

    # -- in --------------------------------------------------------------------------------

    async def checkpoint(self, sealed: SealedFile) -> None:
        """fsync: durable on the local disk when this returns; not sent. Raises OSError, StoreFailure."""
        with trio.CancelScope(shield=True):
            await self._recorder.record(sealed, UploadState.EDITING)

    async def submit(self, sealed: SealedFile, *, gathers: bool = False, under: str | None = None) -> None:
        """close: durable on the local disk and queued when this returns. With `gathers` only attributes
        have changed: it waits for more of that kind until somebody waits for it. `under` as in Recorder.
        Raises OSError, StoreFailure; then nothing has changed here, and it may be edited further."""
        with trio.CancelScope(shield=True):
            await self._recorder.record(sealed, UploadState.QUEUED, gathers=gathers, under=under)

    def gathers(self, staging_id: str) -> bool:
        """Whether it is on its way for its attributes only, and waits for more of that kind."""
        entry = self._queue.entries.get(staging_id)
        return entry is not None and entry.gathers_until is not None

    def wrote(self, staged: StagedFile, path: ObjectPath, metadata: Callable[[], ObjectMetadata]) -> None:
        """It was written to: what there is of a big file goes ahead. `metadata` tells what it would go
        up with now."""
        self._uploader.wrote(staged, path, metadata)

    def discarded(self, staging_id: str) -> None:
        """Nobody wants the generation, which never was in the queue: nothing of it stays in B2."""
        self._queue.abandoned.append(staging_id)
        self._queue.wake()

    def withdraw(self, staging_id: str) -> bool:
        """Take a generation back for further editing. False when its upload has begun, when a close
        waits for it, or when it is not here. Its record stays until the next submit or forget."""
        return self._queue.withdraw(staging_id)

    def send_after_all(self, staging_id: str) -> None:
        """Nothing has come of the editing: what was withdrawn is sent, as it is recorded."""
        self._queue.send_after_all(staging_id)

    async def rename(self, staging_id: str, path: ObjectPath, restores: Sequence[SealedFile] = ()) -> bool:
        """Send it, and earlier generations that wait, under another name. True also when nothing of it is
        recorded, or it has that name. False when its upload has begun: settle it, then move the object.
        Waits out the upload of an earlier generation, which comes in under the old name. `restores` as in
        Recorder. Raises OSError, StoreFailure."""
        entry = self._queue.entries.get(staging_id)
        if entry is None or entry.path == path:
            return True
        with self.holding(entry.path):  # it is not to begin as soon as the one below has ended
            await end_of(self._queue.older(entry))
            return await self._amend(staging_id, lambda sealed: attrs.evolve(sealed, path=path), restores)

    def recorded(self, staging_id: str) -> SealedFile | None:
        """What the next mount would send of a generation, were this one to die now."""
        return entry.sealed if (entry := self._queue.entries.get(staging_id)) else None

    async def wait_out(self, staging_id: str) -> None:
        """No upload of it, or of an earlier one of its name, is under way then; inside `holding` for good."""
        if (entry := self._queue.entries.get(staging_id)) is not None:
            await end_of([entry, *self._queue.older(entry)])

    def leave(self, staging_id: str) -> SealedFile | None:
        """Nobody edits a recorded generation any more: its file was cut to nothing. It is what a crash leaves
        until something later of the name is recorded. None when nothing of it is recorded."""
        entry = self._queue.entries.get(staging_id)
        if entry is None or entry.state is not UploadState.EDITING:
            return None
        entry.left = True
        return entry.sealed

    def may_have_arrived(self, staging_id: str) -> bool:
        """Whether B2 may hold bytes of it, of an earlier generation, or of what it took the place of: a reply
        may have been lost."""
        entry = self._queue.entries.get(staging_id)
        return entry is not None and any(each.begun for each in (entry, *self._queue.older(entry)))

    def being_sent(self, path: ObjectPath) -> SealedFile | None:
        """What of a name is on its way to B2 in this moment."""
        return self._queue.being_sent(path)

    async def amend(self, staging_id: str, metadata: ObjectMetadata, attributes: Attributes) -> bool:
        """Send it with other metadata. False when its upload has begun or it is not here.
        Raises OSError, StoreFailure."""

        def changed(sealed: SealedFile) -> SealedFile:
            return attrs.evolve(sealed, metadata=metadata, attributes=attributes)

        return staging_id in self._queue.entries and await self._amend(staging_id, changed)

    async def stop(self, *staging_ids: str) -> None:
        """None of these, nor of earlier generations of them, is under way to B2 when this returns: an upload
        that had begun has ended (in parts: those under way). Inside `holding` for good."""
        entries = self._queue.not_wanted(staging_ids)
        try:
            await stand_still(entries)
        finally:
            self._queue.want_again(entries)

    async def forget(self, *staging_ids: str) -> ObjectVersion | None:
        """The file was unlinked: never send these, nor earlier generations of it. Waits as `stop` does, and
        returns the version of one that did arrive. All records go at one moment (later, if the journal
        fails): else a crash would leave older bytes. Local files go, unless the generation is withdrawn or
        was only fsynced: then whoever edits it discards it."""
        entries = self._queue.not_wanted(staging_ids)
        try:
            await stand_still(entries)
        except BaseException:
            self._queue.want_again(entries)
            raise
        with trio.CancelScope(shield=True):
            await self._recorder.drop_unlinked([e for e in entries if e.state is not UploadState.DONE])
        return next((entry.version for entry in entries if entry.version is not None), None)

    # -- waiting ---------------------------------------------------------------------------

    async def settle(self, staging_id: str) -> ObjectVersion | None:
        """Wait until B2 has it, or a later close of its name. None when it was forgotten, is not here (any
        more), or gave way to a rename of what is still written to. Raises the error of the upload: at once
        one that will not pass, after `retry_for` one that may; the bytes stay staged."""
        entry = self._queue.entries.get(staging_id)
        return None if entry is None else await self._settle(entry, trio.current_time() + self._retry_for)

    async def flush(self, path: ObjectPath | None = None) -> None:
        """Send everything (or what is at or below `path`) now, failed ones again. Returns when B2
        has it all; raises the first error after trying all. None of it is withdrawn meanwhile."""
        with trio.CancelScope(shield=True):
            await self._recorder.pay()
        chosen = [
            entry
            for entry in self._queue.entries.values()
            if entry.state is not UploadState.EDITING
            and (path is None or entry.path == path or path.holds(entry.path))
        ]
        token = object()
        for entry in chosen:
            entry.waiters |= {token}
            if entry.state in WAITING:
                entry.error = None
                entry.change(UploadState.QUEUED)
                self._queue.schedule(entry, trio.current_time())
        deadline = trio.current_time() + self._retry_for
        first: Exception | None = None
        try:
            for entry in chosen:
                try:
                    await self._settle(entry, deadline)
                except (B2MountError, OSError) as error:
                    first = first or error
        finally:
            for entry in chosen:
                entry.leave(token)
        if first is not None:
            raise first

    def pending(self) -> list[PendingUpload]:
        """What B2 does not have yet of all that was closed."""
        entries = self._queue.entries.values()
        return [pending_upload(entry) for entry in entries if entry.state is not UploadState.EDITING]

    def pending_upload(self, staging_id: str) -> PendingUpload | None:
        """One of them; None when B2 has it, or when it is being edited."""
        entry = self._queue.entries.get(staging_id)
        return None if entry is None or entry.state is UploadState.EDITING else pending_upload(entry)

    @contextmanager
    def holding(self, path: ObjectPath) -> Iterator[None]:
        """Inside, no upload at or below `path` begins: for whoever moves objects there, so that
        an older copy never comes in over a newer upload."""
        self._queue.hold(path)
        try:
            yield
        finally:
            self._queue.release(path)

    async def _amend(
        self,
        staging_id: str,
        changed: Callable[[SealedFile], SealedFile],
        restores: Sequence[SealedFile] = (),
    ) -> bool:
        with trio.CancelScope(shield=True):
            return await self._recorder.amend(staging_id, changed, restores)
        raise AssertionError("a shielded scope ends with its result")

    async def _settle(self, entry: Entry, deadline: float) -> ObjectVersion | None:
        token = object()
        first = entry
        try:
            while True:
                entry = first.followed(entry, token)
                if entry.state is UploadState.DONE or self._queue.is_given_away(entry, first):
                    return entry.version
                if entry.state is UploadState.FAILED and entry.error is not None:
                    raise entry.error
                now, wake = trio.current_time(), math.inf
                self._queue.hurry(entry)
                if entry.state is UploadState.QUEUED:
                    trouble = entry.error or self._trouble()
                    if now >= deadline and trouble is not None:
                        raise trouble
                    wake = max(deadline, now + GLANCE)
                entry.waiters |= {token}
                with trio.move_on_at(wake):
                    await entry.next_change()
        finally:
            first.leave(token)

    def _trouble(self) -> Exception | None:
        """Why nothing that waits for its turn gets it; None while uploads go through."""
        if not self._runs:
            return Unavailable("renames of an earlier mount come first, and wait for B2")
        errors = (entry.error for entry in self._queue.entries.values())
        return next((error for error in errors if isinstance(error, Unavailable)), None)

    # -- life ------------------------------------------------------------------------------

    async def recover(self) -> list[SealedFile]:
        """Take up what an earlier mount left unsent, and clear the staging directory of the rest.
        Returns what is on its way now, oldest first; what can't be sent shows in `pending`."""
        entries = await self._recorder.replay()
        for staging_id in await self._uploader.recover():
            if staging_id not in self._queue.entries:
                self.discarded(staging_id)
        return [entry.sealed for entry in entries]

    async def run(self) -> None:
        """Send what is due, for the life of the mount."""
        self._runs = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._uploader.run)
            if self.pruner is not None:  # not before `recover`: what is unsent may stand on what is old
                nursery.start_soon(self.pruner.run)
            while True:
                while self._queue.abandoned:
                    nursery.start_soon(self._uploader.abandon, self._queue.abandoned.pop())
                while self._queue.unknown:
                    nursery.start_soon(self._uploader.abandon_unknown, self._queue.unknown.pop())
                while self._running < self._parallel:
                    entry = self._queue.next_ready(trio.current_time())
                    if entry is None:
                        break
                    self._running += 1
                    entry.begun = True
                    entry.change(UploadState.UPLOADING)
                    nursery.start_soon(self._send, entry)
                full = self._running >= self._parallel
                await self._queue.wait(math.inf if full else self._queue.next_due())

    async def _send(self, entry: Entry) -> None:
        try:
            await self._try(entry)
        except Exception:
            log.exception("the upload of %s met something unexpected", entry.path)
            if entry.state is UploadState.UPLOADING:
                entry.error = StoreFailure("something unexpected, see the log")
                entry.change(UploadState.FAILED)
        finally:
            self._running -= 1
            if entry.state is UploadState.UPLOADING:  # cancelled: it is still in the journal
                self._queue.put_back(entry, UploadState.QUEUED)
            self._queue.unblock()

    async def _try(self, entry: Entry) -> None:
        sealed, upload = entry.sealed, self._uploader.upload
        try:
            version = await upload(sealed, entry.has_sent, entry.is_wanted, recovered=entry.recovered)
        except NotWanted:
            self._queue.put_back(entry, UploadState.QUEUED)  # who has said so goes on now
        except (Unavailable, OSError) as error:
            await self._try_later(entry, error)
        except Replaced as error:
            log.warning("%s: the change of attributes that was made here before is dropped", error)
            self._uploaded(sealed, None)
            with trio.CancelScope(shield=True):
                await self._recorder.drop_unlinked([entry])
        except B2MountError as error:
            await self._fail(entry, error)
        else:
            await self._arrived(entry, version)

    async def _arrived(self, entry: Entry, version: ObjectVersion) -> None:
        """From the first line on everybody reads the version, and what stands on it has it as base."""
        entry.sealed.fate.version = version
        try:
            self._uploaded(entry.sealed, version)
        except Exception:
            log.exception("nobody could take note that %s is in B2", entry.path)
        with trio.CancelScope(shield=True):
            await self._recorder.retire(entry, version)

    async def _try_later(self, entry: Entry, error: Unavailable | OSError) -> None:
        reason = None
        if isinstance(error, OSError):
            await self._staging.make_room(error)  # bytes on their way from B2 to B2 go over the disk
            reason = await self._recorder.shortfall(entry.sealed)
        if reason is not None:
            await self._fail(entry, CorruptData(f"{entry.path}: {reason}"))
            return
        pause = min(2.0 ** min(entry.attempts, 16), LONGEST_PAUSE)  # weeks of tries overflow a float
        entry.attempts += 1
        entry.met(error)
        log.warning("%s: %s; trying again in %.0f s", entry.path, error, pause)
        entry.due = trio.current_time() + pause
        self._queue.put_back(entry, UploadState.QUEUED)
        await self._drop_superseded(entry)

    async def _fail(self, entry: Entry, error: B2MountError) -> None:
        entry.met(error)
        log.error("%s stays staged: %s", entry.path, error)
        self._queue.put_back(entry, UploadState.FAILED)
        await self._drop_superseded(entry)

    async def _drop_superseded(self, entry: Entry) -> None:
        with trio.CancelScope(shield=True):
            await self._recorder.drop_superseded(entry.path)

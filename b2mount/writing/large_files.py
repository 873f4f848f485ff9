"""LargeFiles: large files that were started in B2, and the parts that B2 has of them.

A large file belongs to one generation, and is recorded in the journal from its start to its end, so
that an upload which was cut, by B2 being out of reach or by the end of the process, goes on from
the parts that B2 has.

Invariants: a part counts only while its bytes are those of the generation: a write over it makes
it be sent again under its number, and what an earlier process sent counts when its SHA-1 is that
of the local bytes; what B2 was asked to finish is never taken for other bytes; whatever is started
is finished, or cancelled, or recorded for the next mount.

Must not know: plans, the queue, when anything is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from b2mount.errors import (
    AccessDenied,
    Conflict,
    CorruptData,
    NotFound,
    NotPermitted,
    StoreFailure,
    Unavailable,
)
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.interface import MultipartUpload, ObjectStore, PartRecord
from b2mount.threads import ThreadLane
from b2mount.writing.byte_sources import ByteSources, Sha1Of
from b2mount.writing.extents import Source
from b2mount.writing.fingerprint import fingerprint_of
from b2mount.writing.large_file import LargeFile, NotWanted, provisional
from b2mount.writing.object_info import MODIFIED, same_info
from b2mount.writing.upload_log import STREAMED, UNWANTED, UploadLog, UploadRecord
from b2mount.writing.upload_plan import PARALLEL_PARTS, CopyPart, PutPart

log = logging.getLogger(__name__)

ABORT_PATIENCE: Final = 20.0
"""Seconds for cancelling a large file; one that stays is cancelled later, or by the next mount."""
BETWEEN_TRIES: Final = 6 * 3600.0
"""Seconds until what could not be removed is tried again."""

Part = PutPart | CopyPart
Progress = Callable[[int], None]


@attrs.define(eq=False)
class LargeFiles:
    """See the module."""

    _store: ObjectStore
    _sources: ByteSources
    _slots: trio.Semaphore
    _log: UploadLog
    _lane: ThreadLane
    _open: dict[str, LargeFile] = attrs.field(factory=dict, init=False)
    """By staging id."""
    _removed: set[str] = attrs.field(factory=set, init=False)
    """Ids of those that are removed from B2, or will be."""
    _not_removed: list[UploadRecord] = attrs.field(factory=list, init=False)
    _is_left: trio.Event = attrs.field(factory=trio.Event, init=False)
    _may_delete: bool = attrs.field(default=True, init=False)

    def known(self, staging_id: str) -> LargeFile | None:
        """The large file that was started for a generation and is not finished."""
        return self._open.get(staging_id)

    def is_removed(self, version_id: str) -> bool:
        """Whether a version is not there for long, so that nobody may count on it."""
        return version_id in self._removed

    def may_go_on(self, large: LargeFile) -> bool:
        """Whether what is sent now would be encrypted as what it was started with."""
        return large.record.setting == self._store.setting

    @property
    def may_replace(self) -> bool:
        """Whether an object may be put in the place of one that was finished with other attributes,
        without leaving that one to be paid for."""
        return self._may_delete and "deleteFiles" in self._store.account.capabilities

    async def recover(self) -> list[str]:
        """Take up what an earlier process left. Returns the staging ids."""
        for record in await self._log.left():
            is_unwanted = record.layout == UNWANTED
            if is_unwanted:
                self._removed.add(record.upload.upload_id)
            self._open[record.staging_id] = LargeFile(record, is_unchecked=True, is_asked_for=is_unwanted)
        return list(self._open)

    async def run(self) -> None:
        """Remove from B2, every few hours, what could not be removed; as the next mount would."""
        while True:
            await self._is_left.wait()
            await trio.sleep(BETWEEN_TRIES)
            left, self._not_removed, self._is_left = self._not_removed, [], trio.Event()
            for record in left:
                await self.end(LargeFile(record, is_unchecked=True, is_asked_for=record.layout == UNWANTED))

    async def begin(
        self, staging_id: str | None, path: ObjectPath, metadata: ObjectMetadata, layout: str
    ) -> LargeFile:
        """Start one for a generation that is recorded with this metadata; or for none: when that one is
        cut, the next mount cancels it. After Unavailable the generation is `known` to have an intent: B2
        may have started one without our knowing. Raises what the store raises."""
        try:
            upload = await self._store.start_multipart(path, metadata)
        except Unavailable:
            if staging_id is not None:
                intent = UploadRecord(staging_id, MultipartUpload("", path, metadata), layout)
                self._open.setdefault(staging_id, LargeFile(intent))
            raise
        record = UploadRecord(staging_id or upload.upload_id, upload, layout, setting=self._store.setting)
        large = self._open[record.staging_id] = LargeFile(record, is_recorded=False)
        return large

    async def begin_unknown(
        self, staging_id: str, path: ObjectPath, metadata: ObjectMetadata, layout: str
    ) -> LargeFile:
        """Start one for a generation of which there is no record that would lead to it after a crash:
        so the intention is recorded first. Raises what the store raises, OSError."""
        intent = UploadRecord(staging_id, MultipartUpload("", path, metadata), layout)
        self._open[staging_id] = LargeFile(intent)
        await self._log.begin(intent)
        large = await self.begin(staging_id, path, metadata, layout)
        await self._log.begin(large.record, instead_of=intent)
        large.is_recorded = True
        return large

    async def put_on_record(self, large: LargeFile) -> None:
        """Let the next mount know of it, unless it does; beside parts, not before them. Never raises:
        what is not on record is sent anew after a crash."""
        if large.is_recorded:
            return
        large.is_recorded = True
        try:
            await self._log.begin(large.record)
        except (OSError, StoreFailure) as error:
            log.info("%s would be sent anew after a crash: %s", large.upload.path, error)

    async def send(
        self,
        large: LargeFile,
        parts: Sequence[Part],
        base: ObjectVersion | None,
        spool: str,
        progress: Progress,
        contents: str,
    ) -> ObjectVersion:
        """Send the parts that B2 lacks, and finish it as `contents`, which it `may_become`. Raises the
        first error; when B2 was out of reach, the parts under way are waited for. NotWanted when nobody wants
        it any more: B2 was not asked to finish it then."""
        if large.is_unchecked and (done := await self._check(large, parts, contents)) is not None:
            return done
        if large.record.contents != contents:
            large.record = attrs.evolve(large.record, contents=contents)
            large.is_recorded = False
        large.starts = [part.span.start for part in parts]
        missing = [item for item in enumerate(parts, 1) if not _is_there(large, *item)]
        errors: list[Exception] = []
        todo = iter(missing)

        async def send_some() -> None:
            for number, part in todo:
                if large.is_given_up:  # for good, also if it is wanted again while other parts land
                    errors.append(NotWanted(large.upload.path))
                if errors:
                    return
                try:
                    await self.send_part(large, number, part, base, f"{spool}{number}")
                except Exception as error:
                    errors.append(error)
                    if not isinstance(error, Unavailable):  # else the parts under way are worth having
                        nursery.cancel_scope.cancel()
                    return
                progress(large.sent)

        progress(large.sent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.put_on_record, large)
            for _ in range(min(PARALLEL_PARTS, len(missing))):
                nursery.start_soon(send_some)
        if errors:
            raise errors[0]
        if large.is_given_up:
            raise NotWanted(large.upload.path)
        sha1s = [large.records[number].sha1 for number in range(1, len(parts) + 1)]
        return await self._finish(large, sha1s, parts[-1].span.stop)

    async def _finish(self, large: LargeFile, sha1s: Sequence[str], size: int) -> ObjectVersion:
        large.is_asked_for = True
        version = await self._store.finish_multipart(large.upload, sha1s)  # fine when it is finished
        large.is_finished = True
        if version.size != size:
            raise CorruptData(f"{large.upload.path} was finished with other bytes")
        return version

    async def send_part(
        self, large: LargeFile, number: int, part: Part, base: ObjectVersion | None, spool: str
    ) -> None:
        """Send one part. It does not count when it was written to meanwhile."""
        large.stale.discard(number)
        large.flying.add(number)
        try:
            async with large.slots or self._slots:
                if isinstance(part, CopyPart):
                    assert base is not None
                    record = await self._store.copy_part(large.upload, number, base, part.span)
                else:
                    sha1_of = self._asking_b2(large, number, base)
                    async with self._sources.source(part.runs, base, spool, sha1_of) as source:
                        record = await self._store.put_part(large.upload, number, source)
        finally:
            large.flying.discard(number)
        if record.size != part.span.size:
            raise CorruptData(f"part {number} of {large.upload.path} has another size than was sent")
        if number not in large.stale:
            large.records[number] = record

    def _asking_b2(self, large: LargeFile, number: int, base: ObjectVersion | None) -> Sha1Of | None:
        """How to know that base bytes came undamaged where nothing else tells: B2 copies them into the
        place of the part that they will be in, and says their SHA-1."""
        if base is None or not large.is_base_doubted:
            return None

        async def sha1_of(span: ByteRange) -> str:
            return (await self._store.copy_part(large.upload, number, base, span)).sha1

        return sha1_of

    async def end(self, large: LargeFile, version: ObjectVersion | None = None) -> None:
        """Forget it: the generation is in B2 as `version`, or nobody wants it. What else there is of
        it in B2 is removed. Never raises; what could not be removed is left to the next mount."""
        if self._open.get(large.record.staging_id) is large:
            del self._open[large.record.staging_id]
        large.is_asked_for |= version is not None
        is_wanted = version is not None and version.version_id == large.upload.upload_id
        if is_wanted and not large.record.is_of_nobody:
            return  # its record goes with the generation's
        if not is_wanted:
            self._removed.add(large.upload.upload_id)
        with trio.move_on_after(ABORT_PATIENCE, shield=True):
            try:
                if not is_wanted:
                    await self._remove(large)
                await self._log.end(large.record)
                return
            except Exception as error:
                log.info("the unfinished upload of %s stays in B2 for now: %s", large.upload.path, error)
        if not (is_wanted or large.record.is_intent):
            await self._leave(large)

    async def _leave(self, large: LargeFile) -> None:
        """For later, or to the next mount, whatever becomes of the generation."""
        record = attrs.evolve(large.record, staging_id=large.upload.upload_id)
        if large.is_asked_for and not large.record.is_of_nobody:  # a copy may be what a rename goes on with
            record = attrs.evolve(record, layout=UNWANTED)
        large.record, large.is_recorded = record, False
        await self.put_on_record(large)
        self._not_removed.append(record)
        self._is_left.set()

    async def abandon(self, staging_id: str) -> None:
        """Remove from B2 what a stopped upload of this generation left there. Never raises."""
        large = self._open.get(staging_id)
        if large is not None:
            await self.end(large)

    async def abort_stale(self, path: ObjectPath, metadata: ObjectMetadata) -> None:
        """Cancel large files of this name that nobody has on record and an earlier process of ours must
        have started: those that carry the same info, the mtime to the nanosecond included. None when there
        is no mtime, which ours have: of others many may say nothing."""
        if MODIFIED not in metadata.info:
            return
        try:
            stale = await self._store.list_unfinished(path.bucket, path.key)
        except (NotFound, AccessDenied):
            return
        known = {large.upload.upload_id for large in self._open.values()}
        for upload in stale:
            mine = upload.path == path and same_info(upload.metadata.info, metadata.info)
            if mine and upload.upload_id not in known:
                await self.abort(upload)

    async def abort(self, upload: MultipartUpload) -> None:
        """Cancel one. Never raises."""
        with trio.move_on_after(ABORT_PATIENCE, shield=True):
            try:
                await self._store.abort_multipart(upload)
            except Exception as error:
                log.info("the unfinished upload of %s stays in B2 for now: %s", upload.path, error)

    async def _remove(self, large: LargeFile) -> None:
        upload = large.upload
        if large.record.is_intent:
            await self.abort_stale(upload.path, upload.metadata)
        elif not large.is_finished:
            await self._store.abort_multipart(upload)
        may_be_finished = large.is_unchecked and large.record.layout == STREAMED
        if large.is_asked_for or may_be_finished:  # with another name, other attributes or other bytes
            try:
                await self._store.delete_version(provisional(upload))
            except NotFound:
                pass
            except NotPermitted:  # the bucket protects what is new
                self._may_delete = False
                raise

    async def _check(self, large: LargeFile, parts: Sequence[Part], contents: str) -> ObjectVersion | None:
        """Count what B2 has of it, as far as it is what would be sent; the version, when an earlier
        process had finished it. Raises CorruptData when that was of other bytes."""
        try:
            found = await self._store.list_parts(large.upload)
        except (NotFound, Conflict, StoreFailure):
            version = await self._finish(large, [], parts[-1].span.stop)
            if large.record.contents != contents:
                raise CorruptData(f"{large.upload.path} was finished with other bytes") from None
            return version
        large.records.clear()
        for record in found:
            part = parts[record.number - 1] if record.number <= len(parts) else None
            if part is not None and record.size == part.span.size and await self._is_same(record, part):
                large.records[record.number] = record
        large.is_unchecked = False
        log.info("%s goes on from %d of %d parts", large.upload.path, len(large.records), len(parts))
        return None

    async def _is_same(self, record: PartRecord, part: Part) -> bool:
        if isinstance(part, CopyPart):
            return True  # the layout names the base: it is immutable
        if any(run.source is Source.BASE for run in part.runs):
            return False
        local = await fingerprint_of(self._lane, part.runs, part.span.size)
        return local.sha1 == record.sha1


def _is_there(large: LargeFile, number: int, part: Part) -> bool:
    record = large.records.get(number)
    return record is not None and record.size == part.span.size

"""Uploader: carries out one upload plan.

Invariants: memory is bounded whatever the size of the file: staged bytes go from the local file,
base bytes beyond a mebibyte a request go through a spool file; at most `parallel` requests run at
once over all uploads; a reply is checked against what was meant. An upload that stopped because
B2 was out of reach goes on, in this process, from the parts that B2 has; after any other error
nothing is left in B2.

Must not know: the journal, why and when a file is sent.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from b2mount.errors import (
    AccessDenied,
    Conflict,
    CorruptData,
    NotFound,
    StoreFailure,
    Unavailable,
)
from b2mount.model import (
    ByteRange,
    ByteSource,
    FileSlice,
    Literal,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Zeros,
)
from b2mount.store.interface import MultipartUpload, ObjectStore, PartRecord
from b2mount.threads import ThreadLane
from b2mount.writing.extents import Run, Source
from b2mount.writing.fingerprint import Checksums, fill_from_base, fingerprint_of
from b2mount.writing.local_bytes import remove, write_at
from b2mount.writing.object_info import LARGE_FILE_SHA1, fitting, same_info
from b2mount.writing.staged_file import ReadBase, SealedFile
from b2mount.writing.upload_plan import (
    COPY_LIMIT,
    PARALLEL_PARTS,
    CopyPart,
    Parts,
    PutPart,
    WholeCopy,
    WholePut,
    plan_upload,
)

log = logging.getLogger(__name__)

AUTOMATIC: Final = "b2/x-auto"
LITERAL_LIMIT: Final = 1024 * 1024
SUMMED: Final = 4 * 1024 * 1024
"""From here on a reader may get bytes before their SHA-1 can be known, and is glad of checksums."""
SPOOL_STEP: Final = 4 * 1024 * 1024
ABORT_PATIENCE: Final = 20.0
"""Seconds for cancelling a large file; one that stays is cancelled by the next mount."""

Progress = Callable[[int], None]


@attrs.define(eq=False)
class _LargeFile:
    """A large file that was started, and the parts that B2 has of it."""

    upload: MultipartUpload
    parts: Sequence[PutPart | CopyPart]
    base: ObjectVersion | None
    spool: str = ""
    sealed: SealedFile | None = None
    records: dict[int, PartRecord] = attrs.field(factory=dict)

    @property
    def sent(self) -> int:
        """Bytes that B2 has."""
        return sum(record.size for record in self.records.values())


@attrs.define(eq=False)
class Uploader:
    """See the module."""

    _store: ObjectStore
    _read_base: ReadBase
    _lane: ThreadLane
    _checksums: Checksums
    _parallel: int = attrs.field(default=16, kw_only=True)
    _unfinished: dict[str, _LargeFile] = attrs.field(factory=dict, init=False)
    _slots: trio.Semaphore = attrs.field(init=False)

    @_slots.default
    def _make_slots(self) -> trio.Semaphore:
        return trio.Semaphore(self._parallel)

    async def upload(
        self, sealed: SealedFile, progress: Progress, *, recovered: bool = False
    ) -> ObjectVersion:
        """Make `sealed` an object. `progress` gets the bytes that B2 has so far. With `recovered`
        an earlier process may have begun or even done it. Raises what the store raises, CorruptData,
        OSError; NotFound when the version that it stands on is gone and bytes of it are needed."""
        runs = tuple(sealed.runs(ByteRange(0, sealed.size)))
        base = sealed.base_version
        plan = plan_upload(runs, base.size if base else None)
        local = all(run.source is not Source.BASE for run in runs)
        fingerprint = None
        if (recovered and local) or isinstance(plan, Parts) or sealed.size >= SUMMED:
            fingerprint = await fingerprint_of(self._lane, runs, self._checksums.block_size)
        sha1 = fingerprint.sha1 if fingerprint else None
        if recovered and sha1 and (done := await self._recognised(sealed, sha1)):
            return done
        try:
            version = await self._carry_out(sealed, plan, base, sha1, progress, recovered=recovered)
        except NotFound as error:
            if local:
                raise
            raise NotFound(
                f"{sealed.path}: bytes of the version it was made from are needed, and B2 has it no more"
            ) from error
        if version.size != sealed.size or (sha1 and version.sha1 not in (None, sha1)):
            raise CorruptData(f"B2 has other bytes of {sealed.path} than were sent")
        if fingerprint is not None and sealed.size >= SUMMED:
            await self._keep_checksums(version, fingerprint.sums, runs, base)
        return version

    async def abandon(self, staging_id: str) -> None:
        """Cancel in B2 what a stopped upload of this generation left there. Never raises."""
        large = self._unfinished.pop(staging_id, None)
        if large is not None:
            await self._abort(large.upload)

    async def copy(self, version: ObjectVersion, path: ObjectPath) -> ObjectVersion:
        """Copy a version of any size inside B2, with its metadata. Raises what the store raises."""
        copy = await self._copy(version, path)
        if version.size >= SUMMED and (sums := await self._checksums.digests(version.version_id)):
            await self._checksums.keep_digests(copy.version_id, sums)
        return copy

    async def _copy(self, version: ObjectVersion, path: ObjectPath) -> ObjectVersion:
        if version.size < COPY_LIMIT:
            async with self._slots:
                return await self._store.copy(version, path)
        metadata = ObjectMetadata(version.content_type, version.info)
        await self._abort_stale(path, metadata)
        plan = plan_upload([Run(ByteRange(0, version.size), Source.BASE)], version.size)
        assert isinstance(plan, Parts)
        upload = await self._store.start_multipart(path, metadata)
        try:
            return await self._send(_LargeFile(upload, plan.parts, version), lambda sent: None)
        except Exception:
            await self._abort(upload)
            raise

    async def _keep_checksums(
        self, version: ObjectVersion, sums: array[int], runs: Sequence[Run], base: ObjectVersion | None
    ) -> None:
        known = await self._checksums.digests(base.version_id) if base is not None else None
        if base is not None and known is not None:
            fill_from_base(sums, runs, version.size, known, base.size, self._checksums.block_size)
        if any(sums):
            await self._checksums.keep_digests(version.version_id, sums)

    # -- the three ways --------------------------------------------------------------------

    async def _carry_out(
        self,
        sealed: SealedFile,
        plan: WholePut | WholeCopy | Parts,
        base: ObjectVersion | None,
        sha1: str | None,
        progress: Progress,
        *,
        recovered: bool,
    ) -> ObjectVersion:
        large = self._unfinished.get(sealed.staging_id)
        if large is not None and not (
            isinstance(plan, Parts) and large.sealed is sealed and large.parts == plan.parts
        ):
            await self.abandon(sealed.staging_id)  # other bytes, or the same from elsewhere
        if isinstance(plan, Parts):
            sha1 = sha1 or _sha1_of_unchanged(plan, sealed, base)
            metadata = fitting(sealed.path, sealed.metadata, sha1)
            if recovered and sealed.staging_id not in self._unfinished:
                await self._abort_stale(sealed.path, metadata)
            return await self._upload_parts(sealed, metadata, plan, base, progress)
        async with self._slots:
            if isinstance(plan, WholeCopy) and base is not None:
                return await self._store.copy(base, sealed.path, _for_copy(sealed, base))
            assert isinstance(plan, WholePut)
            async with self._source(plan.runs, base, f"{sealed.local_path}.spool") as source:
                return await self._store.put(sealed.path, source, fitting(sealed.path, sealed.metadata))

    async def _upload_parts(
        self,
        sealed: SealedFile,
        metadata: ObjectMetadata,
        plan: Parts,
        base: ObjectVersion | None,
        progress: Progress,
    ) -> ObjectVersion:
        large = self._unfinished.get(sealed.staging_id)
        going_on = large is not None
        if large is None:
            upload = await self._store.start_multipart(sealed.path, metadata)
            large = _LargeFile(upload, plan.parts, base, f"{sealed.local_path}.spool", sealed)
            self._unfinished[sealed.staging_id] = large
        try:
            version = await self._send(large, progress)
        except (Unavailable, OSError):
            raise
        except Exception as error:
            await self.abandon(sealed.staging_id)
            if going_on and isinstance(error, NotFound | Conflict | StoreFailure):
                # the large file may be gone, or finished when the reply was lost: once more, anew
                return await self._upload_parts(sealed, metadata, plan, base, progress)
            raise
        self._unfinished.pop(sealed.staging_id, None)
        return version

    async def _send(self, large: _LargeFile, progress: Progress) -> ObjectVersion:
        todo = iter([item for item in enumerate(large.parts, 1) if item[0] not in large.records])
        errors: list[Exception] = []

        async def send_some() -> None:
            for number, part in todo:
                if errors:
                    return
                try:
                    large.records[number] = await self._send_part(large, number, part)
                except Exception as error:
                    errors.append(error)
                    if not isinstance(error, Unavailable):  # else the parts under way are worth having
                        nursery.cancel_scope.cancel()
                    return
                progress(large.sent)

        async with trio.open_nursery() as nursery:
            for _ in range(PARALLEL_PARTS):
                nursery.start_soon(send_some)
        if errors:
            raise errors[0]
        sha1s = [large.records[number].sha1 for number in range(1, len(large.parts) + 1)]
        return await self._store.finish_multipart(large.upload, sha1s)

    async def _send_part(self, large: _LargeFile, number: int, part: PutPart | CopyPart) -> PartRecord:
        async with self._slots:
            if isinstance(part, CopyPart):
                assert large.base is not None
                record = await self._store.copy_part(large.upload, number, large.base, part.span)
            else:
                async with self._source(part.runs, large.base, f"{large.spool}{number}") as source:
                    record = await self._store.put_part(large.upload, number, source)
        if record.size != part.span.size:
            raise CorruptData(f"part {number} of {large.upload.path} has another size than was sent")
        return record

    # -- bytes -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _source(
        self, runs: Sequence[Run], base: ObjectVersion | None, spool: str
    ) -> AsyncIterator[ByteSource]:
        """The bytes of `runs`; base bytes are fetched first, into memory or into the file `spool`."""
        spooled = sum(run.span.size for run in runs if run.source is Source.BASE) > LITERAL_LIMIT
        pieces: list[FileSlice | Zeros | Literal] = []
        position = 0
        try:
            for run in runs:
                if run.source is Source.STAGED:
                    pieces.append(FileSlice(run.file, run.span.start, run.span.size))
                elif run.source is Source.HOLE or base is None:
                    pieces.append(Zeros(run.span.size))
                elif not spooled:
                    pieces.append(Literal(await self._base_bytes(base, run.span)))
                else:
                    await self._spool(base, run.span, spool, position)
                    pieces.append(FileSlice(spool, position, run.span.size))
                    position += run.span.size
            yield ByteSource(tuple(pieces))
        finally:
            if spooled:
                with trio.CancelScope(shield=True):
                    await self._lane.run_uncancelled(remove, spool)

    async def _spool(self, base: ObjectVersion, span: ByteRange, spool: str, position: int) -> None:
        for start in range(span.start, span.stop, SPOOL_STEP):
            step = ByteRange(start, min(start + SPOOL_STEP, span.stop))
            data = await self._base_bytes(base, step)
            await self._lane.run_uncancelled(write_at, spool, position + start - span.start, data)

    async def _base_bytes(self, base: ObjectVersion, span: ByteRange) -> bytes:
        data = await self._read_base(base, span)
        if len(data) != span.size:
            raise CorruptData(f"{base.path}: {len(data)} bytes came where {span.size} were asked for")
        return data

    # -- what an earlier process left ------------------------------------------------------

    async def _recognised(self, sealed: SealedFile, sha1: str) -> ObjectVersion | None:
        """The newest version of the name, when it is this very generation."""
        try:
            newest = await self._store.stat(sealed.path)
        except (NotFound, AccessDenied):
            return None
        same = newest.size == sealed.size and newest.sha1 == sha1
        metadata = fitting(sealed.path, sealed.metadata)
        return newest if same and same_info(newest.info, metadata.info) else None

    async def _abort_stale(self, path: ObjectPath, metadata: ObjectMetadata) -> None:
        """Cancel large files of this name that an earlier process of ours must have started: those
        that carry the same info, the mtime to the nanosecond included."""
        try:
            stale = await self._store.list_unfinished(path.bucket, path.key)
        except (NotFound, AccessDenied):
            return
        for upload in stale:
            if upload.path == path and same_info(upload.metadata.info, metadata.info):
                await self._abort(upload)

    async def _abort(self, upload: MultipartUpload) -> None:
        with trio.move_on_after(ABORT_PATIENCE, shield=True):
            try:
                await self._store.abort_multipart(upload)
            except Exception as error:
                log.info("the unfinished upload of %s stays in B2 for now: %s", upload.path, error)


def _sha1_of_unchanged(plan: Parts, sealed: SealedFile, base: ObjectVersion | None) -> str | None:
    copied = all(isinstance(part, CopyPart) for part in plan.parts)
    return base.sha1 if copied and base is not None and base.size == sealed.size else None


def _for_copy(sealed: SealedFile, base: ObjectVersion) -> ObjectMetadata:
    """Metadata for a copy of the same bytes: what the base was goes on where nothing was said."""
    metadata = sealed.metadata
    if metadata.content_type == AUTOMATIC:
        metadata = attrs.evolve(metadata, content_type=base.content_type)
    return fitting(sealed.path, metadata, base.sha1 if LARGE_FILE_SHA1 in base.info else None)

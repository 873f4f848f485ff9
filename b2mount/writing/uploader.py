"""Uploader: carries out one upload plan.

Invariants: memory is bounded whatever the size of the file (byte_sources); at most `parallel`
requests run at once over all uploads, and copies for programs that wait have places of their own
(ObjectCopies); a reply is checked against what was meant. An upload that
stopped because B2 was out of reach, or with the process, goes on from the parts that B2 has; after
any other error nothing is left in B2. Bytes that B2 has under another name are copied there (see Twins,
SameBytes).

A large file whose info was given before the last word about the file was said (it was sent while
it was written, or renamed or given other attributes between two tries) becomes an object as it is,
is copied inside B2 to what it has to be, and removed.

Must not know: the queue, why and when a file is sent.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Callable
from typing import Final

import attrs
import trio

from b2mount.errors import (
    AccessDenied,
    B2MountError,
    Conflict,
    CorruptData,
    NotFound,
    StoreFailure,
    Unavailable,
)
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.threads import ThreadLane
from b2mount.writing.byte_sources import ByteSources
from b2mount.writing.extents import Run, Source
from b2mount.writing.fingerprint import UNKNOWN, Checksums, Fingerprint, fill_from_base, fingerprint_of
from b2mount.writing.large_file import LargeFile
from b2mount.writing.large_files import LargeFiles, Progress
from b2mount.writing.object_copies import ObjectCopies
from b2mount.writing.object_info import LARGE_FILE_SHA1, fitting, same_info
from b2mount.writing.precedence import base_of_change, made_before
from b2mount.writing.same_bytes import SameBytes
from b2mount.writing.sealed_file import ReadBase, SealedFile
from b2mount.writing.staged_file import StagedFile
from b2mount.writing.streaming import Streams
from b2mount.writing.twins import Twins
from b2mount.writing.upload_log import STREAMED, UploadLog
from b2mount.writing.upload_plan import (
    COPY_LIMIT,
    CopyPart,
    Parts,
    UploadPlan,
    WholeCopy,
    WholePut,
    may_need_parts,
    plan_streamed,
    plan_upload,
)

log = logging.getLogger(__name__)

AUTOMATIC: Final = "b2/x-auto"
LONGEST_PAUSE: Final = 300.0
"""Seconds between two tries to clear away what an earlier process left."""
SUMMED: Final = 4 * 1024 * 1024
"""From here on a reader may get bytes before their SHA-1 can be known, and is glad of checksums."""


@attrs.frozen
class _Job:
    """What is to become an object."""

    sealed: SealedFile
    runs: tuple[Run, ...]
    plan: UploadPlan
    base: ObjectVersion | None
    fingerprint: Fingerprint | None
    metadata: ObjectMetadata
    progress: Progress
    is_wanted: Callable[[], bool] = lambda: True

    @property
    def staging_id(self) -> str:
        return self.sealed.staging_id

    @property
    def spool(self) -> str:
        return f"{self.sealed.local_path}.spool"

    @property
    def is_local(self) -> bool:
        return all(run.source is not Source.BASE for run in self.runs)


@attrs.define(eq=False)
class Uploader:
    """See the module. Files are sent while they are written only while `run` runs."""

    _store: ObjectStore
    _read_base: ReadBase
    _lane: ThreadLane
    _checksums: Checksums
    _log: UploadLog
    _forget: Callable[[str], object] = attrs.field(default=lambda version_id: None, kw_only=True)
    """Called with the id of a version whose bytes came wrong, before they are fetched again."""
    _is_protected: bool = attrs.field(default=True, kw_only=True)
    """Whether TLS keeps what comes from B2 from being damaged on the way."""
    _parallel: int = attrs.field(default=32, kw_only=True)
    twins: Twins = attrs.field(factory=Twins, kw_only=True)
    """To be told of what is read, too, and of what listings show."""
    on_begin: Callable[[ObjectPath], None] = attrs.field(default=lambda path: None, init=False)
    """Hears of every name before anything is made under it here."""
    _slots: trio.Semaphore = attrs.field(init=False)
    _same_bytes: SameBytes = attrs.field(init=False)
    _sources: ByteSources = attrs.field(init=False)
    _larges: LargeFiles = attrs.field(init=False)
    _streams: Streams = attrs.field(init=False)
    _copies: ObjectCopies = attrs.field(init=False)
    """For who renames or copies: nobody waits behind what is being sent."""
    _redressed: ObjectCopies = attrs.field(init=False)
    """For the last step of an upload."""

    def __attrs_post_init__(self) -> None:
        self._slots = trio.Semaphore(self._parallel)
        self._same_bytes = SameBytes(self._checksums, self._read_base)
        self._sources = ByteSources(self._read_base, self._lane, self._forget)
        self._larges = LargeFiles(self._store, self._sources, self._slots, self._log, self._lane)
        self._streams = Streams(self._larges, self._lane, self._checksums.block_size)
        self._copies = ObjectCopies(self._store, self._larges)
        self._redressed = ObjectCopies(self._store, self._larges, self._slots, self._slots)

    async def run(self) -> None:
        """Send files while they are written, and remember what B2 has, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.twins.run)
            nursery.start_soon(self._streams.run)
            nursery.start_soon(self._larges.run)

    def wrote(self, staged: StagedFile, path: ObjectPath, metadata: Callable[[], ObjectMetadata]) -> None:
        """A file that is being edited was written to; `metadata` tells what it would go up with now."""
        self._streams.wrote(staged, path, metadata)

    async def recover(self) -> list[str]:
        """Take up the large files that an earlier process left; returns the staging ids of what they
        are. Those of what is not wanted any more are to be abandoned."""
        return await self._larges.recover()

    async def upload(
        self,
        sealed: SealedFile,
        progress: Progress,
        is_wanted: Callable[[], bool] = lambda: True,
        *,
        recovered: bool = False,
    ) -> ObjectVersion:
        """Make `sealed` an object. `progress` gets the bytes that B2 has so far. With `recovered`
        an earlier process may have begun or even done it. Raises what the store raises, CorruptData,
        OSError; NotFound when the version that it stands on is gone and bytes of it are needed; Replaced;
        NotWanted when it `is_wanted` no more and is sent in parts: nothing of it is in B2 then."""
        self.on_begin(sealed.path)
        await self._streams.stop(sealed.staging_id)
        job = attrs.evolve(await self._job(sealed, progress, recovered=recovered), is_wanted=is_wanted)
        sha1 = job.fingerprint.sha1 if job.fingerprint else None
        if (base := base_of_change(sealed)) is not None:
            version = await made_before(self._store, sealed, base, _for_copy(sealed, base))
        else:
            version = await self._there_already(job, sha1, recovered=recovered) if sha1 else None
        if version is None:
            version = await self._carried_out(job, recovered=recovered)
        if version.size != sealed.size or (sha1 and version.sha1 not in (None, sha1)):
            raise CorruptData(f"B2 has other bytes of {sealed.path} than were sent")
        progress(sealed.size)
        if job.fingerprint is not None and sealed.size >= SUMMED:
            await self._keep_checksums(version, job)
            self.twins.note(version)
        large = self._larges.known(sealed.staging_id)
        if large is not None:
            sealed.fate.sent = large  # its record goes with the generation's
            await self._larges.end(large, version)
        return version

    async def abandon(self, staging_id: str) -> None:
        """Remove from B2 what a stopped upload of this generation left there. Never raises."""
        await self._streams.stop(staging_id, at_once=True)
        await self._larges.abandon(staging_id)

    async def abandon_unknown(self, sealed: SealedFile) -> None:
        """Remove from B2 what an earlier process may have started for a generation and had no time to
        put on record. Never raises."""
        pause = 1.0
        while may_need_parts(sealed.size):
            try:
                await self._larges.abort_stale(sealed.path, sealed.metadata)
            except Unavailable:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except B2MountError as error:
                log.info("an unfinished upload of %s may stay in B2: %s", sealed.path, error)
            return

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        """Copy a version of any size inside B2, with its metadata or with `metadata`. Raises what
        the store raises."""
        self.on_begin(path)
        copy = await self._copies.copy(version, path, metadata)
        if version.size >= SUMMED and (sums := await self._checksums.digests(version.version_id)):
            await self._checksums.keep_digests(copy.version_id, sums)
        return copy

    # -- what to do ------------------------------------------------------------------------

    async def _job(self, sealed: SealedFile, progress: Progress, *, recovered: bool) -> _Job:
        runs = tuple(sealed.runs(ByteRange(0, sealed.size)))
        base = sealed.base_version
        large = self._larges.known(sealed.staging_id)
        plan: UploadPlan | None = None
        if large is not None and large.record.layout == STREAMED:
            plan = plan_streamed(runs)
        if plan is None:
            plan = plan_upload(runs, base.size if base else None)
        local = all(run.source is not Source.BASE for run in runs)
        fingerprint = None
        if (recovered and local) or isinstance(plan, Parts) or sealed.size >= SUMMED:
            begun = large.fingerprint if large is not None else None
            fingerprint = await fingerprint_of(self._lane, runs, self._checksums.block_size, begun)
        sha1 = (fingerprint.sha1 if fingerprint else None) or _sha1_of_unchanged(plan, sealed, base)
        metadata = fitting(sealed.path, sealed.metadata, sha1 if isinstance(plan, Parts) else None)
        return _Job(sealed, runs, plan, base, fingerprint, metadata, progress)

    async def _recognised(self, job: _Job, sha1: str) -> ObjectVersion | None:
        """The newest version of the name, when it is this very generation."""
        try:
            newest = await self._store.stat(job.sealed.path)
        except (NotFound, AccessDenied):
            return None
        same = newest.size == job.sealed.size and newest.sha1 == sha1
        if not same or self._larges.is_removed(newest.version_id):
            return None
        return newest if same_info(newest.info, job.metadata.info) else None

    async def _there_already(self, job: _Job, sha1: str, *, recovered: bool) -> ObjectVersion | None:
        """What need not be sent: B2 has it, or has the same bytes under another name."""
        if recovered:
            return await self._recognised(job, sha1)
        twin = await self.twins.of(sha1, job.sealed.size)
        if twin is None or twin.size >= COPY_LIMIT or self._larges.known(job.staging_id) is not None:
            return None
        return await self._copied(job, twin) if await self._is_twin(job, twin) else None

    async def _is_twin(self, job: _Job, twin: ObjectVersion) -> bool:
        if job.metadata.content_type == AUTOMATIC and _ending(twin.path) != _ending(job.sealed.path):
            return False  # a copy would not get the type that its name stands for
        return job.fingerprint is not None and await self._same_bytes.are_in(twin, job.fingerprint)

    async def _copied(self, job: _Job, twin: ObjectVersion) -> ObjectVersion | None:
        try:
            async with self._slots:
                return await self._store.copy(twin, job.sealed.path, _for_copy(job.sealed, twin))
        except Unavailable:
            raise
        except B2MountError as error:
            log.debug("%s is sent, for %s can't be copied: %s", job.sealed.path, twin.path, error)
            await self.twins.forget(twin)
            return None

    async def _is_covered(self, version: ObjectVersion) -> bool:
        """Whether its name shows something else, or nothing. A large file is as old as its start: what came
        to the name since, and be it a rename that hid it and then failed, stands above it."""
        try:
            return (await self._store.stat(version.path)).version_id != version.version_id
        except NotFound:
            return True
        except AccessDenied:
            return False

    async def _is_known(self, version: ObjectVersion | None) -> bool:
        """Whether every block of it is compared with a checksum when it comes."""
        sums = await self._checksums.digests(version.version_id) if version is not None else None
        return sums is not None and UNKNOWN not in sums

    async def _keep_checksums(self, version: ObjectVersion, job: _Job) -> None:
        assert job.fingerprint is not None
        sums: array[int] = job.fingerprint.sums
        base = job.base
        known = await self._checksums.digests(base.version_id) if base is not None else None
        if base is not None and known is not None:
            fill_from_base(sums, job.runs, version.size, known, base.size, self._checksums.block_size)
        if any(sums):
            await self._checksums.keep_digests(version.version_id, sums)

    # -- the three ways --------------------------------------------------------------------

    async def _carried_out(self, job: _Job, *, recovered: bool) -> ObjectVersion:
        sealed = job.sealed
        try:
            if isinstance(job.plan, Parts):
                return await self._in_parts(job, job.plan, recovered=recovered)
            await self._larges.abandon(job.staging_id)  # of when it was longer, or had other bytes
            async with self._slots:
                if isinstance(job.plan, WholeCopy) and job.base is not None:
                    return await self._store.copy(job.base, sealed.path, _for_copy(sealed, job.base))
                assert isinstance(job.plan, WholePut)
                async with self._sources.source(job.plan.runs, job.base, job.spool) as source:
                    return await self._store.put(sealed.path, source, job.metadata)
        except NotFound as error:
            if job.is_local:
                raise
            raise NotFound(
                f"{sealed.path}: bytes of the version it was made from are needed, and B2 has it no more"
            ) from error

    async def _in_parts(self, job: _Job, plan: Parts, *, recovered: bool) -> ObjectVersion:
        large = self._larges.known(job.staging_id)
        if large is not None and large.record.is_intent:
            await self._larges.abandon(job.staging_id)
            large = None
        layout = STREAMED if large and large.record.layout == STREAMED else _layout_of(plan, job.base)
        assert job.fingerprint is not None
        contents = job.fingerprint.contents
        fits = (
            large is not None
            and large.record.layout == layout
            and large.may_become(contents)
            and self._larges.may_go_on(large)
        )
        if large is not None and not (fits and (self._larges.may_replace or _is_dressed(large, job))):
            await self._larges.abandon(job.staging_id)  # other bytes, or the same from elsewhere
            large, layout = None, _layout_of(plan, job.base)
        going_on = large is not None
        if large is None:
            if recovered:
                await self._larges.abort_stale(job.sealed.path, job.metadata)
            large = await self._larges.begin(job.staging_id, job.sealed.path, job.metadata, layout)
        job.sealed.fate.sent = large
        large.is_wanted = job.is_wanted
        large.is_base_doubted = not (self._is_protected or job.is_local) and not await self._is_known(
            job.base
        )
        try:
            version = await self._larges.send(large, plan.parts, job.base, job.spool, job.progress, contents)
            if _is_dressed(large, job) and not (going_on and await self._is_covered(version)):
                return version
            metadata = job.metadata
            if metadata.content_type == AUTOMATIC and large.upload.path == job.sealed.path:
                metadata = attrs.evolve(metadata, content_type=large.upload.metadata.content_type)
            return await self._redressed.copy(version, job.sealed.path, metadata)
        except (Unavailable, OSError):
            raise
        except Exception as error:
            await self._larges.abandon(job.staging_id)
            if going_on and isinstance(error, NotFound | Conflict | CorruptData | StoreFailure):
                # what B2 has of it may be gone, or something else than we think: once more, anew
                return await self._in_parts(job, plan, recovered=recovered)
            raise


def _layout_of(plan: Parts, base: ObjectVersion | None) -> str:
    """Equal for plans with the same parts of the same base."""
    parts = (f"{isinstance(part, CopyPart)} {part.span.start} {part.span.stop}" for part in plan.parts)
    text = "\n".join([base.version_id if base else "", *parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _is_dressed(large: LargeFile, job: _Job) -> bool:
    """Whether what was said at its start is what is to be said now. Of what was sent ahead nobody asks:
    were it now so and now so, a later process could not know whether it may remove it."""
    if large.record.layout == STREAMED:
        return False
    said = large.upload.metadata
    meant = job.metadata
    same_type = meant.content_type in (said.content_type, AUTOMATIC)
    return large.upload.path == job.sealed.path and same_type and dict(said.info) == dict(meant.info)


def _sha1_of_unchanged(plan: UploadPlan, sealed: SealedFile, base: ObjectVersion | None) -> str | None:
    copied = isinstance(plan, Parts) and all(isinstance(part, CopyPart) for part in plan.parts)
    return base.sha1 if copied and base is not None and base.size == sealed.size else None


def _for_copy(sealed: SealedFile, base: ObjectVersion) -> ObjectMetadata:
    """Metadata for a copy of the same bytes: what the base was goes on where nothing was said."""
    metadata = sealed.metadata
    if metadata.content_type == AUTOMATIC:
        metadata = attrs.evolve(metadata, content_type=base.content_type)
    return fitting(sealed.path, metadata, base.sha1 if LARGE_FILE_SHA1 in base.info else None)


def _ending(path: ObjectPath) -> str:
    return path.name.rpartition(".")[2].lower() if "." in path.name else ""

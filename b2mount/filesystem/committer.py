"""Committer: brings what was written from an open file into the journal and into B2.

Invariants: what `commit` or `checkpoint` has returned for is durable on the local disk; an inode
with anything unsent has a FileContent here, and is known to the namespace for as long; nothing
that was unlinked is ever sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress

import attrs

from b2mount.errors import B2MountError
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.status import PendingFile
from b2mount.filesystem.witness import Witness
from b2mount.model import PLACEHOLDER, Attributes, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import StoredInfo, kind_of
from b2mount.store.interface import ObjectStore
from b2mount.writing.flattening import flatten
from b2mount.writing.pending_upload import PendingUpload
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile, Staging
from b2mount.writing.upload_plan import is_streamed
from b2mount.writing.upload_queue import UploadState
from b2mount.writing.write_back import WriteBack

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Committer:
    """The contents of inodes, and their way to B2."""

    _namespace: Namespace
    _staging: Staging
    _write_back: WriteBack
    _gate: PathGate
    _witness: Witness
    _store: ObjectStore
    _waits: bool
    """Whether a commit waits until B2 has the file (no --write-back)."""
    _contents: dict[int, FileContent] = attrs.field(factory=dict)
    _recovered: set[str] = attrs.field(factory=set)
    """Staging ids of what an earlier mount left."""

    def content(self, inode: Inode) -> FileContent:
        """The one FileContent of `inode`; made, and the inode kept known, when there is none."""
        content = self._contents.get(inode.number)
        if content is None:
            content = FileContent(inode, self._staging, self._write_back)
            self._contents[inode.number] = content
            self._namespace.looked_up(inode)
            inode.wake()
        return content

    def known(self, inode: Inode) -> FileContent | None:
        """The FileContent of `inode` when it has one."""
        return self._contents.get(inode.number)

    def is_in_b2(self, inode: Inode) -> bool:
        """Whether B2 has, or may have, something under the name of this file: a version of it, what it took
        the place of, or unsent bytes of it whose upload's reply was lost."""
        if inode.version is not None or inode.covers:
            return True
        content = self.known(inode)
        return content is not None and any(map(self._write_back.may_have_arrived, content.staging_ids))

    def being_sent(self, path: ObjectPath) -> SealedFile | None:
        """What of this name is on its way to B2 in this moment."""
        return self._write_back.being_sent(path)

    def holding(self, path: ObjectPath) -> AbstractContextManager[None]:
        """Inside, nothing begins to be sent to this name."""
        return self._write_back.holding(path)

    def drop_idle(self, content: FileContent) -> None:
        """Forget a content that nobody has open and that B2 has."""
        if content.idle and self.known(content.inode) is content:
            del self._contents[content.inode.number]
            content.inode.rest()
            self._namespace.forget(content.inode.number, 1)

    def under(self, path: ObjectPath) -> Iterator[FileContent]:
        """The contents of what is at or below `path`."""
        for content in list(self._contents.values()):
            own = content.inode.object_path
            if not content.inode.removed and (own == path or path.holds(own)):
                yield content

    async def commit(self, content: FileContent, *, wait: bool = True, keeps_bytes: bool = False) -> None:
        """What a close does: the bytes are durable and queued when this returns; and in B2, unless
        the mount writes back or `wait` is off. With `keeps_bytes` it is only about attributes, and further
        changes go with it. Raises the upload's error; the bytes stay staged."""
        sealed = await self._seal(content, keeps_bytes=keeps_bytes) or content.sealed
        if sealed is not None and wait and self._waits:
            await self._write_back.settle(sealed.staging_id)

    def wrote(self, content: FileContent) -> None:
        """Bytes were written to it."""
        inode = content.inode
        if content.staged is not None and is_streamed(content.staged.size) and not inode.removed:
            self._write_back.wrote(content.staged, inode.path, lambda: _metadata(inode))

    async def checkpoint(self, content: FileContent) -> None:
        """What fsync does: durable on the local disk, not on its way yet."""
        inode = content.inode
        async with self._gate.using(lambda: inode.path) as path, content.lock:
            staged = content.staged
            if staged is not None and content.dirty and not inode.removed:
                await self._write_back.checkpoint(staged.seal(path, _metadata(inode), inode.attributes))

    async def truncate(self, content: FileContent, size: int, cut: Callable[[], None]) -> None:
        """Cut or lengthen it, and say `cut`. No record of it is longer than that when this returns: what
        is written behind the cut from now on would be seen, after a crash, in the midst of what was cut
        off. Raises OSError, StoreFailure; then it is as long as before."""
        inode = content.inode
        if not (size and content.is_recorded_beyond(size)):
            await content.truncate(size)
            cut()
            return
        async with self._gate.using(lambda: inode.path) as path, content.lock:
            closed, staged = content.sealed, content.edit()
            if content.is_recorded_beyond(size) and not inode.removed:
                try:
                    await self._record_cut(staged, size, path, inode)
                except BaseException:
                    content.send_after_all(closed)
                    raise
            content.cut(size)
            cut()

    async def _record_cut(self, staged: StagedFile, size: int, path: ObjectPath, inode: Inode) -> None:
        now = time.time_ns()
        attributes = attrs.evolve(inode.attributes, size=size, modified_ns=now, changed_ns=now)
        sealed = staged.seal(path, _stored_as(attributes, inode), attributes)
        await self._write_back.checkpoint(attrs.evolve(sealed, extents=sealed.extents.cut(size)))

    @asynccontextmanager
    async def all_sent(self, paths: Sequence[ObjectPath]) -> AsyncIterator[None]:
        """For who holds the gate of these paths: inside, B2 has what was written at and below them, and
        writes wait. Raises the first upload's error."""
        async with AsyncExitStack() as stack:
            contents = [content for path in paths for content in self.under(path)]
            for content in contents:
                await stack.enter_async_context(content.lock)
            for content in contents:
                await self._seal_locked(content, content.inode.object_path)
            for path in paths:
                await self._write_back.flush(path)
            yield

    async def _seal(self, content: FileContent, *, keeps_bytes: bool = False) -> SealedFile | None:
        inode = content.inode
        async with self._gate.using(lambda: inode.object_path) as path, content.lock:
            return await self._seal_locked(content, path, keeps_bytes=keeps_bytes)

    async def _seal_locked(
        self, content: FileContent, path: ObjectPath, *, keeps_bytes: bool = False
    ) -> SealedFile | None:
        inode, staged = content.inode, content.staged
        if staged is None or not content.dirty or inode.removed:
            return None
        before = content.sealed
        await flatten(staged, self._staging)
        if inode.removed:  # meanwhile
            return None
        sealed = staged.seal(path, _metadata(inode), inode.attributes)
        sealed = attrs.evolve(sealed, keeps_bytes=keeps_bytes)
        content.staged, content.sealed, content.dirty = None, sealed, False
        sealed.fate.owner = content
        try:
            await self._write_back.submit(sealed, gathers=keeps_bytes)
        except BaseException:
            content.staged, content.sealed, content.dirty = staged, before, True
            raise
        await self._staging.delete(staged.recorded())
        return sealed

    async def change_attributes(self, content: FileContent, *, wait: bool) -> None:
        """Bring changed attributes of `content`'s inode to B2: with the bytes that are on their way
        anyway, else as a copy inside B2. Durable on the local disk when this returns, unless bytes are of
        which nothing is, and with `wait` in B2; without, whatever else a program changes in the next
        moments goes with it."""
        inode = content.inode
        if content.dirty and inode.kind is Kind.FILE:  # they go up with the bytes, at the close
            await self._record_attributes(content)
            return
        sealed = content.sealed
        if sealed is not None and await self._write_back.amend(
            sealed.staging_id, _metadata(inode), inode.attributes
        ):
            if wait and self._waits:
                await self._write_back.settle(sealed.staging_id)
            return
        content.edit()
        await self.commit(content, wait=wait, keeps_bytes=True)

    async def _record_attributes(self, content: FileContent) -> None:
        """Of a file that is being edited: with the bytes that were durable last, if any were."""
        recorded = self._write_back.recorded(content.staged.staging_id) if content.staged else None
        if recorded is not None:
            attributes = attrs.evolve(content.inode.attributes, size=recorded.size)
            metadata = _stored_as(attributes, content.inode)
            await self._write_back.amend(recorded.staging_id, metadata, attributes)

    def gathers(self, content: FileContent) -> bool:
        """Whether changed attributes of it wait for more of that kind."""
        return content.sealed is not None and self._write_back.gathers(content.sealed.staging_id)

    async def send(self, content: FileContent) -> None:
        """All that was written is in B2 when this returns, also when the mount writes back. Raises the
        upload's error; the bytes stay staged."""
        await self._seal(content)
        if content.sealed is not None:
            await self._write_back.flush(content.inode.object_path)

    async def arrive(self, content: FileContent) -> None:
        """Wait until what is on its way is in B2, unless the mount writes back; trouble shows in `status`,
        as nobody can be told of it any more."""
        if content.sealed is not None and self._waits:
            with suppress(B2MountError, OSError):
                await self._write_back.settle(content.sealed.staging_id)

    def uploaded(self, sealed: SealedFile, version: ObjectVersion | None) -> None:
        """B2 has it: what is read from now on is the new version. None: the name is others' now."""
        if version is None:
            self._gave_way(sealed)
            return
        if sealed.staging_id not in self._recovered:  # else it may be a version that was there already
            self.made(version)
        content, sealed.fate.owner = sealed.fate.owner, None
        if not isinstance(content, FileContent):
            return
        if content.sealed is not None and content.sealed.staging_id == sealed.staging_id:
            content.sealed = None
        inode = content.inode
        self._witness.uploaded(sealed, inode.version, version)
        if inode.removed or inode.object_path != version.path:
            self._namespace.changing(version.path)
            inode.version = version
        elif content.staged is not None or content.sealed is not None:
            self._namespace.rebased(version.path, version)
        else:
            self._namespace.adopted(version.path, version)
        self.drop_idle(content)

    def _gave_way(self, sealed: SealedFile) -> None:
        content, sealed.fate.owner = sealed.fate.owner, None
        if not isinstance(content, FileContent):
            return
        if content.sealed is not None and content.sealed.staging_id == sealed.staging_id:
            content.sealed = None
        if content.staged is None and content.sealed is None and not content.inode.removed:
            self._namespace.replaced(content.inode)
        self.drop_idle(content)

    def made(self, version: ObjectVersion) -> None:
        """B2 has confirmed a version that this mount has made."""
        if self._write_back.pruner is not None:
            is_cut = not version.size and kind_of(version) is Kind.FILE and version.path.name != PLACEHOLDER
            self._write_back.pruner.made(version, counts=not is_cut)

    def in_use(self) -> Iterator[ObjectVersion | None]:
        """What open files show, what is being read, and what unsent bytes stand on."""
        for content in self._contents.values():
            yield from (content.inode.version, _bottom(content.staged), _bottom(content.sealed))
            yield from content.reading
        yield from self._write_back.bases()

    def needed_by_others(self, inode: Inode) -> Set[str]:
        """The ids of the versions that unsent bytes of other files than this stand on: of one that had its
        name before, say."""
        others = (content for content in self._contents.values() if content.inode is not inode)
        layers = (layer for content in others for layer in (content.staged, content.sealed))
        bottoms = (*map(_bottom, layers), *self._write_back.bases(but_for=inode.path))
        return {version.version_id for version in bottoms if version is not None}

    def arrived(self, version: ObjectVersion) -> None:
        """B2 has moved an object here, at the name that it has now in the namespace."""
        self.made(version)
        for content in self.under(version.path):
            if content.staged or content.sealed:
                self._namespace.rebased(version.path, version)
                return
        self._namespace.adopted(version.path, version)

    async def withdraw_for_good(self, content: FileContent) -> None:
        """Its name is gone: nothing of it may be sent any more. Bytes that open handles can still
        see stay readable; an upload that has begun is waited out."""
        if content.sealed is not None and (content.readers or content.writers):
            content.edit()  # takes the sealed layer back, so that open handles keep its bytes
            content.dirty = False
        await content.forget()
        if not (content.readers or content.writers):
            self.discard(content)
        elif content.staged is not None:
            self._write_back.discarded(content.staged.staging_id)  # nothing of it goes ahead any more

    def discard(self, content: FileContent) -> None:
        """Nobody can see these bytes any more."""
        if content.staged is not None:
            content.staged.discard()
            self._write_back.discarded(content.staged.staging_id)
            content.staged = None
        content.dirty = False
        self.drop_idle(content)

    async def commit_all(self, path: ObjectPath) -> None:
        """Seal and queue what is dirty at or below `path`, without waiting for uploads. Raises the first
        error after trying all."""
        first: Exception | None = None
        for content in list(self.under(path)):
            try:
                await self.commit(content, wait=False)
            except (B2MountError, OSError) as error:
                log.warning("%s could not be made durable: %s", content.inode.path, error)
                first = first or error
        if first is not None:
            raise first

    def pending(self, root: ObjectPath) -> tuple[PendingFile, ...]:
        """What B2 does not have yet, with paths as programs under the mount point write them."""
        queued = [self._pending(upload, root) for upload in self._write_back.pending()]
        staged = [
            PendingFile(content.inode.path.below(root), content.size, 0, "staged", None, since)
            for content in self.under(root)
            if content.dirty and (since := content.inode.attributes.changed_ns / 1e9)
        ]
        return (*queued, *staged)

    def state(self, inode: Inode) -> str:
        """How far its bytes are on their way to B2, in the words of `status`; `clean` when they are there."""
        content = self._contents.get(inode.number)
        if content is not None and content.dirty:
            return "staged"
        if content is not None and content.sealed is not None:
            upload = self._write_back.pending_upload(content.sealed.staging_id)
            if upload is not None:
                return self._pending(upload, inode.path.parent).words
        return "clean"

    def _pending(self, upload: PendingUpload, root: ObjectPath) -> PendingFile:
        sent = upload.sent
        if upload.state is UploadState.UPLOADING:
            sent = min(upload.size, sent + self._store.under_way(upload.path))
        return PendingFile(
            upload.path.of_placeholder.below(root),
            upload.size,
            sent,
            upload.state.value,
            upload.reason,
            upload.since,
        )

    async def recover(self) -> int:
        """Take up what an earlier mount left unsent; returns how many files."""
        found = await self._write_back.recover()
        for sealed in found:
            inode = self._namespace.recovered(
                sealed.path, sealed.attributes, sealed.base_version, sealed.metadata
            )
            if inode is None:
                continue  # outside what this mount shows; it is sent all the same
            content = self.content(inode)
            content.sealed = sealed
            sealed.fate.owner = content
        if self._write_back.pruner is not None:
            self._recovered.update(sealed.staging_id for sealed in found)
        return len(found)


def _bottom(layer: StagedFile | SealedFile | None) -> ObjectVersion | None:
    """The version below a generation, and below all that it stands on."""
    base = layer.base if layer is not None else None
    return base.base_version if isinstance(base, SealedFile) else base


def _metadata(inode: Inode) -> ObjectMetadata:
    return _stored_as(inode.attributes, inode)


def _stored_as(attributes: Attributes, inode: Inode) -> ObjectMetadata:
    return attrs.evolve(inode.metadata, info=StoredInfo(attributes, inode.metadata.info))

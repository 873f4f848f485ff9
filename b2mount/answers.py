"""What a mount answers to who asks by its control socket: its state, and what people want by the names of
files. The other side of `b2mount status`, `flush`, `url`, `versions` and their like.

Must not know: how the questions come.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from b2mount.access import Access
from b2mount.costs import Costs
from b2mount.errors import ReadOnly
from b2mount.filesystem.areas import Areas
from b2mount.filesystem.copying import Copier, Request
from b2mount.filesystem.filesystem import FileSystem
from b2mount.filesystem.restoring import Restorer
from b2mount.filesystem.status import EvictStatus, MountStatus, TroubleStatus, VersionStatus, WarmStatus
from b2mount.model import ObjectVersion
from b2mount.moments import moment_name
from b2mount.namespace.namespace import Namespace
from b2mount.options import MountOptions
from b2mount.reading.block_cache import BlockCache
from b2mount.recent_troubles import RecentTroubles


@attrs.frozen(eq=False)
class Answers:
    """See control.server.Controlled for the promises."""

    _options: MountOptions
    _access: Access
    _filesystem: FileSystem
    _areas: Areas
    _namespace: Namespace
    _cache: BlockCache
    _costs: Costs
    _copier: Copier
    _expire: Callable[[Mapping[int, Sequence[str]]], Awaitable[None]]
    """Has the kernel ask for names again that it knows."""
    _lacking: Callable[[], tuple[str, ...]]
    """The capabilities that the key in use has not."""
    _troubles: RecentTroubles
    _started: float = attrs.field(factory=time.time)

    def status(self) -> MountStatus:
        """The mount at this moment."""
        cache = self._cache.status()
        return MountStatus(
            source=str(self._access.source),
            mountpoint=self._options.mountpoint,
            pid=os.getpid(),
            started=self._started,
            moment=None if self._options.at is None else moment_name(self._options.at),
            read_only=self._access.read_only,
            missing_capabilities=self._lacking(),
            pending=self._filesystem.pending(),
            cache_bytes=cache.bytes,
            cache_capacity=cache.capacity,
            cache_hits=cache.hits,
            cache_misses=cache.misses,
            today=self._costs.today,
            since_mount=self._costs.since_mount,
            free_calls_left=self._costs.free_calls_left,
            budget=self._costs.budget,
            lately=tuple(TroubleStatus(each.when, each.text) for each in self._troubles.latest),
            odd_names=self._namespace.odd_names + self._areas.shadowed,
            open_files=self._areas.open_files,
        )

    async def flush_path(self, path: str | None) -> None:
        """Everything, or what is at `path`, is in B2 when this returns."""
        await self._filesystem.flush_path(path)

    async def url(self, path: str, expires: int | None) -> str:
        """The URL of a file: by its name, or of an old version by its id."""
        return await self._areas.url(path, expires)

    async def warm(self, path: str, tell: Callable[[WarmStatus], None]) -> WarmStatus:
        """Files are in the cache when this returns, but for those that are named."""
        return await self._filesystem.by_path.warm(path, tell)

    async def copy(
        self, source: str, target: str, recursive: bool, into: bool, tell: Callable[[WarmStatus], None]
    ) -> WarmStatus:
        """A file or tree is in two places when this returns, but for the files that are named."""
        self._check_writable()
        try:
            status, told = await self._copier.copy(Request(source, target, recursive, into), tell)
        finally:
            self._areas.bucket_changed()
        await self._expire(told)
        return status

    async def evict(self, path: str) -> EvictStatus:
        """Files are in the cache no more."""
        return await self._filesystem.by_path.evict(path)

    async def refresh(self, path: str | None) -> None:
        """Whoever looks at names from now on is told what B2 has."""
        self._areas.bucket_changed()
        await self._expire(self._filesystem.by_path.refresh(path or ""))

    async def versions(self, path: str) -> tuple[VersionStatus, ...]:
        """The versions of a file, newest first."""
        return tuple(_status(version) for version in await self._restorer.versions(path))

    async def restore(self, path: str, version_id: str | None, moment_ms: int | None) -> VersionStatus:
        """A version of a file is current again."""
        self._check_writable()
        try:
            version, told = await self._restorer.restore(path, version_id, moment_ms)
        finally:
            self._areas.bucket_changed()
        await self._expire(told)
        return _status(version)

    async def undelete(self, path: str) -> int:
        """What was hidden at and below a path is there again."""
        self._check_writable()
        try:
            count, told = await self._restorer.undelete(path)
        finally:
            self._areas.bucket_changed()
        await self._expire(told)
        return count

    @property
    def _restorer(self) -> Restorer:
        return self._areas.restorer

    def _check_writable(self) -> None:
        if self._access.read_only:
            raise ReadOnly("the mount is read-only")


def _status(version: ObjectVersion) -> VersionStatus:
    return VersionStatus(
        version.version_id,
        version.uploaded_ms,
        version.size,
        version.action.value,
        version.sha1,
        version.content_type,
    )

"""A mount that does what it is told, behind a real ControlServer."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from b2mount.errors import B2MountError, IsADirectory, NotFound
from b2mount.filesystem.status import (
    BudgetStatus,
    CallCounts,
    EvictStatus,
    MountStatus,
    PendingFile,
    Unfetched,
    VersionStatus,
    WarmStatus,
)

NO_CALLS = CallCounts({}, 0.0, 0, 0)


def pending(
    path: str,
    *,
    size: int = 100,
    sent: int = 0,
    state: str = "queued",
    reason: str | None = None,
    since: float = 1.0,
) -> PendingFile:
    return PendingFile(path, size, sent, state, reason, since)


VERSIONS = (
    VersionStatus("id-3", 1_767_225_600_250, 0, "hide", None, "application/x-bz-hide-marker"),
    VersionStatus("id-2", 1_767_225_600_000, 2048, "upload", "a" * 40, "text/plain"),
    VersionStatus("id-1", 1_767_139_200_000, 5, "upload", None, "text/plain"),
)


@attrs.define
class FakeMount:
    """What ControlServer asks: `unsent` goes down to nothing when `sent` is set."""

    mountpoint: str = "/mnt/fake"
    unsent: tuple[PendingFile, ...] = ()
    failure: Exception | None = None
    sent: trio.Event = attrs.field(factory=trio.Event)
    flushed: list[str | None] = attrs.field(factory=list)
    warmed: list[str] = attrs.field(factory=list)
    unfetched: tuple[Unfetched, ...] = ()
    evicted: list[str] = attrs.field(factory=list)
    refreshed: list[str | None] = attrs.field(factory=list)
    restored: list[tuple[str, str | None, int | None]] = attrs.field(factory=list)
    copied: list[tuple[str, str, bool, bool]] = attrs.field(factory=list)
    undeleted: list[str] = attrs.field(factory=list)
    left: bool = False
    budget: BudgetStatus | None = None
    looks: int = 0
    """How often its status was asked for."""

    def status(self) -> MountStatus:
        self.looks += 1
        return MountStatus(
            source="b2://bucket/photos",
            mountpoint=self.mountpoint,
            pid=1,
            started=0.0,
            moment=None,
            read_only=False,
            missing_capabilities=(),
            pending=self.unsent,
            cache_bytes=3 << 20,
            cache_capacity=10 << 30,
            cache_hits=3,
            cache_misses=1,
            today=CallCounts({"A": 4, "B": 1200}, 0.0012, 5 << 20, 7 << 10),
            since_mount=NO_CALLS,
            free_calls_left={"B": 1300, "C": 2500},
            budget=self.budget,
            odd_names=2,
            open_files=1,
        )

    async def flush_path(self, path: str | None) -> None:
        self.flushed.append(path)
        await self.sent.wait()
        if self.failure is not None:
            raise self.failure
        self.unsent = ()

    async def warm(self, path: str, tell: Callable[[WarmStatus], None]) -> WarmStatus:
        if path == "missing":
            raise NotFound("b2://bucket/photos/missing")
        self.warmed.append(path)
        status = WarmStatus(3, 3 << 20, files_done=1, size_done=1 << 20)
        tell(status)
        try:
            await self.sent.wait()
        except trio.Cancelled:
            self.warmed.append("given up")
            raise
        if self.failure is not None:
            raise self.failure
        left = 3 - len(self.unfetched)
        return WarmStatus(3, 3 << 20, left, left << 20, len(self.unfetched), self.unfetched)

    async def copy(
        self, source: str, target: str, recursive: bool, into: bool, tell: Callable[[WarmStatus], None]
    ) -> WarmStatus:
        if source == "missing":
            raise NotFound(f"{source}: no such file or directory")
        self.copied.append((source, target, recursive, into))
        tell(WarmStatus(2, 2 << 20, files_done=1, size_done=1 << 20))
        left = 2 - len(self.unfetched)
        return WarmStatus(2, 2 << 20, left, left << 20, len(self.unfetched), self.unfetched)

    async def evict(self, path: str) -> EvictStatus:
        if path == "missing":
            raise NotFound("b2://bucket/photos/missing")
        self.evicted.append(path)
        return EvictStatus(2, 5 << 20)

    async def versions(self, path: str) -> tuple[VersionStatus, ...]:
        if path == "missing":
            raise NotFound(f"{path}: B2 has no version of it")
        return VERSIONS

    async def restore(self, path: str, version_id: str | None, moment_ms: int | None) -> VersionStatus:
        if path == "missing":
            raise NotFound(f"{path}: it has had one version only")
        self.restored.append((path, version_id, moment_ms))
        return VERSIONS[-1]

    async def undelete(self, path: str) -> int:
        if path == "missing":
            raise NotFound(f"{path}: nothing of that name is deleted")
        self.undeleted.append(path)
        return 3

    async def refresh(self, path: str | None) -> None:
        if self.failure is not None:
            raise self.failure
        self.refreshed.append(path)

    async def url(self, path: str, expires: int | None) -> str:
        if path == "missing":
            raise NotFound("b2://bucket/photos/missing")
        if path == "directory":
            raise IsADirectory(" is a directory")
        if path == "broken":
            raise KeyError("a fault")
        if path == "slow":
            await trio.sleep_forever()
        return f"https://f000.example/file/bucket/{path}?{expires}"

    def request_unmount(self) -> None:
        self.left = True


def refused() -> B2MountError:
    return B2MountError("refused")

"""What a mount says of itself: frozen values for `status`, `df` and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from b2mount.namespace.names import MAX_SEGMENT_BYTES

SCARCE: Final = 64 << 20


@attrs.frozen
class SpaceStatus:
    """What `df` shows."""

    block_size: int
    blocks: int
    free: int
    """Blocks."""
    files: int
    name_max: int

    @classmethod
    def with_room(cls, room: int) -> SpaceStatus:
        """B2 has no end: 1 PiB is free, a number that programs can live with. Files that are closed
        one after another need not fit on the local disk together, so what is left there is no
        limit for a program that asks whether they will find place. But when so little is left (`room`
        bytes) that the next write of some megabytes may fail, it is told."""
        blocks = 2**38
        free = blocks if room >= SCARCE else room // 4096
        return cls(block_size=4096, blocks=blocks, free=free, files=2**40, name_max=MAX_SEGMENT_BYTES)


@attrs.frozen
class PendingFile:
    """A file that has not reached B2 yet."""

    path: str
    """Below the mount point, without a leading slash."""
    size: int
    sent: int
    """Bytes of it that went to B2."""
    state: str
    """staged, queued, uploading or failed."""
    reason: str | None
    since: float
    """Unix seconds."""

    @property
    def words(self) -> str:
        """`staged`, `queued`, `uploading 43%`, `failed: REASON`; with the reason of the last try where
        there is one."""
        if self.state == "uploading" and self.size:
            return f"uploading {100 * min(self.sent, self.size) // self.size}%"
        return f"{self.state}: {self.reason}" if self.reason else self.state


@attrs.frozen
class CallCounts:
    """Calls by transaction class, and what they cost in dollars at list price, nothing being free."""

    by_class: Mapping[str, int] = attrs.field(hash=False)
    cost: float
    bytes_down: int
    bytes_up: int


@attrs.frozen
class BudgetStatus:
    """What may be spent in a period, and what is."""

    text: str
    """As `$0.10/day`."""
    dollars: float
    period: str
    """hour, day or month."""
    spent: float
    """Dollars at list price, in the period that it is."""
    is_saving: bool
    """Whether names are believed longer and nothing is fetched ahead."""


@attrs.frozen
class TroubleStatus:
    """A warning or an error that the mount has logged."""

    when: float
    """Unix seconds."""
    text: str


@attrs.frozen
class MountStatus:
    """A mount at one moment."""

    source: str
    mountpoint: str
    pid: int
    started: float
    """Unix seconds."""
    moment: str | None
    """As of when the bucket is shown; None for now."""
    read_only: bool
    missing_capabilities: tuple[str, ...]
    pending: tuple[PendingFile, ...]
    cache_bytes: int
    cache_capacity: int
    cache_hits: int
    cache_misses: int
    today: CallCounts
    """Since 00:00 UTC; of all mounts of the account that have this one's cache directory."""
    since_mount: CallCounts
    odd_names: int
    open_files: int
    free_calls_left: Mapping[str, int] = attrs.field(hash=False, factory=dict)
    """By class: what is left today of the account's free calls, if nothing else has used them."""
    budget: BudgetStatus | None = None
    lately: tuple[TroubleStatus, ...] = ()
    """The last ten warnings and errors, oldest first."""


@attrs.frozen
class Unfetched:
    """A file that could not be fetched into the cache, or copied."""

    path: str
    """Below the mount point, without a leading slash."""
    reason: str
    kind: str
    """The name of a class of errors.py."""


@attrs.frozen
class WarmStatus:
    """How far a fetch into the cache, or a copy inside B2, has come."""

    files: int
    size: int
    """Bytes of all of them."""
    files_done: int = 0
    size_done: int = 0
    failures: int = 0
    failed: tuple[Unfetched, ...] = ()
    """The first of them."""


@attrs.frozen
class VersionStatus:
    """A version of a file, or a marker that hides it."""

    version_id: str
    uploaded_ms: int
    size: int
    action: str
    """upload or hide."""
    sha1: str | None
    content_type: str


@attrs.frozen
class EvictStatus:
    """What was dropped from the cache."""

    files: int
    """Those of which anything was there."""
    size: int
    """Bytes that are free now."""

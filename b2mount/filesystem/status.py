"""What a mount says of itself: frozen values for `status`, `df` and the metrics."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class SpaceStatus:
    """What `df` shows: B2 has no end, so this is only a number that programs can live with."""

    block_size: int
    blocks: int
    files: int
    name_max: int


@attrs.frozen
class PendingFile:
    """A file that has not reached B2 yet."""

    path: str
    """Below the mount point, without a leading slash."""
    size: int
    sent: int
    """Bytes that B2 has of it."""
    state: str
    """staged, queued, uploading or failed."""
    reason: str | None
    since: float
    """Unix seconds."""


@attrs.frozen
class CallCounts:
    """Calls by transaction class, and what they cost in dollars."""

    by_class: Mapping[str, int] = attrs.field(hash=False)
    cost: float
    bytes_down: int
    bytes_up: int


@attrs.frozen
class MountStatus:
    """A mount at one moment."""

    source: str
    mountpoint: str
    pid: int
    started: float
    """Unix seconds."""
    read_only: bool
    missing_capabilities: tuple[str, ...]
    pending: tuple[PendingFile, ...]
    cache_bytes: int
    cache_capacity: int
    cache_hits: int
    cache_misses: int
    today: CallCounts
    since_mount: CallCounts
    odd_names: int
    open_files: int

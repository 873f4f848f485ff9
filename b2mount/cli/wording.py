"""Numbers and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from b2mount.filesystem.status import PendingFile

URGENCY: Final = ("failed", "uploading", "queued", "staged")


def size(count: float) -> str:
    """Bytes in the unit that fits: `512 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def files(count: int) -> str:
    """`1 file`, `3 files`."""
    return "1 file" if count == 1 else f"{count:,} files"


def span(seconds: float) -> str:
    """How long something has been so: `5 s`, `3 min`, `2 h`, `4 days`."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(0.0, seconds) / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def most_urgent_first(pending: Sequence[PendingFile]) -> list[PendingFile]:
    """What somebody should do something about, or watch, before what only waits for its turn."""
    return sorted(pending, key=lambda file: (URGENCY.index(file.state), not file.reason))


def unsent(pending: Sequence[PendingFile]) -> str:
    """What has not reached B2, named: a few paths, with the reason where one failed."""
    if not pending:
        return "something is not in B2 yet"
    total = sum(file.size for file in pending)
    named = [
        file.path + (f" ({file.reason})" if file.reason else "") for file in most_urgent_first(pending)[:3]
    ]
    more = f" and {len(pending) - 3} more" if len(pending) > 3 else ""
    return f"{files(len(pending))} ({size(total)}) not in B2 yet: {', '.join(named)}{more}"

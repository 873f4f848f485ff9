"""The disk that the cache is on, and how much of it the cache leaves to others. For a thread."""

from __future__ import annotations

import os
from typing import Final

LEFT_FREE: Final = 1 << 30
"""Bytes that stay free on a large disk: it is the user's own one as a rule, and what is being
written goes there too. A gigabyte takes whatever comes within some seconds of a fast line; up to
then only the writer who finds the disk full has to wait for blocks to be removed."""
_SHARE: Final = 20
"""On a small disk one part in so many, as ext4 keeps for root."""
UNKNOWN: Final = 1 << 62


def free_space(directory: str) -> int:
    """Bytes that a user may still write to the disk of `directory`; a huge number when nobody can say."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return UNKNOWN
    return disk.f_bavail * disk.f_frsize


def missing_space(directory: str, needed: int) -> int:
    """How many of `needed` bytes there is no room for in what others do not need; 0 when nobody can
    say."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return 0
    spared = min(LEFT_FREE, disk.f_blocks * disk.f_frsize // _SHARE)
    return max(0, min(needed, needed + spared - disk.f_bavail * disk.f_frsize))

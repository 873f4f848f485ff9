"""Moments that mean something in the next process too, and whether the clock that tells them can be
believed. Pure but
for `read_moment`.

Invariants: a moment is compared only with ones that `after` has let through.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Final

import attrs

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SLACK_NS: Final = 10**9
"""A step of the clock this small makes no name wrong."""


@attrs.frozen
class Moment:
    """When it is, and since which start of the machine."""

    boot: str
    """Another one after each start of the machine; empty where nobody can tell."""
    wall_ns: int
    """Of the wall clock, since 1970."""
    ahead_ns: int
    """By how much the wall clock is ahead of the time since the start, which nobody sets."""

    def after(self, earlier: Moment) -> Moment | None:
        """This moment, to be kept as the last one known; None when the wall clock has been set back
        since `earlier`, so that nobody knows how long ago that was."""
        if self.wall_ns < earlier.wall_ns - _SLACK_NS:
            return None
        if not self.is_same_boot(earlier):
            return self
        if self.ahead_ns < earlier.ahead_ns - _SLACK_NS:
            return None
        return attrs.evolve(self, ahead_ns=max(self.ahead_ns, earlier.ahead_ns))

    def is_same_boot(self, other: Moment) -> bool:
        """Whether the machine has run on between the two: what was written has not been lost."""
        return self.boot == other.boot != ""


def read_moment() -> Moment:
    """Now."""
    wall_ns = time.time_ns()
    return Moment(_this_boot(), wall_ns, wall_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME))


@cache
def _this_boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""

"""The state of a mount as a person reads it, in five seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import attrs

from b2mount.cli import wording
from b2mount.cli.progress import Speed, Tally
from b2mount.filesystem.status import BudgetStatus, CallCounts, MountStatus, PendingFile
from b2mount.plain_text import plain

SHOWN: Final = 20
"""Unsent files that are listed; --json has all."""
LATELY: Final = 3
"""Warnings and errors that are listed; the log has all."""


@attrs.define
class Pace:
    """How fast the uploads of a mount are, for who looks again and again."""

    _tally: Tally = attrs.field(factory=Tally, init=False)
    _speed: Speed = attrs.field(factory=Speed, init=False)

    def words(self, pending: tuple[PendingFile, ...]) -> str:
        """Rate, and time to go; empty while there is nothing to say."""
        self._tally.update(pending)
        rate = self._speed.update(time.monotonic(), self._tally.sent)
        if rate is None or not pending:
            return ""
        left = (self._tally.total - self._tally.sent) / rate
        return f", {wording.size(rate)}/s, {wording.span(left)} to go"


def describe(status: MountStatus, pace: Pace | None = None, shown: int = SHOWN) -> str:
    """A table of one mount, with at most so many unsent files."""
    return "\n".join(plain(line) for line in _lines(status, pace, shown))


def _lines(status: MountStatus, pace: Pace | None, shown: int) -> Iterator[str]:
    mode = " (read-only)" if status.read_only else ""
    mode = f" as of {status.moment}{mode}" if status.moment else mode
    since = wording.span(time.time() - status.started)
    yield f"{status.source} on {status.mountpoint}{mode}, for {since}, process {status.pid}"
    if status.missing_capabilities:
        yield f"  key       lacks {', '.join(status.missing_capabilities)}"
    speed = pace.words(status.pending) if pace is not None else ""
    if status.pending:
        total = sum(file.size for file in status.pending)
        sent = sum(min(file.sent, file.size) for file in status.pending)
        begun = f", {wording.size(sent)} of it sent" if sent else ""
        yield f"  unsent    {wording.files(len(status.pending))}, {wording.size(total)}{begun}{speed}"
    else:
        yield "  unsent    nothing"
    for file in wording.most_urgent_first(status.pending)[:shown]:
        so_far = f"{wording.size(file.sent)} of " if file.sent else ""
        yield f"            {file.path}  {so_far}{wording.size(file.size)}  {file.words}"
    if len(status.pending) > shown:
        yield f"            and {len(status.pending) - shown} more"
    looks = status.cache_hits + status.cache_misses
    rate = f", {100 * status.cache_hits // looks} % hits" if looks else ""
    yield f"  cache     {wording.size(status.cache_bytes)} of {wording.size(status.cache_capacity)}{rate}"
    yield f"  today     {_counts(status.today)}"
    yield f"  mounted   {_counts(status.since_mount)}"
    if status.free_calls_left:
        free = " and ".join(f"{left:,} {name}" for name, left in sorted(status.free_calls_left.items()))
        yield f"  free      {free} calls are left today"
    if status.budget is not None:
        yield f"  budget    {_budget(status.budget)}"
    yield f"  open      {wording.files(status.open_files)}"
    if status.odd_names:
        yield f"  unseen    {status.odd_names} objects whose names no path can spell: see .b2/names"
    for trouble in status.lately[-LATELY:]:
        when = time.strftime("%a %H:%M:%S", time.localtime(trouble.when))
        yield f"  lately    {when}  {trouble.text}"


def _counts(counts: CallCounts) -> str:
    calls = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.by_class.items()))
    moved = f"{wording.size(counts.bytes_down)} down, {wording.size(counts.bytes_up)} up"
    return f"{f'calls by class: {calls}' if calls else 'no calls'}; {moved}; ${counts.cost:.4f}"


def _budget(budget: BudgetStatus) -> str:
    saving = ": names are believed longer, nothing is fetched ahead" if budget.is_saving else ""
    return f"${budget.spent:.4f} of {budget.text}, {100 * budget.spent / budget.dollars:.0f} %{saving}"

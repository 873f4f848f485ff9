"""How far what a mount sends or fetches has come, shown while a command waits for it: files, bytes, rate.

On a terminal a live line; elsewhere a plain line on stderr at once and then now and then.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self

import attrs
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from b2mount.cli import wording
from b2mount.filesystem.status import PendingFile
from b2mount.plain_text import plain

PLAIN_EVERY: Final = 5.0
"""Seconds between two plain lines."""
RATE_OVER: Final = 30.0
"""Seconds that a rate is taken over: bytes come in whole parts of a large file."""
RATE_FROM: Final = 1.0
"""Seconds before which a rate would say nothing."""
FOR_A_FILE: Final = 256 * 1024
"""A file takes time however small it is, about as much as so many bytes."""

FileKey = tuple[str, float]


@attrs.define
class Tally:
    """Counts what was pending at any time since we look, and what of it has arrived."""

    _sizes: dict[FileKey, int] = attrs.field(factory=dict)
    _unsealed: set[FileKey] = attrs.field(factory=set)
    """Still being written when we last looked: they come again, under another key, when they are queued."""
    sent: int = 0
    files_left: int = 0

    def update(self, pending: Sequence[PendingFile]) -> None:
        """Take note of what is pending now: what is gone from the list has arrived."""
        for key in self._unsealed:
            del self._sizes[key]
        self._sizes.update({(file.path, file.since): file.size for file in pending})
        self._unsealed = {(file.path, file.since) for file in pending if file.state == "staged"}
        on_the_way = sum(file.size - min(file.sent, file.size) for file in pending)
        self.files_left = len(pending)
        self.sent = self.total - on_the_way

    @property
    def total(self) -> int:
        """Bytes of everything that was pending at any time."""
        return sum(self._sizes.values())


@attrs.define
class Speed:
    """Bytes a second, over the last while."""

    _seen: deque[tuple[float, int]] = attrs.field(factory=deque)

    def update(self, now: float, sent: int) -> float | None:
        """Take note that so many bytes have moved. None while there is nothing to say."""
        self._seen.append((now, sent))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_OVER:
            self._seen.popleft()
        begun, before = self._seen[0]
        if now - begun < RATE_FROM or sent <= before:
            return None
        return (sent - before) / (now - begun)


@attrs.define
class TransferLine:
    """Shows how far a transfer is; a context manager, so that the line goes away with the wait."""

    _doing: str
    """`sending`."""
    _done: str
    """`sent`."""
    _speed: Speed = attrs.field(factory=Speed, init=False)
    _effort: Speed = attrs.field(factory=Speed, init=False)
    """Of bytes and files together, which says when it will be done."""
    _most_left: int = attrs.field(default=0, init=False)
    _stack: ExitStack = attrs.field(factory=ExitStack, init=False)
    _bar: Progress | None = attrs.field(default=None, init=False)
    _task: TaskID | None = attrs.field(default=None, init=False)
    _said_at: float | None = attrs.field(default=None, init=False)
    _said: tuple[int, int] = attrs.field(default=(0, 0), init=False)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TextColumn("{task.fields[pace]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._stack.enter_context(self._bar)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def show(self, files_left: int, moved: int, total: int) -> None:
        """Bring it up to date: files that are left, bytes that have moved, bytes of all."""
        now = time.monotonic()
        rate = self._speed.update(now, moved)
        self._most_left = max(self._most_left, files_left)
        effort = self._effort.update(now, moved + FOR_A_FILE * (self._most_left - files_left))
        pace = ""
        if rate is not None and effort is not None:
            left = total - moved + FOR_A_FILE * files_left
            pace = f"{wording.size(rate)}/s, {wording.span(left / effort)} to go"
        if not total and not files_left:
            return
        if self._bar is None:
            self._say(now, files_left, moved, total, pace)
            return
        if self._task is None:
            self._task = self._bar.add_task(self._doing, total=total, pace="")
        self._bar.update(
            self._task,
            description=f"{self._doing}, {wording.files(files_left)} left",
            total=total,
            completed=moved,
            pace=pace,
        )

    def _say(self, now: float, files_left: int, moved: int, total: int, pace: str) -> None:
        too_soon = self._said_at is not None and now - self._said_at < PLAIN_EVERY
        if not files_left or too_soon or self._said == (files_left, moved):
            return
        self._said_at, self._said = now, (files_left, moved)
        done = f"{wording.size(moved)} of {wording.size(total)} {self._done}"
        words = ", ".join(filter(None, [f"{wording.files(files_left)} left", done, pace]))
        print(f"b2mount: {words}", file=sys.stderr, flush=True)


@contextmanager
def working(doing: str) -> Iterator[None]:
    """On a terminal, shows for how long something goes on of which nobody knows how far it is."""
    if not sys.stderr.isatty():
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(escape(plain(doing)), total=None)
        yield


@attrs.define
class UploadProgress:
    """Shows how far the uploads of a mount are."""

    _tally: Tally = attrs.field(factory=Tally, init=False)
    _line: TransferLine = attrs.field(factory=lambda: TransferLine("sending", "sent"), init=False)

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.__exit__(kind, error, trace)

    def show(self, pending: Sequence[PendingFile]) -> None:
        """Bring it up to date."""
        self._tally.update(pending)
        self._line.show(self._tally.files_left, self._tally.sent, self._tally.total)

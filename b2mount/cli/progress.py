"""How far the uploads of a mount have come, shown while a command waits for them.

On a terminal a bar; elsewhere a plain line on stderr whenever a file is done, at most one a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import attrs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from b2mount.cli import wording
from b2mount.filesystem.status import PendingFile

PLAIN_EVERY: Final = 1.0


@attrs.define
class Tally:
    """Counts what was pending at any time since we look, and what of it has arrived."""

    _sizes: dict[tuple[str, float], int] = attrs.field(factory=dict)
    sent: int = 0
    files_left: int = 0

    def update(self, pending: Sequence[PendingFile]) -> None:
        """Take note of what is pending now: what is gone from the list has arrived."""
        for file in pending:
            self._sizes[file.path, file.since] = file.size
        on_the_way = sum(file.size - min(file.sent, file.size) for file in pending)
        self.files_left = len(pending)
        self.sent = self.total - on_the_way

    @property
    def total(self) -> int:
        """Bytes of everything that was pending at any time."""
        return sum(self._sizes.values())


@attrs.define
class UploadProgress:
    """Shows the tally; a context manager, so that the bar goes away with the wait."""

    _tally: Tally = attrs.field(factory=Tally, init=False)
    _stack: ExitStack = attrs.field(factory=ExitStack, init=False)
    _bar: Progress | None = attrs.field(default=None, init=False)
    _task: TaskID | None = attrs.field(default=None, init=False)
    _said: tuple[float, int] = attrs.field(default=(0.0, 0), init=False)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(binary_units=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._stack.enter_context(self._bar)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def show(self, pending: Sequence[PendingFile]) -> None:
        """Bring it up to date."""
        self._tally.update(pending)
        if not self._tally.total:
            return
        if self._bar is None:
            self._say()
            return
        if self._task is None:
            self._task = self._bar.add_task("sending", total=self._tally.total)
        self._bar.update(
            self._task,
            description=f"sending, {wording.files(self._tally.files_left)} left",
            total=self._tally.total,
            completed=self._tally.sent,
        )

    def _say(self) -> None:
        when, left = self._said
        now = time.monotonic()
        if self._tally.files_left != left and now - when >= PLAIN_EVERY:
            self._said = (now, self._tally.files_left)
            done = f"{wording.size(self._tally.sent)} of {wording.size(self._tally.total)} sent"
            print(f"b2mount: {wording.files(self._tally.files_left)} left, {done}", file=sys.stderr)

"""The last warnings and errors of a mount, for who asks it how it is.

Must not know: what they are about.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import attrs

KEPT: Final = 10
LONGEST: Final = 500
"""Characters."""


@attrs.frozen
class Trouble:
    """A line of the log."""

    when: float
    """Unix seconds."""
    text: str


class RecentTroubles(logging.Handler):
    """A handler of the log that keeps them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[Trouble] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an event."""
        self._kept.append(Trouble(record.created, record.getMessage()[:LONGEST]))

    @property
    def latest(self) -> tuple[Trouble, ...]:
        """Oldest first."""
        return tuple(self._kept)

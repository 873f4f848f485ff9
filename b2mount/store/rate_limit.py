"""RateLimit: at most so many bytes a second, over all connections of one direction.

Invariants: thread-safe, and the only state of ours that threads share; never sleeps while it holds
its lock; what is taken is paid for in the order of asking.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class RateLimit:
    """A token bucket of one second's worth."""

    bytes_per_second: float
    _clock: Callable[[], float] = time.monotonic
    _sleep: Callable[[float], None] = time.sleep
    _paid_until: float = attrs.field(init=False, default=float("-inf"))
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    @property
    def piece_size(self) -> int:
        """How much to take at once, so that nobody waits for long in the middle of a request."""
        return max(4096, int(self.bytes_per_second / 4))

    def take(self, size: int) -> None:
        """Return when `size` bytes may pass; blocks the calling thread."""
        with self._lock:
            now = self._clock()
            start = max(self._paid_until, now - 1)
            self._paid_until = start + size / self.bytes_per_second
            wait = self._paid_until - now
        if wait > 0:
            self._sleep(wait)

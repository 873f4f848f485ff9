"""How many bytes have passed, ten times a second."""

from __future__ import annotations

import threading
import time
from typing import Final

import attrs

from b2mount.emulator.counts import Counts

INTERVAL: Final = 0.1
"""Seconds between two samples."""

Progress = tuple[tuple[int, int], ...]
"""Bytes that were sent and received since the beginning, at its end and after each INTERVAL before."""


@attrs.define(eq=False)
class Sampler:
    """Looks at the emulator's counts, in a thread, from `begin` to `end`."""

    counts: Counts
    _samples: list[tuple[int, int]] = attrs.field(factory=list)
    _done: threading.Event = attrs.field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Forget what was, and look from now on."""
        self.end()
        self._samples, self._done = [], threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._samples, self._done), daemon=True)
        self._thread.start()

    def end(self) -> Progress:
        """What was seen. Empty when nobody has begun."""
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None
        return tuple(self._samples)

    def _watch(self, samples: list[tuple[int, int]], done: threading.Event) -> None:
        sent, received = self.counts.bytes_in, self.counts.bytes_out
        began = time.monotonic()
        is_last = False
        while not is_last:
            left = began + (len(samples) + 1) * INTERVAL - time.monotonic()
            is_last = done.wait(max(0.0, left))
            samples.append((self.counts.bytes_in - sent, self.counts.bytes_out - received))

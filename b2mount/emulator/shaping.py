"""How slow the emulator makes itself: time to the first byte, and bytes per second.

Invariants: each direction has its own limits; connections that want bytes get them in turns, a
quantum each. Rates hold on average over a few hundredths of a second.
"""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from typing import Final

import attrs

SMALLEST_QUANTUM: Final = 16 * 1024
LARGEST_QUANTUM: Final = 256 * 1024
_QUANTUM_SECONDS: Final = 0.01
_SLACK: Final = 0.02
"""Seconds of rate that may be saved up; hides the coarseness of sleeping."""

_RATE: Final = attrs.validators.optional(attrs.validators.gt(0))


@attrs.frozen
class Shape:
    """None is no limit. `first_byte_ms` lies between a request's last byte and its reply's first."""

    first_byte_ms: float = attrs.field(default=0, validator=attrs.validators.ge(0))
    connection_bytes_per_second: float | None = attrs.field(default=None, validator=_RATE)
    total_bytes_per_second: float | None = attrs.field(default=None, validator=_RATE)

    @property
    def limits_bytes(self) -> bool:
        return self.connection_bytes_per_second is not None or self.total_bytes_per_second is not None

    @property
    def quantum(self) -> int:
        """How many bytes go at a time: a hundredth of a second's worth, within reason."""
        rates = (self.connection_bytes_per_second, self.total_bytes_per_second)
        slowest = min((rate for rate in rates if rate is not None), default=math.inf)
        return int(min(LARGEST_QUANTUM, max(SMALLEST_QUANTUM, slowest * _QUANTUM_SECONDS)))


class Pace:
    """One limit: hands out moments at which bytes may go."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def reserve(self, size: int, rate: float | None, now: float) -> float:
        """The time at which these bytes may go; they count at once."""
        if rate is None:
            return now
        self._free_at = max(self._free_at, now - _SLACK) + size / rate
        return self._free_at


class Direction:
    """Uploads or downloads: one pace for all, one for each connection."""

    def __init__(self) -> None:
        self._all = Pace()
        self._each: weakref.WeakKeyDictionary[object, Pace] = weakref.WeakKeyDictionary()

    async def wait(self, shape: Shape, connection: object, size: int) -> None:
        """Returns when these bytes may go."""
        now = time.monotonic()
        pace = self._each.setdefault(connection, Pace())
        # The connection's own limit first, so that a slow one does not hold a place in the common queue.
        await _sleep_until(pace.reserve(size, shape.connection_bytes_per_second, now))
        await _sleep_until(self._all.reserve(size, shape.total_bytes_per_second, time.monotonic()))


class Shaper:
    """The shape in force and its state. `shape` may be set at any time, from any thread."""

    def __init__(self) -> None:
        self.shape = Shape()
        self.upload = Direction()
        self.download = Direction()

    async def first_byte(self) -> None:
        if self.shape.first_byte_ms:
            await asyncio.sleep(self.shape.first_byte_ms / 1000)


async def _sleep_until(moment: float) -> None:
    delay = moment - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)

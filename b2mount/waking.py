"""What a mount does when the machine wakes from sleep (suspend, hibernation): the clock that times are
measured with stood still meanwhile, so that names which are believed for a minute outlast a night.

Must not know: what is forgotten.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two looks at the clocks."""
NAP: Final = 1.0
"""Seconds of sleep that nobody need know of."""


def time_asleep() -> float:
    """Seconds that this machine has slept since its start."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


@attrs.frozen
class Waking:
    """Notices that the machine has slept."""

    longest: Callable[[], float]
    """Seconds after which nothing of what is known may be believed any more."""
    forget: Callable[[], Awaitable[None]]
    asleep: Callable[[], float] = time_asleep

    async def run(self) -> None:
        """Have all forgotten after each sleep of `longest` or more, and say so in the log."""
        before = self.asleep()
        while True:
            await trio.sleep(EVERY)
            slept = self.asleep() - before
            before += slept
            if slept >= max(NAP, self.longest()):
                log.info("the machine has slept for %.0f s: B2 is asked again for all names", slept)
                await self.forget()

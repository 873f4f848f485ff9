"""A bound on every step, also on one that hangs inside the kernel."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import attrs


class TimedOut(Exception):
    """A step took longer than it may."""


@attrs.define(eq=False)
class Deadline:
    """When a step must be done."""

    seconds: float
    passed: bool = False

    def pause(self, seconds: float) -> None:
        """Sleep; raises TimedOut once the time is over. For loops that ask again and again."""
        if self.passed:
            raise TimedOut(f"not done after {self.seconds:g} s")
        time.sleep(seconds)


@contextlib.contextmanager
def limit(seconds: float, rescue: Callable[[], None]) -> Iterator[Deadline]:
    """Bound the block: raises TimedOut when it is not done in time.

    `rescue` is then called from another thread and must let the block come to its end; the error
    that the block ends with is the cause of TimedOut.
    """
    deadline = Deadline(seconds)

    def late() -> None:
        deadline.passed = True
        rescue()

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()
    failure: Exception | None = None
    try:
        yield deadline
    except Exception as error:
        failure = error
    finally:
        timer.cancel()
    if deadline.passed:
        timer.join()
        raise TimedOut(f"not done after {seconds:g} s") from failure
    if failure:
        raise failure

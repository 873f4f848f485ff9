"""Lifetime: for how long what B2 said of names is believed; longer while the mount saves calls."""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

LONGER: Final = 10
"""Times the usual time to live, while calls are saved."""
LONG: Final = 600.0
"""Seconds that it is at least then."""


@attrs.define(eq=False)
class Lifetime:
    """The time to live of answers, in seconds."""

    usual: float
    is_saving: bool = attrs.field(init=False, default=False)
    """Nothing is to be asked but what somebody waits for."""
    _long_until: float = attrs.field(init=False, default=-math.inf)
    """When the last answer from a time of saving is believed no more."""

    @property
    def ttl(self) -> float:
        """Of an answer to what is asked now."""
        return self._long if self.is_saving else self.usual

    @property
    def longest(self) -> float:
        """For how long anything that was answered already may still be believed. The end of it never
        comes to lie before what it was."""
        return max(self.ttl, self._long_until - trio.current_time())

    def economize(self, on: bool) -> None:
        """Begin to save calls, or end it. What was believed stays so for its time."""
        if self.is_saving and not on:
            self._long_until = trio.current_time() + self._long
        self.is_saving = on

    @property
    def _long(self) -> float:
        return max(LONGER * self.usual, LONG)

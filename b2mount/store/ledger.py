"""Ledger: every request that goes out, by Backblaze's transaction class, with its price.

Invariants: a request is counted when it is sent, whatever becomes of it; a listing counts once for
every thousand rows begun; days are Backblaze's, from 00:00 UTC. Used from the trio thread only.

Must not know: why a request was made.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import attrs

CLASS_A: Final = frozenset(
    {
        "b2_cancel_large_file",
        "b2_delete_bucket",
        "b2_delete_file_version",
        "b2_delete_key",
        "b2_finish_large_file",
        "b2_get_upload_part_url",
        "b2_get_upload_url",
        "b2_hide_file",
        "b2_start_large_file",
        "b2_update_file_legal_hold",
        "b2_update_file_retention",
        "b2_upload_file",
        "b2_upload_part",
    }
)
CLASS_B: Final = frozenset(
    {
        "b2_download_file_by_id",
        "b2_download_file_by_name",
        "b2_get_file_info",
        "b2_head_file_by_id",
        "b2_head_file_by_name",
    }
)

ROWS_PER_CALL: Final = 1000
SECONDS_PER_DAY: Final = 86_400
FREE_CALLS_PER_DAY: Final = {"A": math.inf, "B": 2500, "C": 2500}
DOLLARS_PER_CALL: Final = {"A": 0.0, "B": 0.004 / 10_000, "C": 0.004 / 1_000}
DOLLARS_PER_BYTE_DOWN: Final = 0.01 / 1e9
"""Backblaze's list price, without the free part, whose size depends on what the account stores."""


def class_of(call: str) -> str:
    """A (free), B or C. What is not known to be cheaper is C."""
    return "A" if call in CLASS_A else "B" if call in CLASS_B else "C"


@attrs.frozen
class Usage:
    """What was asked of B2 in some time."""

    calls: Mapping[str, int]
    """By B2's name of the call, as Backblaze bills them."""
    bytes_down: int
    bytes_up: int

    @property
    def by_class(self) -> dict[str, int]:
        """Calls of class A, B and C."""
        classes = {"A": 0, "B": 0, "C": 0}
        for call, count in self.calls.items():
            classes[class_of(call)] += count
        return classes

    @property
    def price(self) -> float:
        """Dollars, if these were all the calls of the account on one day."""
        calls = sum(
            max(0, count - FREE_CALLS_PER_DAY[name]) * DOLLARS_PER_CALL[name]
            for name, count in self.by_class.items()
            if count > FREE_CALLS_PER_DAY[name]
        )
        return calls + self.bytes_down * DOLLARS_PER_BYTE_DOWN


@attrs.define
class Tally:
    """Usage while it grows."""

    calls: Counter[str] = attrs.field(factory=Counter)
    bytes_down: int = 0
    bytes_up: int = 0

    def usage(self) -> Usage:
        return Usage(dict(self.calls), self.bytes_down, self.bytes_up)


@attrs.define(eq=False)
class Ledger:
    """Counts from when it was made (`total`) and from midnight UTC (`today`)."""

    _now: Callable[[], float] = time.time
    _total: Tally = attrs.field(init=False, factory=Tally)
    _today: Tally = attrs.field(init=False, factory=Tally)
    _day: int = attrs.field(init=False, default=-1)

    def called(self, call: str) -> None:
        """One request goes out."""
        for tally in self._tallies():
            tally.calls[call] += 1

    def listed(self, call: str, rows: int) -> None:
        """The request that was counted already brought so many rows."""
        more = math.ceil(rows / ROWS_PER_CALL) - 1
        if more > 0:
            for tally in self._tallies():
                tally.calls[call] += more

    def received(self, size: int) -> None:
        """Bytes of objects came in."""
        for tally in self._tallies():
            tally.bytes_down += size

    def sent(self, size: int) -> None:
        """Bytes of objects went out."""
        for tally in self._tallies():
            tally.bytes_up += size

    @property
    def total(self) -> Usage:
        """Since it was made."""
        return self._total.usage()

    @property
    def today(self) -> Usage:
        """Since 00:00 UTC, or since it was made when that is later."""
        return self._tallies()[1].usage()

    def _tallies(self) -> tuple[Tally, Tally]:
        day = int(self._now() // SECONDS_PER_DAY)
        if day != self._day:
            self._day, self._today = day, Tally()
        return self._total, self._today

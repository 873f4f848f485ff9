"""Ledger: every request that goes out, by Backblaze's transaction class, with its price.

Invariants: a request is counted when it is sent, whatever becomes of it; a listing counts once for
every thousand rows begun; hours, days and months are UTC's, as Backblaze's are. Prices are list
prices, of every call and byte: what is free is the account's, whose other programs use it as well.
Used from the trio thread only.

Must not know: why a request was made; files.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from b2mount.budget import HOUR_SECONDS, Period

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
FREE_CALLS_PER_DAY: Final = {"B": 2500, "C": 2500}
"""Of one account; those of class A are all free."""
DOLLARS_PER_CALL: Final = {"A": 0.0, "B": 0.004 / 10_000, "C": 0.004 / 1_000}
DOLLARS_PER_BYTE_DOWN: Final = 0.01 / 1e9
"""Backblaze's list price, without the free part, whose size depends on what the account stores."""


def class_of(call: str) -> str:
    """A (free), B or C. What is not known to be cheaper is C."""
    return "A" if call in CLASS_A else "B" if call in CLASS_B else "C"


@attrs.frozen
class Usage:
    """What was asked of B2 in some time."""

    calls: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """By B2's name of the call, as Backblaze bills them."""
    bytes_down: int = 0
    bytes_up: int = 0

    @property
    def by_class(self) -> dict[str, int]:
        """Calls of class A, B and C."""
        classes = {"A": 0, "B": 0, "C": 0}
        for call, count in self.calls.items():
            classes[class_of(call)] += count
        return classes

    @property
    def price(self) -> float:
        """Dollars, at list price for every call and byte."""
        calls = sum(count * DOLLARS_PER_CALL[name] for name, count in self.by_class.items())
        return calls + self.bytes_down * DOLLARS_PER_BYTE_DOWN

    @property
    def free_left(self) -> dict[str, int]:
        """How many calls of each class would still be free, if these were all of the account's today."""
        made = self.by_class
        return {name: max(0, free - made[name]) for name, free in FREE_CALLS_PER_DAY.items()}


@attrs.frozen
class Dated:
    """What was asked in one period."""

    number: int
    """Of the period, as Period.number counts them."""
    usage: Usage


@attrs.define
class Tally:
    """Usage while it grows."""

    calls: Counter[str] = attrs.field(factory=Counter)
    bytes_down: int = 0
    bytes_up: int = 0

    def usage(self) -> Usage:
        """As of now."""
        return Usage(dict(self.calls), self.bytes_down, self.bytes_up)

    def add(self, usage: Usage) -> None:
        """This was asked as well."""
        self.calls.update(usage.calls)
        self.bytes_down += usage.bytes_down
        self.bytes_up += usage.bytes_up


@attrs.define(eq=False)
class Ledger:
    """Counts from when it was made, and for the hour, the day and the month that it is."""

    _now: Callable[[], float] = time.time
    _total: Tally = attrs.field(init=False, factory=Tally)
    _tallies: dict[Period, Tally] = attrs.field(init=False, factory=dict)
    _numbers: dict[Period, int] = attrs.field(init=False, factory=dict)
    _hour: int = attrs.field(init=False, default=-1)
    elsewhere: tuple[Mapping[Period, Dated], ...] = attrs.field(init=False, default=())
    """What others have counted for the same account."""
    counted: Callable[[], None] = attrs.field(init=False, default=lambda: None)
    """Called after each count."""

    def called(self, call: str) -> None:
        """One request goes out."""
        self._count(Usage({call: 1}))

    def listed(self, call: str, rows: int) -> None:
        """The request that was counted already brought so many rows."""
        more = math.ceil(rows / ROWS_PER_CALL) - 1
        if more > 0:
            self._count(Usage({call: more}))

    def received(self, size: int) -> None:
        """Bytes of objects came in."""
        self._count(Usage(bytes_down=size))

    def sent(self, size: int) -> None:
        """Bytes of objects went out."""
        self._count(Usage(bytes_up=size))

    @property
    def total(self) -> Usage:
        """Since it was made."""
        return self._total.usage()

    def used(self, period: Period) -> Usage:
        """In the hour, day or month that it is now, here and elsewhere."""
        self._turn_over()
        tally = Tally()
        tally.add(self._tallies[period].usage())
        for other in self.elsewhere:
            if period in other and other[period].number == self._numbers[period]:
                tally.add(other[period].usage)
        return tally.usage()

    def periods(self) -> dict[Period, Dated]:
        """What was counted here in the periods that it is now, to be kept."""
        self._turn_over()
        return {period: Dated(self._numbers[period], self._tallies[period].usage()) for period in Period}

    def restore(self, kept: Mapping[Period, Dated]) -> None:
        """What `periods` has said to an earlier ledger of the same mount."""
        self._turn_over()
        for period, dated in kept.items():
            if dated.number == self._numbers[period]:
                self._tallies[period].add(dated.usage)

    def _count(self, usage: Usage) -> None:
        self._turn_over()
        for tally in (self._total, *self._tallies.values()):
            tally.add(usage)
        self.counted()

    def _turn_over(self) -> None:
        now = self._now()
        hour = int(now // HOUR_SECONDS)
        if hour == self._hour:
            return  # days and months begin with an hour
        self._hour = hour
        for period in Period:
            number = period.number(now)
            if self._numbers.get(period) != number:
                self._numbers[period], self._tallies[period] = number, Tally()

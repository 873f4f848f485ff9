"""Budget: what B2 may cost in an hour, a day or a month. A leaf, for options and the ledger.

Periods are Backblaze's: they begin with the hour, day or month of UTC.
"""

from __future__ import annotations

import enum
import re
import time
from typing import Final

import attrs

HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 86_400


class Period(enum.StrEnum):
    """A time for which costs are added up."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def number(self, now: float) -> int:
        """Which one it is at a moment of Unix time: the next one's is one more."""
        if self is Period.MONTH:
            date = time.gmtime(now)
            return date.tm_year * 12 + date.tm_mon - 1
        return int(now // (HOUR_SECONDS if self is Period.HOUR else DAY_SECONDS))


@attrs.frozen
class Budget:
    """So much in each such time."""

    dollars: float
    period: Period

    def __str__(self) -> str:
        whole, _, cents = f"{self.dollars:.9f}".rstrip("0").partition(".")
        return f"${whole}.{cents:0<2}/{self.period}"


def parse_budget(text: str) -> Budget:
    """`0.10/day`, `$2/month`, `.01/hour`; a day is meant when nothing is said. Raises ValueError."""
    match = re.fullmatch(r"\$?(\d{0,9}(?:\.\d{0,9})?)(?:/(hour|day|month))?", text.strip(), re.IGNORECASE)
    if match is None or not any(digit.isdigit() for digit in match[1]):
        raise ValueError(f"{text!r} is not a budget in dollars such as 0.10/day, 0.01/hour or 2/month")
    dollars = float(match[1])
    if dollars == 0:
        raise ValueError("must be more than 0; leave it out for none")
    return Budget(dollars, Period((match[2] or "day").lower()))

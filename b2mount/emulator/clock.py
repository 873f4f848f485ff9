"""The emulator's time, in milliseconds, and the ids made of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

SMALL: Final = "1"
LARGE: Final = "2"
_SCRAMBLE: Final = 0x9E3779B97F4A7C15
"""An odd constant; multiplying by it modulo 2**63 permutes the numbers."""


def system_milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """Never goes back, even when the machine's clock does. `coarse`: whole seconds, as B2 had them once."""

    def __init__(self, source: Callable[[], int] = system_milliseconds, *, coarse: bool = False) -> None:
        self.coarse = coarse
        self._source = source
        self._last = 0
        self._ahead = 0

    def advance(self, milliseconds: int) -> None:
        """From now on it is so much later than it would be."""
        self._ahead += milliseconds

    def now(self) -> int:
        """Milliseconds since 1970 UTC."""
        self._last = max(self._last, self._source() + self._ahead)
        return self._last - self._last % 1000 if self.coarse else self._last

    def http_date(self) -> str:
        """Now, as a Date header says it."""
        return formatdate(self.now() / 1000, usegmt=True)

    def tie(self, number: int) -> int:
        """What decides between versions of one name and one timestamp: the later one wins, but with
        coarse time it is chance, as it was with B2."""
        return number * _SCRAMBLE % 2**63 if self.coarse else number


def file_id(bucket_id: str, kind: str, number: int, timestamp: int) -> str:
    """An id of B2's shape. Number and timestamp can be read back from it."""
    moment = time.gmtime(timestamp // 1000)
    stamp = time.strftime("d%Y%m%d_m%H%M%S", moment)
    return f"4_z{bucket_id}_f{kind}{number:016x}_{stamp}_c001_v0001000_t0000_u{timestamp:013d}"


def parse_file_id(text: str) -> tuple[int, int] | None:
    """(number, timestamp) of a file id, None for what can't be one."""
    pieces = text.split("_")
    if len(pieces) != 9 or pieces[0] != "4" or len(pieces[2]) != 18 or len(pieces[8]) > 16:
        return None
    try:
        number, timestamp = int(pieces[2][2:], 16), int(pieces[8][1:])
    except ValueError:
        return None
    return (number, timestamp) if 0 < number < 2**63 else None

"""What was asked of the emulator, as B2 would bill it.

Invariants: `calls` counts every request that arrived; `transactions` those that B2 would bill: not
401, 408, 429 and 5xx, nor injected faults; a list call once per 1000 rows begun.
"""

from __future__ import annotations

import collections
import threading
from typing import Any, Final

from b2mount.emulator.requests import PRICES

_NOT_BILLED: Final = frozenset((401, 408, 429))
ROWS_A_TRANSACTION: Final = 1000


class Counts:
    """Running totals. May be read and reset from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self.calls: collections.Counter[str] = collections.Counter()
            self.transactions: collections.Counter[str] = collections.Counter()
            self.errors: collections.Counter[int] = collections.Counter()
            self.bytes_in = 0
            self.bytes_out = 0

    def arrived(self, endpoint: str) -> None:
        with self._lock:
            self.calls[endpoint] += 1

    def answered(self, endpoint: str, status: int, rows: int | None = None, *, billed: bool = True) -> None:
        """A request was answered by B2 itself; `rows` for list calls."""
        with self._lock:
            if status >= 400:
                self.errors[status] += 1
            if billed and status not in _NOT_BILLED and status < 500 and endpoint in PRICES:
                self.transactions[PRICES[endpoint]] += max(1, -(-(rows or 0) // ROWS_A_TRANSACTION))

    def received(self, size: int) -> None:
        """Bytes of an upload's body."""
        with self._lock:
            self.bytes_in += size

    def sent(self, size: int) -> None:
        """Bytes of a download's body."""
        with self._lock:
            self.bytes_out += size

    def snapshot(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        with self._lock:
            return {
                "calls": dict(sorted(self.calls.items())),
                "transactions": {price: self.transactions[price] for price in "ABC"},
                "errors": {str(status): count for status, count in sorted(self.errors.items())},
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
            }

"""Delivery: the bytes of a download on their way to whoever asked, with where to go on.

Invariants: nothing is delivered twice; every byte that came is in the ledger.

Must not know: requests, retries.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from b2mount.model import ByteRange
from b2mount.store.ledger import Ledger


@attrs.define(eq=False)
class Delivery:
    """What has been delivered of a span. An error of `deliver` is kept: it must not meet trio's
    inner loop, where it would end the program."""

    _span: ByteRange
    _deliver: Callable[[bytes], None]
    _ledger: Ledger
    _error: Exception | None = None

    @property
    def left(self) -> ByteRange:
        """What is missing; empty at the end."""
        return self._span

    def take(self, data: bytes) -> None:
        """The next bytes are here."""
        self._ledger.received(len(data))
        self._span = ByteRange(self._span.start + len(data), self._span.stop)
        try:
            if self._error is None:
                self._deliver(data)
        except Exception as error:
            self._error = error

    def check(self) -> None:
        """Raise what `deliver` raised."""
        if self._error is not None:
            raise self._error

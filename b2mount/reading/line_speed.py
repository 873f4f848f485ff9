"""Pure: how long a flight should be on the line as it is.

A line fills with many requests at once, each of which waits for its first byte and gets what the server
gives one connection: there flights are short. Where a single one brings its bytes faster than any line
of that kind, nothing is gained by many; what is left to save is the work for each request, of which
the server does half, on this machine or near it.

Must not know: blocks, what is fetched.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

SHORT: Final = 4 << 20
"""Bytes. Fetched in 170 ms at 25 MB/s, so that 40 ms before are bearable."""
LONG: Final = 12 << 20
"""Bytes: four of them are all that a reader may be ahead."""
FAST: Final = 120e6
"""Bytes a second of one flight, the time to its first byte included. One connection to B2 brings 20 to
50 million; 40 ms to the first byte alone keep a flight of SHORT at 105, 25 ms and 100 million at 63:
there many short ones fill a line that four long ones would not."""
_TELLING: Final = 1 << 20
"""Bytes of a flight that says something of the line: less may come out of one buffer."""
_KEPT: Final = 16


@attrs.define(eq=False)
class LineSpeed:
    """What the latest flights have shown."""

    _speeds: deque[float] = attrs.field(factory=lambda: deque(maxlen=_KEPT), init=False)

    def landed(self, size: int, seconds: float) -> None:
        """A flight that was one request has brought all its bytes."""
        if size >= _TELLING:
            self._speeds.append(size / max(seconds, 1e-9))

    @property
    def flight_size(self) -> int:
        """Bytes of the flights to come. Any flight that was fast tells: the others may have shared the
        line, or waited for the machine."""
        return LONG if max(self._speeds, default=0) >= FAST else SHORT

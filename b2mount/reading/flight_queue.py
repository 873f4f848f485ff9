"""FlightQueues: which flight sets off next; FlightQueue: of those that share so many places.

A flight that somebody waits for goes before all readahead, which takes turns by owner and never gets
the last few places. Nor does it set off while much of what has come waits for the disk: it takes
turns with that, so that neither the line nor the disk stands still.

Invariants: at most `width` flights run at once; one that is over or runs already is never given; no
readahead that nobody waits for sets off while what waits for the disk and what is on its way to it are
more than UNWRITTEN.

Must not know: blocks, the cache, how a flight is flown.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

import attrs

from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.flight import Flight

RESERVED: Final = 4
"""Places that readahead leaves free for those who wait."""
UNWRITTEN: Final = 64 << 20
"""Bytes. With one long flight more, and one that somebody waits for, still less than the cache takes: of
those that somebody waits for there may be more, and a disk that slow gets what it can take."""
_SHORT: Final = 2 * BLOCK_SIZE
"""Bytes of a short flight: 10 ms at 25 MB/s, beside 40 ms to the first of them."""


@attrs.define(eq=False)
class FlightQueue:
    """See the module."""

    width: int
    _urgent: deque[Flight] = attrs.field(factory=deque, init=False)
    _ahead: OrderedDict[object, deque[Flight]] = attrs.field(factory=OrderedDict, init=False)
    _running: int = attrs.field(default=0, init=False)
    _running_ahead: int = attrs.field(default=0, init=False)
    running_size: int = attrs.field(default=0, init=False)
    """Bytes of the flights that run."""

    def hurry(self, flight: Flight) -> None:
        """Somebody waits for it."""
        if flight not in self._urgent:
            self._urgent.append(flight)

    def put(self, flight: Flight, owner: object) -> None:
        """Readahead of an owner, after what that has here already."""
        queue = self._ahead.setdefault(owner, deque())
        while queue and (queue[0].is_running or queue[0].is_over):
            queue.popleft()  # it was hurried: with all places taken by such, nobody comes by to see that
        queue.append(flight)

    def drop(self, owner: object) -> None:
        """An owner wants nothing more. What others want too is to be put again."""
        self._ahead.pop(owner, None)

    def next(self, *, may_be_ahead: bool) -> Flight | None:
        """A flight to set off, which has a place from now on until `landed`."""
        if self._running >= self.width:
            return None
        flight = self._next_urgent()
        if flight is None and may_be_ahead and self._running_ahead < max(1, self.width - RESERVED):
            flight = self._next_ahead()
            if flight is not None:
                flight.is_ahead = True
                self._running_ahead += 1
        if flight is not None:
            flight.is_running = True
            self._running += 1
            self.running_size += flight.size
        return flight

    def landed(self, flight: Flight) -> None:
        """Its place is free."""
        self._running -= 1
        self._running_ahead -= flight.is_ahead
        self.running_size -= flight.size

    def _next_urgent(self) -> Flight | None:
        while self._urgent:
            flight = self._urgent.popleft()
            if not flight.is_running and not flight.is_over:
                return flight
        return None

    def _next_ahead(self) -> Flight | None:
        while self._ahead:
            owner, queue = next(iter(self._ahead.items()))
            flight = queue.popleft()
            if queue:
                self._ahead.move_to_end(owner)
            else:
                del self._ahead[owner]
            if not flight.is_running and not flight.is_over:
                return flight
        return None


class FlightQueues:
    """One for short flights, where these have places of their own, and one for all others."""

    def __init__(self, width: int, short: int = 0) -> None:
        self._long = FlightQueue(width)
        self._short = FlightQueue(short) if short else self._long
        self._all = (self._long, self._short) if short else (self._long,)

    def of(self, flight: Flight) -> FlightQueue:
        """The one that a flight belongs to."""
        return self._short if flight.size <= _SHORT else self._long

    def drop(self, owner: object) -> None:
        """See FlightQueue."""
        for queue in self._all:
            queue.drop(owner)

    def next(self, unwritten: int) -> Flight | None:
        """A flight to set off, while `unwritten` bytes wait for the disk."""
        coming = unwritten + sum(queue.running_size for queue in self._all)
        flights = (queue.next(may_be_ahead=coming <= UNWRITTEN) for queue in self._all)
        return next((flight for flight in flights if flight is not None), None)

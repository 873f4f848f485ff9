"""Pure: which blocks an open file should have fetched before they are asked for.

A handle may read in several places at once (two players, a zip index at the end and the members
from the front), so a window keeps a few *runs*: places where reading goes on in order. A run grows
what it wants ahead with what it has had, eight times that, up to LIMIT; a read that continues no
run begins one and wants nothing beyond itself, so random reads stay what they are. What a run wants
is cut into flights, a quarter of what is ahead and at most what suits the line (line_speed): short
while the run is young and the first bytes count, long when 40 ms to a first byte are to be spread
over many.

Invariants: nothing is wanted twice in a run unless `missed` says it was lost; nothing is wanted
beyond the end; a block that is wanted lies at most LIMIT ahead of the read that wants it.

Must not know: what is cached or in flight, time.
"""

from __future__ import annotations

from typing import Final

import attrs

from b2mount.model import ByteRange
from b2mount.reading.line_speed import SHORT

LIMIT: Final = 48 << 20
"""How far ahead of the reader: 12 flights of 4 MiB fill a line of 125 MB/s with 25 MB/s a connection
and leave some to be waiting for a free one."""
_GROWTH: Final = 8
_RUNS: Final = 8
_LIVELY: Final = 16
"""Reads after which a run that nobody went on with no longer counts against the others."""
_SLACK: Final = 1 << 20
"""The kernel has several reads on the way at once and they may change places: a read this close
behind a run's end belongs to it, and one as close before it as a read is long."""


@attrs.define(eq=False)
class Run:
    """A place where reading goes on in order; offsets in bytes, `frontier` in blocks."""

    start: int
    stop: int
    frontier: int
    """Everything of the run before this block has been wanted."""
    had: int
    """How many bytes the run has brought its reader."""
    used: int
    grown: bool = False
    """Whether any read went on from where the run began."""


class ReadaheadWindow:
    """The runs of one handle on a version of `size` bytes, in blocks of `block_size`."""

    def __init__(self, size: int, block_size: int) -> None:
        self._size = size
        self._block_size = block_size
        self._count = -(-size // block_size)
        self._runs: list[Run] = []
        self._clock = 0

    def after(self, span: ByteRange, limit: int = LIMIT, longest: int = SHORT) -> list[range]:
        """The blocks to fetch when `span` is read, at most `limit` bytes ahead, in the flights of at most
        `longest` bytes they should be fetched in; most urgent first. The first may hold blocks of
        `span` itself."""
        self._clock += 1
        run = self._run_at(span)
        if run is None:
            return self._begin(span)
        run.had += max(0, span.stop - max(run.stop, span.start))
        run.stop = max(run.stop, span.stop)
        run.used = self._clock
        run.grown = True
        run.frontier = max(run.frontier, span.start // self._block_size)
        lively = sum(other.grown and other.used >= self._clock - _LIVELY for other in self._runs)
        return self._wanted(run, min(min(limit, LIMIT) // lively, run.had * _GROWTH), longest)

    def taken(self, stop: int) -> None:
        """Only blocks before `stop` were taken of what the last read wanted: the rest is wanted
        again later."""
        run = max(self._runs, key=lambda run: run.used)
        run.frontier = min(run.frontier, stop)

    def missed(self, index: int) -> None:
        """A block that a run relied on is neither here nor on its way: begin to want again there."""
        for run in self._runs:
            if index < run.frontier and run.start <= index * self._block_size <= run.stop + _SLACK:
                run.frontier = index

    def _run_at(self, span: ByteRange) -> Run | None:
        fitting = [
            run
            for run in self._runs
            if max(run.start, run.stop - _SLACK) <= span.start <= run.stop + min(span.size, _SLACK)
        ]
        return max(fitting, key=lambda run: run.stop, default=None)

    def _begin(self, span: ByteRange) -> list[range]:
        if len(self._runs) == _RUNS:  # one that never went on goes first, else the one longest unused
            self._runs.remove(min(self._runs, key=lambda run: (run.grown, run.used)))
        frontier = -(-span.stop // self._block_size)
        run = Run(span.start, span.stop, frontier, span.size, self._clock)
        self._runs.append(run)
        return []

    def _wanted(self, run: Run, ahead: int, longest: int) -> list[range]:
        length = max(1, min(longest, ahead // 4) // self._block_size)
        stop = min(self._count, (run.stop + ahead) // self._block_size)
        first = run.frontier
        flights = [range(at, at + length) for at in range(first, stop - length + 1, length)]
        done = flights[-1].stop if flights else first
        if stop == self._count and done < stop:  # what is left before the end
            flights.append(range(done, stop))
        asked = -(-run.stop // self._block_size)
        run.frontier = max(asked, flights[-1].stop if flights else first)
        return flights

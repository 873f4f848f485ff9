"""ExtentMap: which source each byte of an edited file has.

Invariants: extents are sorted, adjacent, not empty and cover [0, size); offsets are offsets in the
file for all three sources. Base bytes are always the front of what the file was made from: a
truncation forgets them for good, growing again gives a hole.

So the whole map is three things: the size, how far the base reaches, and the staged runs. The runs
are kept as their edges (start, stop, start, stop ...) in chunks of bounded length, each holding
whole runs, so that a write costs O(log n) and a small move however many runs there are; a write
right behind the last one only moves its last edge.

Must not know: any I/O, where staged bytes are.
"""

from __future__ import annotations

import enum
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Final, Self

import attrs

from b2mount.model import ByteRange

CHUNK_EDGES: Final = 2048
"""A chunk is split beyond this many edges (a multiple of four: halves hold whole runs). Moving
16 KiB of pointers costs less than finding the place."""


_FIRST: Final = itemgetter(0)


class Source(enum.Enum):
    """Where bytes of an edited file come from."""

    BASE = "base"
    STAGED = "staged"
    HOLE = "hole"


@attrs.frozen
class Extent:
    """A run of bytes with one source."""

    span: ByteRange
    source: Source


@attrs.frozen
class Run:
    """A run of bytes of a sealed file, traced down to where they are: a local file, the object
    version at the bottom, or nowhere (zeros). Offsets are the same in all of them."""

    span: ByteRange
    source: Source
    file: str = ""
    """The local file of a staged run."""


@attrs.define(eq=False)
class ExtentMap:
    """The sources of a file's bytes; a new one is all base."""

    size: int
    _base_stop: int = attrs.field(alias="base_stop")
    _chunks: list[list[int]] = attrs.field(factory=list, alias="chunks")

    @classmethod
    def whole(cls, size: int) -> Self:
        """All bytes are staged."""
        return cls(size, base_stop=0, chunks=[[0, size]] if size else [])

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are staged, and none could ever be others."""
        return not self._base_stop and self._chunks == ([[0, self.size]] if self.size else [])

    @property
    def staged_stop(self) -> int:
        """Where the last staged byte ends; 0 when nothing is staged."""
        return self._chunks[-1][-1] if self._chunks else 0

    def mark_staged(self, span: ByteRange) -> None:
        """These bytes are staged now; the file grows when they lie behind its end."""
        self.mark(span.start, span.stop)

    def mark(self, start: int, stop: int) -> None:
        """As mark_staged, without an object for the span: for the write path."""
        if start >= stop:
            return
        if stop > self.size:
            self.size = stop
        if self._chunks and self._chunks[-1][-1] == start:
            self._chunks[-1][-1] = stop
        else:
            self._insert(start, stop)

    def truncate(self, size: int) -> None:
        """Set the size. What is cut off is forgotten: growing again gives zeros."""
        if size < self.size:
            self._base_stop = min(self._base_stop, size)
            self._cut_runs(size)
        self.size = size

    def cut_base(self, stop: int) -> None:
        """Base bytes reach no further than this."""
        self._base_stop = min(self._base_stop, stop)

    def within(self, span: ByteRange) -> list[Extent]:
        """The extents of this part of the file, cut to it (and to the size)."""
        stop = min(span.stop, self.size)
        found: list[Extent] = []
        position = span.start
        for run_start, run_stop in self._runs_from(span.start):
            if run_start >= stop:
                break
            start = max(run_start, span.start)
            found.extend(self._unstaged(position, start))
            position = min(run_stop, stop)
            found.append(Extent(ByteRange(start, position), Source.STAGED))
        found.extend(self._unstaged(position, stop))
        return found

    @property
    def front(self) -> int:
        """How many of the first bytes are staged, without a gap."""
        start, stop = next(iter(self._runs_from(0)), (0, 0))
        return stop if start == 0 else 0

    @property
    def is_past_base(self) -> bool:
        """Whether the `front` reaches as far as base bytes ever could."""
        return self.front >= self._base_stop

    def all(self) -> list[Extent]:
        """The extents of the whole file."""
        return self.within(ByteRange(0, self.size))

    def copy(self) -> Self:
        """The map as it is now, apart from later changes."""
        return type(self)(self.size, base_stop=self._base_stop, chunks=[list(c) for c in self._chunks])

    def cut(self, size: int) -> Self:
        """A map of the first `size` bytes."""
        front = self.copy()
        front.truncate(size)
        return front

    def to_json(self) -> str:
        """The map as text."""
        edges = [edge for chunk in self._chunks for edge in chunk]
        return json.dumps([self.size, self._base_stop, edges], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What to_json wrote. Raises ValueError, TypeError."""
        size, base_stop, edges = json.loads(text)
        numbers = (0, *edges, size)
        are_numbers = all(type(number) is int for number in (base_stop, *numbers))
        are_runs = are_numbers and len(edges) % 2 == 0 and all(a <= b for a, b in pairwise(numbers))
        if not are_runs or base_stop < 0:
            raise ValueError("not the extents of a file")
        return cls(size, base_stop=base_stop, chunks=_split(edges))

    # -- the runs --------------------------------------------------------------------------

    def _unstaged(self, start: int, stop: int) -> Iterator[Extent]:
        border = min(max(start, self._base_stop), stop)
        if border > start:
            yield Extent(ByteRange(start, border), Source.BASE)
        if stop > border:
            yield Extent(ByteRange(border, stop), Source.HOLE)

    def _runs_from(self, offset: int) -> Iterator[tuple[int, int]]:
        """The staged runs that end behind `offset`, in order."""
        first = max(bisect_right(self._chunks, offset, key=_FIRST) - 1, 0)
        for chunk in self._chunks[first:]:
            begin = bisect_right(chunk, offset) & ~1 if chunk[0] <= offset else 0
            for index in range(begin, len(chunk), 2):
                yield chunk[index], chunk[index + 1]

    def _insert(self, start: int, stop: int) -> None:
        low = max(bisect_right(self._chunks, start, key=_FIRST) - 1, 0)
        high = max(bisect_right(self._chunks, stop, key=_FIRST) - 1, low)
        touched = self._chunks[low : high + 1]
        edges = touched[0] if len(touched) == 1 else [edge for chunk in touched for edge in chunk]
        # An even index is between runs (or at a start, or behind a stop): the new edge is needed.
        # An odd one is inside a run or touches it: the run's own edge serves.
        left, right = bisect_left(edges, start), bisect_right(edges, stop)
        edges[left:right] = [start] * (left % 2 == 0) + [stop] * (right % 2 == 0)
        pieces = [edges] if len(edges) <= CHUNK_EDGES else _split(edges)
        self._chunks[low : high + 1] = pieces

    def _cut_runs(self, size: int) -> None:
        keep = bisect_left(self._chunks, size, key=_FIRST)
        del self._chunks[keep:]
        if self._chunks and self._chunks[-1][-1] > size:
            edges = self._chunks[-1]
            cut = bisect_left(edges, size)
            edges[cut:] = [size] * (cut % 2)


def _split(edges: list[int]) -> list[list[int]]:
    half = CHUNK_EDGES // 2
    return [edges[start : start + half] for start in range(0, len(edges), half)]

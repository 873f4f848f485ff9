"""plan_upload: from where a file's bytes are, and B2's limits, to the requests that make it an object. Pure.

Invariants: parts cover the file in order; there are at least two and at most 10,000; every part
but the last has 5 MB or more, none has more than 5 GB; a copied part lies wholly in the base.

What is sent is kept small: base bytes are copied inside B2 wherever a run of them is long enough
for a part. A run of new bytes that is too short for a part is filled up to one with base bytes
beside it, so that a change of one byte costs one smallest part; new bytes at the end cost nothing
besides, because the last part may be short.

Must not know: any I/O, the store.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from b2mount.errors import TooLarge
from b2mount.model import ByteRange
from b2mount.writing.extents import Run, Source

MINIMUM_PART: Final = 5_000_000
MAXIMUM_PART: Final = 5_000_000_000
MAXIMUM_PARTS: Final = 10_000
MAXIMUM_SIZE: Final = 10_000_000_000_000
COPY_LIMIT: Final = 5_000_000_000
"""b2_copy_file wants a result below 5 GB; from there on a copy goes by parts."""
SINGLE_PUT_LIMIT: Final = 24 * 1024 * 1024
"""Below it a file goes up in one request: at the 25 MB/s of one connection that takes a second,
and starting and finishing a large file costs two round trips and waits for the slowest part."""
SINGLE_EDIT_LIMIT: Final = 10 * 1024 * 1024
"""As much, for a file of which B2 has bytes: these would have to be fetched and sent again."""
SMALLEST_PUT_PART: Final = 8 * 1024 * 1024
"""Above B2's 5 MB, so that a part halved is never too small, and the round trip is a small share."""
ROUNDS: Final = 3
"""Parts for each connection, at least, so that an upload that is cut has something to go on from."""
LARGEST_PUT_PART: Final = 32 * 1024 * 1024
"""What is lost when a part fails. Only a file that would need over 10,000 of them has larger ones."""
PARALLEL_PARTS: Final = 8
COPY_PART: Final = 100_000_000
"""B2's recommended part; several copies at once are faster than one long one."""

STREAM_FROM: Final = 256 * 1024 * 1024
"""A file that has grown beyond this front to back is sent while it grows."""
STREAM_PART: Final = 16 * 1024 * 1024
_SAME_SIZE: Final = 1000
_LARGEST_STREAMED: Final = 4 * 1024 * 1024 * 1024


@attrs.frozen
class WholePut:
    """One upload request with all the bytes."""

    runs: tuple[Run, ...]


@attrs.frozen
class WholeCopy:
    """One copy of the base: only its metadata differs."""


@attrs.frozen
class PutPart:
    """A part that is sent; BASE runs in it have to be read first."""

    span: ByteRange
    runs: tuple[Run, ...]

    @property
    def base_bytes(self) -> int:
        """Bytes that have to be read from B2."""
        return sum(run.span.size for run in self.runs if run.source is Source.BASE)


@attrs.frozen
class CopyPart:
    """A part that B2 makes of the same bytes of the base."""

    span: ByteRange


@attrs.frozen
class Parts:
    """A large file; part numbers are positions, from 1."""

    parts: tuple[PutPart | CopyPart, ...]


UploadPlan = WholePut | WholeCopy | Parts


def plan_upload(runs: Sequence[Run], base_size: int | None) -> UploadPlan:
    """How to make an object of `runs`, which cover a file from 0 on. `base_size` is the size of
    the object that BASE runs refer to. Raises TooLarge."""
    runs = _joined(runs)
    size = runs[-1].span.stop if runs else 0
    if size > MAXIMUM_SIZE:
        raise TooLarge("a file in B2 has at most 10 TB")
    all_base = all(run.source is Source.BASE for run in runs)
    if 0 < size == base_size and all_base and size < COPY_LIMIT:
        return WholeCopy()
    is_new = all(run.source is not Source.BASE for run in runs)
    if size < (SINGLE_PUT_LIMIT if is_new else min(SINGLE_EDIT_LIMIT, SINGLE_PUT_LIMIT)):
        return WholePut(tuple(runs))
    minimum = MINIMUM_PART
    while len(parts := _plan_parts(runs, minimum)) > MAXIMUM_PARTS:
        minimum *= 2
    return Parts(tuple(parts))


def may_need_parts(size: int) -> bool:
    """Whether a file of this size may have been sent in parts."""
    return size >= min(SINGLE_EDIT_LIMIT, SINGLE_PUT_LIMIT)


def is_streamed(front: int) -> bool:
    """Whether a file that is being written is sent meanwhile; `front` bytes of it have no gap."""
    return front > STREAM_FROM


def stream_start(number: int) -> int:
    """Where a part begins of a file that is sent while nobody knows how long it will become. Every
    thousandth part the size doubles, so that 10 TB fit in 10,000 parts."""
    group, place = divmod(number - 1, _SAME_SIZE)
    whole = sum(_SAME_SIZE * _streamed_size(earlier) for earlier in range(group))
    return whole + place * _streamed_size(group)


def _streamed_size(group: int) -> int:
    return min(STREAM_PART << group, _LARGEST_STREAMED)


def plan_streamed(runs: Sequence[Run]) -> Parts | None:
    """The parts of a file that was sent while it grew; None when it is better sent anew: it is too
    short for two parts, or has bytes that are in B2 already."""
    runs = _joined(runs)
    size = runs[-1].span.stop if runs else 0
    if size < 2 * STREAM_PART or any(run.source is Source.BASE for run in runs):
        return None
    cutter = _Cutter(runs)
    parts: list[PutPart] = []
    while (start := stream_start(len(parts) + 1)) < size:
        span = ByteRange(start, min(size, stream_start(len(parts) + 2)))
        parts.append(PutPart(span, cutter.cut(span)))
    return Parts(tuple(parts))


# -- regions: what is sent and what is copied ----------------------------------------------


@attrs.define
class _Region:
    start: int
    stop: int
    copied: bool

    @property
    def size(self) -> int:
        return self.stop - self.start


def _plan_parts(runs: list[Run], minimum: int) -> list[PutPart | CopyPart]:
    regions = _filled(_regions(runs, minimum), minimum)
    sent = sum(region.size for region in regions if not region.copied)
    size = runs[-1].span.stop
    put_size = max(
        SMALLEST_PUT_PART,
        min(sent // (ROUNDS * PARALLEL_PARTS), LARGEST_PUT_PART),
        size // (MAXIMUM_PARTS // 2),
        minimum,
    )
    copied = size - sent
    copy_size = min(max(COPY_PART, copied // PARALLEL_PARTS), MAXIMUM_PART)
    cutter = _Cutter(runs)
    parts: list[PutPart | CopyPart] = []
    for region in regions:
        count = -(-region.size // copy_size) if region.copied else max(1, region.size // put_size)
        if len(regions) == 1:
            count = max(2, count)
        parts.extend(
            CopyPart(span) if region.copied else PutPart(span, cutter.cut(span))
            for span in _divided(region, count)
        )
    return parts


def _regions(runs: list[Run], minimum: int) -> list[_Region]:
    """Runs of bytes to send and to copy, alternating. Short base runs are sent with their
    neighbours, except at the very end, where a part may be short."""
    regions: list[_Region] = []
    for run in runs:
        copied = run.source is Source.BASE and run.span.size >= minimum
        if regions and not copied and not regions[-1].copied:
            regions[-1].stop = run.span.stop
        else:
            regions.append(_Region(run.span.start, run.span.stop, copied))
    tail = runs[-1].span
    last = regions[-1]
    if runs[-1].source is Source.BASE and not last.copied and tail.start - last.start >= minimum:
        last.stop = tail.start
        regions.append(_Region(tail.start, tail.stop, copied=True))
    return regions


def _filled(regions: list[_Region], minimum: int) -> list[_Region]:
    """No region to send but the last is shorter than a part: it takes what it lacks from the
    copied one behind or before it, or swallows the one behind."""
    done: list[_Region] = []
    rest = regions[::-1]
    while rest:
        region = rest.pop()
        if done and not region.copied and not done[-1].copied:
            done[-1].stop = region.stop  # the copied region between them was swallowed
            region = done.pop()
        lack = minimum - region.size
        if region.copied or lack <= 0 or not rest:
            done.append(region)
            continue
        following = rest[-1]
        if following.size - lack >= minimum or (len(rest) == 1 and following.size > lack):
            region.stop = following.start = following.start + lack
        elif done and done[-1].size - lack >= minimum:
            region.start = done[-1].stop = done[-1].stop - lack
        else:
            region.stop = following.stop
            rest.pop()
        done.append(region)
    return done


def _divided(region: _Region, count: int) -> list[ByteRange]:
    edges = [region.start + region.size * i // count for i in range(count + 1)]
    return [ByteRange(a, b) for a, b in itertools.pairwise(edges)]


class _Cutter:
    """Cuts runs at part borders, front to back."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs
        self._index = 0

    def cut(self, span: ByteRange) -> tuple[Run, ...]:
        """The runs of `span`, which lies behind all spans cut before."""
        while self._runs[self._index].span.stop <= span.start:
            self._index += 1
        found = []
        for index in range(self._index, len(self._runs)):
            run = self._runs[index]
            if run.span.start >= span.stop:
                break
            part = run.span.intersect(span)
            found.append(run if part == run.span else Run(part, run.source, run.file))
        return tuple(found)


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Neighbours with one source as one run."""
    joined: list[Run] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last and (last.source, last.file) == (run.source, run.file):
            joined[-1] = attrs.evolve(last, span=ByteRange(last.span.start, run.span.stop))
        elif run.span:
            joined.append(run)
    return joined

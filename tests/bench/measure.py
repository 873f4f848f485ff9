"""What a benchmark found out, as frozen values.

Invariants: a figure is of one row and one peer; a result is a measurement or the reason why there is none.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import attrs

from tests.bench.sampler import Progress


@attrs.frozen
class Traffic:
    """What passed between a peer and the emulator."""

    class_a: int = 0
    class_b: int = 0
    class_c: int = 0
    """Listings count once for each thousand rows begun, as Backblaze bills them."""
    sent: int = 0
    """Bytes of bodies, peer to bucket."""
    received: int = 0
    """Bytes of bodies, bucket to peer."""

    def since(self, before: Traffic) -> Traffic:
        """What came on top of `before`."""
        return Traffic(
            self.class_a - before.class_a,
            self.class_b - before.class_b,
            self.class_c - before.class_c,
            self.sent - before.sent,
            self.received - before.received,
        )


@attrs.frozen
class Measurement:
    """One row of one peer."""

    seconds: float
    """Until the work was done: read, or in the bucket."""
    traffic: Traffic
    """Until the peer was quiet again: what was asked for in vain is paid for too."""
    cpu_seconds: float
    """User and system time of the mount's processes."""
    peak_memory: int
    """Bytes, largest resident size of the mount's processes since the mount began."""
    span: tuple[float, float] | None = None
    """The shortest and the longest round, of a median."""
    progress: Progress = ()
    """Until the work was done; of a median, that of the round in the middle."""


@attrs.frozen
class Failure:
    """Why a peer has no figures in a row."""

    reason: str


Result = Measurement | Failure


def median(results: Sequence[Result]) -> Result:
    """The rounds as one result, figure by figure. One failed round is a failure: a peer that is
    right most of the time has no time to show."""
    measured = [result for result in results if isinstance(result, Measurement)]
    failed = [result for result in results if isinstance(result, Failure)]
    if failed and len(results) > 1:
        return Failure(f"{len(failed)} of {len(results)} rounds: {failed[0].reason}")
    if failed:
        return failed[0]
    return Measurement(
        statistics.median(m.seconds for m in measured),
        _median_traffic([m.traffic for m in measured]),
        statistics.median(m.cpu_seconds for m in measured),
        statistics.median_low(m.peak_memory for m in measured),
        (min(m.seconds for m in measured), max(m.seconds for m in measured)) if measured[1:] else None,
        sorted(measured, key=lambda m: m.seconds)[(len(measured) - 1) // 2].progress,
    )


def _median_traffic(rounds: Sequence[Traffic]) -> Traffic:
    return Traffic(
        statistics.median_low(t.class_a for t in rounds),
        statistics.median_low(t.class_b for t in rounds),
        statistics.median_low(t.class_c for t in rounds),
        statistics.median_low(t.sent for t in rounds),
        statistics.median_low(t.received for t in rounds),
    )

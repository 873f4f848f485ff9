"""Metrics: what a mount does, as Prometheus reads it (`--metrics ADDRESS`).

Invariants: the state of the mount is looked at on the trio side, when somebody asks, and never
otherwise; what is counted here all the time is only the operations of programs.

Must not know: what the operations mean.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

import attrs
import trio
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from b2mount.errors import UsageError
from b2mount.filesystem.status import MountStatus
from b2mount.option_values import Address
from b2mount.threads import Doorway

log = logging.getLogger(__name__)

LATENCIES: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds: from what the cache answers to where --retry-for ends."""
PATIENCE: Final = 10.0
"""Seconds that the mount has for telling its state."""


@attrs.frozen(eq=False)
class OperationCounts:
    """What programs asked for, how long they waited, and what they were told."""

    registry: CollectorRegistry = attrs.field(factory=CollectorRegistry)
    _seconds: Histogram = attrs.field(init=False)
    _errors: Counter = attrs.field(init=False)

    @_seconds.default
    def _make_seconds(self) -> Histogram:
        says = "How long programs waited for an operation on files."
        name, labels = "b2mount_operation_seconds", ["operation"]
        return Histogram(name, says, labels, buckets=LATENCIES, registry=self.registry)

    @_errors.default
    def _make_errors(self) -> Counter:
        says = "Operations that were answered with an error, by its kind."
        name, labels = "b2mount_operation_errors", ["operation", "error"]
        return Counter(name, says, labels, registry=self.registry)

    def observe(self, operation: str, seconds: float, error: str) -> None:
        """An operation was answered with the errno of this name; empty for success."""
        self._seconds.labels(operation).observe(seconds)
        if error:
            self._errors.labels(operation, error).inc()


@attrs.frozen(eq=False)
class StatusCollector(Collector):
    """The state of the mount at the moment when somebody asks."""

    _status: Callable[[], MountStatus]

    def describe(self) -> list[Metric]:
        """Nobody need look at the mount to know that these are no others' metrics."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Called in the HTTP server's thread."""
        status = self._status()
        yield _info(status)
        calls = CounterMetricFamily(
            "b2mount_calls", "Calls to B2 since the mount, by class.", labels=["class"]
        )
        for name, count in sorted(status.since_mount.by_class.items()):
            calls.add_metric([name], count)
        yield calls
        since = status.since_mount
        yield CounterMetricFamily("b2mount_cost_dollars", "Cost since the mount at list price.", since.cost)
        yield CounterMetricFamily("b2mount_received_bytes", "Bytes of objects fetched.", since.bytes_down)
        yield CounterMetricFamily("b2mount_sent_bytes", "Bytes of objects sent.", since.bytes_up)
        yield GaugeMetricFamily("b2mount_cache_bytes", "Bytes of cached blocks on disk.", status.cache_bytes)
        yield GaugeMetricFamily(
            "b2mount_cache_capacity_bytes", "Bytes that cached blocks may take.", status.cache_capacity
        )
        yield CounterMetricFamily("b2mount_cache_hits", "Blocks that the cache had.", status.cache_hits)
        yield CounterMetricFamily(
            "b2mount_cache_misses", "Blocks that the cache had not.", status.cache_misses
        )
        yield from _unsent(status)
        yield GaugeMetricFamily("b2mount_open_files", "Handles that are open.", status.open_files)
        yield GaugeMetricFamily("b2mount_odd_names", "Objects that no path can spell.", status.odd_names)


def _info(status: MountStatus) -> Metric:
    started = GaugeMetricFamily(
        "b2mount_start_time_seconds", "When the mount began, in Unix time.", labels=["source", "mountpoint"]
    )
    started.add_metric([status.source, status.mountpoint], status.started)
    return started


def _unsent(status: MountStatus) -> Iterator[Metric]:
    files: Tally[str] = Tally({"staged": 0, "queued": 0, "uploading": 0, "failed": 0})
    files.update(pending.state for pending in status.pending)
    unsent = GaugeMetricFamily("b2mount_unsent_files", "Files not in B2 yet, by state.", labels=["state"])
    for state, count in sorted(files.items()):
        unsent.add_metric([state], count)
    yield unsent
    left = sum(pending.size - min(pending.size, pending.sent) for pending in status.pending)
    yield GaugeMetricFamily("b2mount_unsent_bytes", "Bytes that are not in B2 yet.", left)


@attrs.frozen(eq=False)
class MetricsServer:
    """Answers `GET /metrics` at an address while `run` runs."""

    _address: Address
    _counts: OperationCounts
    _status: Callable[[], MountStatus]

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        """Tells its port when it answers. Raises UsageError where it can't listen."""
        door = Doorway(trio.lowlevel.current_trio_token())
        self._counts.registry.register(StatusCollector(lambda: door.call(self._status, PATIENCE)))
        host, port = self._address.host, self._address.port
        try:
            server, _ = start_http_server(port, host, self._counts.registry)
        except OSError as error:
            raise UsageError(
                f"metrics: can't listen on {self._address}: {error.strerror or error}"
            ) from error
        with closing(_Closing(server.shutdown, server.server_close)):
            log.info("metrics are at http://%s/metrics", Address(host, server.server_port))
            task_status.started(server.server_port)
            await trio.sleep_forever()


@attrs.frozen
class _Closing:
    _shutdown: Callable[[], None]
    _close: Callable[[], None]

    def close(self) -> None:
        self._shutdown()
        self._close()

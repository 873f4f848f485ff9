"""What Prometheus reads of a mount."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import attrs
import pytest
import trio

from b2mount.control.metrics import MetricsServer, OperationCounts
from b2mount.errors import UsageError
from b2mount.filesystem.status import CallCounts, MountStatus, PendingFile
from b2mount.option_values import Address

COUNTS = CallCounts({"A": 3, "B": 2, "C": 1}, 0.25, 1000, 2000)
STATUS = MountStatus(
    source="b2://bucket",
    mountpoint='/mnt/a "b"',
    pid=1,
    started=1_700_000_000.0,
    moment=None,
    read_only=False,
    missing_capabilities=(),
    pending=(
        PendingFile("salaries.ods", 100, 40, "uploading", None, 0.0),
        PendingFile("b", 10, 0, "queued", None, 0.0),
    ),
    cache_bytes=11,
    cache_capacity=22,
    cache_hits=33,
    cache_misses=44,
    today=COUNTS,
    since_mount=COUNTS,
    odd_names=5,
    open_files=6,
)


async def read(port: int) -> list[str]:
    def get() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as reply:
            return bytes(reply.read())

    return (await trio.to_thread.run_sync(get)).decode().splitlines()


async def test_the_state_is_that_of_the_moment(nursery: trio.Nursery) -> None:
    status = STATUS
    counts = OperationCounts()
    server = MetricsServer(Address("127.0.0.1", 0), counts, lambda: status)
    port = await nursery.start(server.run)
    counts.observe("lookup", 0.02, "")
    counts.observe("lookup", 3.0, "ENOENT")
    lines = await read(port)
    for line in (
        'b2mount_calls_total{class="C"} 1.0',
        "b2mount_cost_dollars_total 0.25",
        "b2mount_received_bytes_total 1000.0",
        "b2mount_sent_bytes_total 2000.0",
        "b2mount_cache_hits_total 33.0",
        'b2mount_unsent_files{state="uploading"} 1.0',
        'b2mount_unsent_files{state="failed"} 0.0',
        "b2mount_unsent_bytes 70.0",
        'b2mount_operation_seconds_bucket{le="0.025",operation="lookup"} 1.0',
        'b2mount_operation_seconds_count{operation="lookup"} 2.0',
        'b2mount_operation_errors_total{error="ENOENT",operation="lookup"} 1.0',
        r'b2mount_start_time_seconds{mountpoint="/mnt/a \"b\"",source="b2://bucket"} 1.7e+09',
    ):
        assert line in lines
    assert "salaries" not in "".join(lines)
    status = attrs.evolve(STATUS, open_files=7)
    assert "b2mount_open_files 7.0" in await read(port)
    nursery.cancel_scope.cancel()


async def test_nobody_answers_when_the_mount_has_gone() -> None:
    async with trio.open_nursery() as nursery:
        server = MetricsServer(Address("127.0.0.1", 0), OperationCounts(), lambda: STATUS)
        port = await nursery.start(server.run)
        nursery.cancel_scope.cancel()
    with pytest.raises(urllib.error.URLError):
        await read(port)


async def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = MetricsServer(Address("127.0.0.1", port), OperationCounts(), lambda: STATUS)
        with pytest.RaisesGroup(UsageError, flatten_subgroups=True) as raised:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
    assert f"can't listen on 127.0.0.1:{port}" in str(raised.value.exceptions[0])

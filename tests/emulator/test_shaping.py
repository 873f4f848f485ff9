"""Rates by the clock of the pace itself; the wire is asked only whether the bytes stay right."""

from __future__ import annotations

import pytest

from b2mount.emulator.server import EmulatorServer
from b2mount.emulator.shaping import LARGEST_QUANTUM as QUANTUM
from b2mount.emulator.shaping import Pace, Shape
from tests.emulator.conftest import Client


def test_a_pace_holds_its_rate() -> None:
    pace, now = Pace(), 100.0
    for _ in range(100):
        now = max(now, pace.reserve(1000, 10_000.0, now))
    assert now == pytest.approx(110.0, abs=0.05)


def test_idle_time_is_not_saved_up() -> None:
    pace = Pace()
    pace.reserve(1000, 10_000.0, 100.0)
    assert pace.reserve(1000, 10_000.0, 200.0) == pytest.approx(200.1, abs=0.05)


def test_no_rate_no_wait() -> None:
    assert Pace().reserve(10**12, None, 5.0) == 5.0


@pytest.mark.parametrize("bad", [{"first_byte_ms": -1}, {"total_bytes_per_second": 0}])
def test_bad_shapes(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Shape(**bad)


def test_bytes_are_right_in_both_directions(client: Client, server: EmulatorServer) -> None:
    data = bytes(range(256)) * (QUANTUM // 100)
    bucket_id = client.create_bucket()["bucketId"]
    server.shape = Shape(first_byte_ms=1, connection_bytes_per_second=50e6, total_bytes_per_second=50e6)
    client.put(bucket_id, "n", data)
    assert client.get("/file/some-bucket/n").body == data
    assert client.get("/file/some-bucket/n", Range=f"bytes={QUANTUM}-").body == data[QUANTUM:]


@pytest.mark.parametrize(
    ("connection", "total", "quantum"),
    [(None, None, 262_144), (25e6, 125e6, 250_000), (2e6, None, 20_000), (None, 1000, 16_384)],
)
def test_a_quantum_is_a_hundredth_of_a_second(
    connection: float | None, total: float | None, quantum: int
) -> None:
    shape = Shape(connection_bytes_per_second=connection, total_bytes_per_second=total)
    assert shape.quantum == quantum

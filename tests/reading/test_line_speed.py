from __future__ import annotations

import pytest

from b2mount.reading.line_speed import LONG, SHORT, LineSpeed
from b2mount.reading.readahead import LIMIT

MIB = 1 << 20


def after(*flights: tuple[int, float]) -> int:
    speed = LineSpeed()
    for size, seconds in flights:
        speed.landed(size, seconds)
    return speed.flight_size


@pytest.mark.parametrize(
    ("flights", "expected"),
    [
        ([], SHORT),
        ([(SHORT, 0.208)], SHORT),  # 40 ms and 25 MB/s
        ([(SHORT, 0.040 + 0.03)], SHORT),  # 40 ms and 140 MB/s
        ([(SHORT, 0.025 + 0.042)], SHORT),  # 25 ms and 100 MB/s
        ([(SHORT, 0.040)], SHORT),  # 40 ms and no limit
        ([(SHORT, 0.010)], LONG),
        ([(SHORT, 0.0)], LONG),
        ([(MIB, 0.008)], LONG),
        ([(128 * 1024, 0.0001)], SHORT),  # out of one buffer
        ([(SHORT, 0.010), *[(LONG, 0.9)] * 15], LONG),  # the machine had other things to do
        ([(SHORT, 0.010), *[(LONG, 0.9)] * 16], SHORT),  # the line has become slow
    ],
)
def test_long_flights_only_where_one_was_faster_than_any_line(
    flights: list[tuple[int, float]], expected: int
) -> None:
    assert after(*flights) == expected


def test_four_long_ones_are_what_a_reader_may_be_ahead() -> None:
    assert 4 * LONG == LIMIT

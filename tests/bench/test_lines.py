"""The table over lines has a place for everything, and says why a figure is missing."""

from __future__ import annotations

from tests.bench.lines import table
from tests.bench.measure import Failure, Measurement, Result, Traffic

DONE = Measurement(1.234, Traffic(), 0.1, 1)


def test_table() -> None:
    found: dict[tuple[str, str, str], Result] = {
        ("read", "ours", "5 ms"): DONE,
        ("read", "ours", "far"): Failure("lost"),
        ("find", "ours", "far"): DONE,
    }
    assert table(found, ["5 ms", "far"]).splitlines() == [
        "| seconds | | 5 ms | far |",
        "| --- | --- | ---: | ---: |",
        "| read | ours | 1.23 | failed |",
        "| find | ours | - | 1.23 |",
        "",
        "read, ours, far: lost",
    ]

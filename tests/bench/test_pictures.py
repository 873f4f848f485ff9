"""Pictures say every figure and every failure in words, and the courses are the samples'."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.drawing import number
from tests.bench.measure import Failure, Measurement, Result, Traffic
from tests.bench.pictures import COURSES, draw_all, rates
from tests.bench.saving import Saved

ROW = COURSES[0][1]


def measured(seconds: float) -> Measurement:
    return Measurement(seconds, Traffic(1, 2, 40, 0, 5_000_000), 1, 1, progress=((0, 0), (0, 5_000_000)))


def test_all_pictures(tmp_path: Path) -> None:
    failed: dict[tuple[str, str], Result] = {("find", "theirs"): Failure("wrong")}
    first = {
        (ROW, "ours"): measured(1.25),
        (ROW, "theirs"): measured(81.0),
        ("find", "ours"): measured(0.001),
    }
    made = draw_all(Saved([], ["ours", "theirs"], [{**first, **failed}]), tmp_path, "svg")
    assert [path.name for path in made] == ["time.svg", "calls.svg", "bytes.svg", "reading.svg"]
    time, calls, moved, course = (path.read_text() for path in made)
    for words in (ROW, "find", "ours", "theirs", " 1.25<", " 81<", " 0.001<", " failed<"):
        assert words in time
    assert calls.count(" 43<") == moved.count(" 5<") == 3
    assert ROW in course


def test_rates_are_of_the_last_half_second() -> None:
    progress = tuple((0, done * 1_000_000) for done in (0, 1, 3, 3, 3, 13, 13))
    assert [round(rate, 6) for _, rate in rates(progress, 1)] == [0, 5, 10, 7.5, 6, 26, 24]
    assert [round(when, 6) for when, _ in rates(progress, 1)][-1] == 0.7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.0123"),
        (1.256, "1.26"),
        (104.3, "104"),
        (2213, "2,213"),
        (1e6, "1 M"),
        (12_345_678, "12.3 M"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text

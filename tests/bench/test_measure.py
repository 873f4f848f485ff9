"""Rounds become one result, and traffic is counted from a moment on."""

from __future__ import annotations

from tests.bench.measure import Failure, Measurement, Traffic, median


def measured(seconds: float, calls: int = 1, memory: int = 10) -> Measurement:
    return Measurement(seconds, Traffic(class_c=calls), seconds / 2, memory)


def test_traffic_since() -> None:
    assert Traffic(5, 6, 7, 80, 90).since(Traffic(1, 2, 3, 4, 5)) == Traffic(4, 4, 4, 76, 85)


def test_median_is_taken_figure_by_figure() -> None:
    rounds = [measured(3.0, 9, 1), measured(1.0, 2, 5), measured(2.0, 4, 3)]
    assert median(rounds) == Measurement(2.0, Traffic(class_c=4), 1.0, 3, span=(1.0, 3.0))


def test_median_of_counts_is_a_count_that_was_seen() -> None:
    middle = median([measured(1.0, calls=2), measured(2.0, calls=5)])
    assert isinstance(middle, Measurement)
    assert middle.traffic.class_c == 2


def test_one_failed_round_is_a_failure() -> None:
    assert median([measured(1.0), Failure("wrong bytes")]) == Failure("1 of 2 rounds: wrong bytes")
    assert median([Failure("wrong bytes")]) == Failure("wrong bytes")

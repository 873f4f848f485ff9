"""A step that hangs is ended by its rescue, and is told apart from one that fails by itself."""

from __future__ import annotations

import threading

import pytest

from tests.bench.watchdog import TimedOut, limit


def test_a_step_in_time_is_left_alone() -> None:
    rescued = threading.Event()
    with limit(60, rescued.set) as deadline:
        deadline.pause(0)
    assert not rescued.is_set()


def test_a_step_that_hangs_is_rescued() -> None:
    rescued = threading.Event()
    with pytest.raises(TimedOut), limit(0.01, rescued.set):
        assert rescued.wait(60)


def test_the_error_that_follows_from_the_rescue_is_the_cause() -> None:
    rescued = threading.Event()

    def read() -> None:
        rescued.wait(60)
        raise ConnectionAbortedError

    with pytest.raises(TimedOut) as caught, limit(0.01, rescued.set):
        read()
    assert isinstance(caught.value.__cause__, ConnectionAbortedError)


def test_an_error_of_the_step_itself_passes() -> None:
    rescued = threading.Event()
    with pytest.raises(FileNotFoundError), limit(60, rescued.set):
        raise FileNotFoundError
    assert not rescued.is_set()


def test_a_loop_that_asks_ends_by_itself() -> None:
    def ask_for_ever() -> None:
        with limit(0.01, lambda: None) as deadline:
            while True:
                deadline.pause(0.001)

    with pytest.raises(TimedOut):
        ask_for_ever()

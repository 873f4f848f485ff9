from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import ByteRange
from b2mount.reading.line_speed import LONG, SHORT
from b2mount.reading.readahead import LIMIT, ReadaheadWindow

BLOCK = 128 * 1024
MIB = 1 << 20
GIB = 1 << 30


def span(start: int, size: int = BLOCK) -> ByteRange:
    return ByteRange(start, start + size)


def wanted(window: ReadaheadWindow, start: int, size: int = BLOCK) -> list[int]:
    return [index for flight in window.after(span(start, size)) for index in flight]


def read_on(window: ReadaheadWindow, start: int, stop: int) -> list[int]:
    return [index for at in range(start, stop, BLOCK) for index in wanted(window, at)]


def test_the_first_read_wants_nothing_beyond_itself() -> None:
    assert wanted(ReadaheadWindow(GIB, BLOCK), 0) == []


def test_the_second_read_in_order_wants_more() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    window.after(span(0))
    flights = window.after(span(BLOCK))
    assert flights[0].start == 1
    assert len(flights) >= 3
    assert flights[-1].stop * BLOCK <= 2 * BLOCK + 8 * 2 * BLOCK


def test_a_long_run_is_ahead_by_the_limit_in_long_flights() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    seen = read_on(window, 0, 64 * MIB)
    assert seen == list(range(1, seen[-1] + 1))
    assert LIMIT - SHORT - BLOCK <= (seen[-1] + 1) * BLOCK - 64 * MIB <= LIMIT
    flights = [flight for at in range(64 * MIB, 96 * MIB, BLOCK) for flight in window.after(span(at))]
    assert {len(flight) * BLOCK for flight in flights} == {SHORT}


def test_a_fast_line_gets_longer_flights() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    read_on(window, 0, 64 * MIB)
    places = range(64 * MIB, 160 * MIB, BLOCK)
    flights = [flight for at in places for flight in window.after(span(at), longest=LONG)]
    assert {len(flight) * BLOCK for flight in flights} == {LONG}
    assert [one.stop for one in flights[:-1]] == [one.start for one in flights[1:]]


def test_a_smaller_limit_is_kept() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    for at in range(0, 64 * MIB, BLOCK):
        for flight in window.after(span(at), 4 * MIB):
            assert flight.stop * BLOCK <= at + BLOCK + 4 * MIB
            assert len(flight) * BLOCK <= MIB


def test_random_reads_want_nothing() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    places = random.Random(4)
    extra = [wanted(window, places.randrange(0, GIB - 65536), 65536) for _ in range(100)]
    assert sum(map(len, extra)) <= 20


def test_two_places_read_in_turns_are_two_runs() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    for at in range(0, 8 * MIB, BLOCK):
        first = wanted(window, at)
        second = wanted(window, 512 * MIB + at)
        assert [index + 512 * MIB // BLOCK for index in first] == second or at == 0
    assert read_on(window, 8 * MIB, 16 * MIB)
    assert read_on(window, 520 * MIB, 528 * MIB)


def test_seeking_away_and_back_goes_on_where_it_was() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    before = read_on(window, 0, 32 * MIB)
    for place in range(20):
        window.after(span(600 * MIB + place * 7 * MIB))
    after = read_on(window, 32 * MIB, 40 * MIB)
    assert after[0] == before[-1] + 1


def test_the_index_at_the_end_is_no_reason_to_fetch() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    assert wanted(window, GIB - 64 * 1024, 64 * 1024) == []
    assert wanted(window, GIB - 22, 22) == []
    assert wanted(window, 0) == []


def test_reads_that_change_places_stay_one_run() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    seen = []
    for at in range(0, 16 * MIB, 2 * BLOCK):
        seen += wanted(window, at + BLOCK) + wanted(window, at)
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) * BLOCK > 32 * MIB


def test_what_was_not_taken_is_wanted_again() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    read_on(window, 0, 8 * MIB)
    flights: list[range] = []
    at = 8 * MIB
    while not flights:
        flights = window.after(span(at))
        at += BLOCK
    window.taken(flights[0].start)
    again = read_on(window, at, at + 8 * MIB)
    assert again[0] == flights[0].start


def test_a_lost_block_is_wanted_again() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    read_on(window, 0, 8 * MIB)
    window.missed(64)
    assert wanted(window, 8 * MIB)[0] == 64


def test_reading_again_what_was_read_wants_nothing() -> None:
    window = ReadaheadWindow(GIB, BLOCK)
    read_on(window, 0, 8 * MIB)
    assert read_on(window, 7 * MIB + 2 * BLOCK, 8 * MIB) == []


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 5 * MIB + 77])
def test_to_the_end_and_not_beyond(size: int) -> None:
    window = ReadaheadWindow(size, BLOCK)
    seen: list[int] = []
    for at in range(0, size, 4096):
        seen += wanted(window, at, min(4096, size - at))
    assert all(0 <= index < -(-size // BLOCK) for index in seen)
    assert len(seen) == len(set(seen))


@given(st.lists(st.tuples(st.integers(0, 63 * MIB), st.integers(1, MIB)), max_size=60))
def test_whatever_is_read_the_bounds_hold(reads: list[tuple[int, int]]) -> None:
    window = ReadaheadWindow(64 * MIB, BLOCK)
    for start, size in reads:
        flights = window.after(span(start, size))
        for before, flight in zip([None, *flights], flights, strict=False):
            assert 0 < len(flight) * BLOCK <= SHORT
            assert before is None or flight.start == before.stop
            assert flight.stop * BLOCK <= 64 * MIB

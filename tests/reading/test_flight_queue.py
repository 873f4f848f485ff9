from __future__ import annotations

from weakref import ref

import pytest

from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.flight import Flight
from b2mount.reading.flight_queue import RESERVED, UNWRITTEN, FlightQueue, FlightQueues
from tests.reading.line import version_of


def flight(number: int = 0) -> Flight:
    return Flight(version_of(1 << 30, str(number)), range(1))


def all_next(queue: FlightQueue, *, may_be_ahead: bool = True) -> list[Flight]:
    found = []
    while (one := queue.next(may_be_ahead=may_be_ahead)) is not None:
        found.append(one)
    return found


def test_at_most_so_many_and_one_more_for_each_that_landed() -> None:
    queue = FlightQueue(3)
    flights = [flight(number) for number in range(5)]
    for one in flights:
        queue.hurry(one)
    assert all_next(queue) == flights[:3]
    queue.landed(flights[0])
    assert all_next(queue) == [flights[3]]


def test_who_waits_goes_first_and_readahead_leaves_room() -> None:
    queue = FlightQueue(RESERVED + 2)
    ahead = [flight(number) for number in range(5)]
    for one in ahead:
        queue.put(one, "reader")
    urgent = flight(9)
    queue.hurry(urgent)
    assert all_next(queue) == [urgent, *ahead[:2]]
    assert not urgent.is_ahead
    assert ahead[0].is_ahead
    more = [flight(number) for number in range(10, 20)]
    for one in more:
        queue.hurry(one)
    assert all_next(queue) == more[: RESERVED - 1]
    queue.landed(ahead[0])
    assert all_next(queue) == [more[RESERVED - 1]]


def test_readahead_that_was_hurried_is_not_kept() -> None:
    queue, flown = FlightQueue(1), []
    for _ in range(100):
        one = flight()
        queue.put(one, "reader")
        queue.hurry(one)
        assert queue.next(may_be_ahead=True) is one
        queue.landed(one)
        flown.append(ref(one))
    assert sum(one() is not None for one in flown) <= 1


def test_readahead_waits_while_it_must() -> None:
    queue = FlightQueue(8)
    one = flight()
    queue.put(one, "reader")
    assert all_next(queue, may_be_ahead=False) == []
    assert all_next(queue) == [one]


def test_owners_take_turns() -> None:
    queue = FlightQueue(100)
    flights = {owner: [flight() for _ in range(3)] for owner in "abc"}
    for owner, theirs in flights.items():
        for one in theirs:
            queue.put(one, owner)
    assert all_next(queue) == [flights[owner][turn] for turn in range(3) for owner in "abc"]


def test_what_an_owner_no_longer_wants_does_not_set_off() -> None:
    queue = FlightQueue(100)
    queue.put(flight(), "a")
    kept = flight()
    queue.put(kept, "b")
    queue.drop("a")
    queue.drop("unknown")
    assert all_next(queue) == [kept]


@pytest.mark.parametrize("mark", ["is_running", "is_over"])
def test_what_runs_or_is_over_is_not_given_again(mark: str) -> None:
    queue = FlightQueue(100)
    urgent, ahead, both = flight(), flight(), flight()
    queue.hurry(urgent)
    queue.put(ahead, "a")
    queue.put(both, "a")
    queue.hurry(both)
    setattr(urgent, mark, True)
    setattr(ahead, mark, True)
    assert all_next(queue) == [both]


# -- several queues ------------------------------------------------------------------------------------

MIB = 1 << 20


def long(size: int = 4 * MIB) -> Flight:
    return Flight(version_of(1 << 30), range(size // BLOCK_SIZE))


def all_of(queues: FlightQueues, unwritten: int = 0) -> list[Flight]:
    found = []
    while (one := queues.next(unwritten)) is not None:
        found.append(one)
    return found


def put(queues: FlightQueues, flights: list[Flight]) -> list[Flight]:
    for one in flights:
        queues.of(one).put(one, "reader")
    return flights


@pytest.mark.parametrize(("short", "expected"), [(0, 2), (4, 3)])
def test_short_flights_have_places_of_their_own_if_there_are_any(short: int, expected: int) -> None:
    queues = FlightQueues(2, short)
    for one in (long(), long(), long(), flight()):
        queues.of(one).hurry(one)
    assert len(all_of(queues)) == expected


@pytest.mark.parametrize("short", [0, 4])
def test_an_owner_is_dropped_from_all(short: int) -> None:
    queues = FlightQueues(8, short)
    put(queues, [long(), flight()])
    queues.drop("reader")
    assert all_of(queues) == []


def test_readahead_and_the_disk_take_turns() -> None:
    queues = FlightQueues(100, 10)
    flights = put(queues, [long(12 * MIB) for _ in range(8)])
    running = all_of(queues, 30 * MIB)
    assert running == flights[:3]  # 66 MiB
    assert all_of(queues, 30 * MIB) == []
    queues.of(running[0]).landed(running[0])
    assert all_of(queues, 42 * MIB) == []  # what has landed waits for the disk instead
    assert all_of(queues, 30 * MIB) == [flights[3]]


def test_what_somebody_waits_for_counts_but_does_not_wait() -> None:
    queues = FlightQueues(100)
    put(queues, [long()])
    urgent = long(12 * MIB)
    queues.of(urgent).hurry(urgent)
    assert all_of(queues, UNWRITTEN) == [urgent]
    assert all_of(queues, UNWRITTEN - 10 * MIB) == []
    queues.of(urgent).landed(urgent)
    assert len(all_of(queues, UNWRITTEN - 10 * MIB)) == 1

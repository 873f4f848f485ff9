"""Many callers, one request; who is cancelled breaks nobody else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.errors import Unavailable
from b2mount.namespace.flights import Flights


async def test_all_who_ask_share_one_request(autojump_clock: object) -> None:
    flights: Flights[int] = Flights()
    started: list[int] = []
    answers: list[int] = []

    async def request() -> int:
        started.append(1)
        await trio.sleep(1)
        return 42

    async def caller() -> None:
        answers.append(await flights.join("key", request))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        assert "key" in flights
    assert answers == [42] * 5
    assert len(started) == 1
    assert "key" not in flights
    assert await flights.join("key", request) == 42
    assert len(started) == 2


async def test_a_cancelled_leader_is_followed_by_the_next(autojump_clock: object) -> None:
    flights: Flights[str] = Flights()
    started: list[str] = []
    answers: list[str] = []
    first = trio.CancelScope()

    async def caller(name: str, scope: trio.CancelScope) -> None:
        async def request() -> str:
            started.append(name)
            await trio.sleep(1)
            return name

        with scope:
            answers.append(await flights.join("key", request))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "first", first)
        await trio.testing.wait_all_tasks_blocked()
        for name in ("second", "third"):
            nursery.start_soon(caller, name, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
    assert started[0] == "first"
    assert len(started) == 2
    assert answers == [started[1]] * 2


async def test_an_error_reaches_all_and_is_not_remembered(autojump_clock: object) -> None:
    flights: Flights[int] = Flights()
    failures: list[str] = []

    async def fail() -> int:
        await trio.sleep(1)
        raise Unavailable("no network")

    async def caller() -> None:
        with pytest.raises(Unavailable) as caught:
            await flights.join("key", fail)
        failures.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(caller)
    assert failures == ["no network"] * 3

    async def succeed() -> int:
        return 1

    assert await flights.join("key", succeed) == 1


async def test_who_watches_goes_on_as_soon_as_enough_is_told(autojump_clock: object) -> None:
    flights: Flights[None] = Flights()
    told: list[int] = []
    seen: list[tuple[float, int]] = []

    async def request() -> None:
        for number in range(3):
            await trio.sleep(1)
            told.append(number)
            flights.stir("key")
        await trio.sleep(1)

    async def watcher(enough: int) -> None:
        await flights.watch("key", lambda: len(told) >= enough)
        seen.append((trio.current_time() - began, len(told)))

    await flights.watch("key", lambda: False)  # nothing is under way
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flights.join, "key", request)
        await trio.testing.wait_all_tasks_blocked()
        for enough in (1, 3, 9):
            nursery.start_soon(watcher, enough)
    assert seen == [(1.0, 1), (3.0, 3), (4.0, 3)]


async def test_who_watches_hears_of_an_error(autojump_clock: object) -> None:
    flights: Flights[None] = Flights()

    async def request() -> None:
        await trio.sleep(1)
        raise Unavailable("no network")

    async def leader() -> None:
        with pytest.raises(Unavailable):
            await flights.join("key", request)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable):
            await flights.watch("key", lambda: False)

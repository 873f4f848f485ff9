"""How fast requests of one kind follow each other, in trio's own time."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from b2mount.errors import Unavailable
from b2mount.store.pace import LONGEST_HOLD, PER_SECOND, Pace, Paces, kind_of


async def moments(pace: Pace, count: int, patience: float = 60) -> list[float]:
    """When so many who want to go at once may go."""
    began, found = trio.current_time(), []

    async def one() -> None:
        await pace.turn(trio.current_time() + patience)
        found.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return sorted(found)


async def test_a_second_s_worth_at_once_and_then_the_rate(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(10)
    found = await moments(pace, 30)
    assert found[:11] == [0] * 11
    assert all(sum(start <= each < start + 1 for each in found[11:]) <= 10 for start in found[11:])
    assert found[-1] == pytest.approx(1.9, abs=0.01)
    await trio.sleep(10)
    assert (await moments(pace, 10))[-1] == 0


async def test_a_hold_is_for_everyone(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(10)
    pace.hold(7)
    found = await moments(pace, 5)
    assert found[0] == pytest.approx(7)
    assert all(later - sooner >= 0.19 for sooner, later in pairwise(found))


async def test_a_hold_is_for_those_who_wait_already(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_after, pace, 0.05)
        found = await moments(pace, 15)
    assert found[10] == 0
    assert all(each >= 7 for each in found[11:])


async def hold_after(pace: Pace, seconds: float) -> None:
    await trio.sleep(seconds)
    pace.hold(7)


async def test_the_rate_recovers(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(100)
    for _ in range(5):
        pace.hold(1)  # five of one bunch say it once
    slow = await moments(pace, 20)
    assert slow[-1] - slow[0] == pytest.approx(19 / 50, rel=0.15)
    await moments(pace, 100)
    await trio.sleep(2)
    assert (await moments(pace, 100))[-1] == 0


async def test_who_can_not_wait_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace()
    pace.hold(3600)
    with pytest.raises(Unavailable):
        await pace.turn(trio.current_time() + 60)
    assert trio.current_time() == 0
    await pace.turn(trio.current_time() + 1000)
    assert trio.current_time() == pytest.approx(LONGEST_HOLD)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("b2_list_file_names", "list"),
        ("b2_list_parts", "list"),
        ("b2_download_file_by_id", "download"),
        ("b2_head_file_by_name", "download"),
        ("b2_upload_part", "upload"),
        ("b2_get_upload_url", "upload"),
        ("b2_authorize_account", "authorize"),
        ("b2_hide_file", "change"),
    ],
)
def test_kinds(call: str, kind: str) -> None:
    assert kind_of(call) == kind


def test_listings_have_a_rate_below_what_b2_allows() -> None:
    paces = Paces()
    assert paces.of("b2_list_file_names") is paces.of("b2_list_file_versions")
    assert paces.of("b2_list_file_names").per_second < paces.of("b2_copy_file").per_second == PER_SECOND

"""How long a verb is tried, in trio's own time."""

from __future__ import annotations

import pytest
import requests
import trio
import trio.testing
from b2sdk._internal import exception as sdk

from b2mount.errors import Unavailable
from b2mount.store.patience import AWAY, Patience, Reach


async def seconds_until_given_up(reach: Reach, error: Exception) -> float:
    began = trio.current_time()
    patience = Patience(60, reach)

    async def try_until_given_up() -> None:
        while True:
            await patience.before_next_try(error)

    with pytest.raises(Unavailable):
        await try_until_given_up()
    return trio.current_time() - began


GONE = requests.ConnectionError("nobody there")
BUSY = sdk.ServiceError("come back later")


async def test_only_the_first_waits_while_b2_is_away(autojump_clock: trio.testing.MockClock) -> None:
    reach = Reach()
    assert await seconds_until_given_up(reach, GONE) == pytest.approx(60)
    assert await seconds_until_given_up(reach, GONE) == 0
    await trio.sleep(AWAY)
    assert await seconds_until_given_up(reach, GONE) == pytest.approx(60)


async def test_an_answer_brings_the_patience_back(autojump_clock: trio.testing.MockClock) -> None:
    reach = Reach()
    await seconds_until_given_up(reach, GONE)
    reach.found()
    assert await seconds_until_given_up(reach, GONE) == pytest.approx(60)


async def test_a_busy_b2_is_not_away(autojump_clock: trio.testing.MockClock) -> None:
    reach = Reach()
    for _ in range(2):
        assert await seconds_until_given_up(reach, BUSY) == pytest.approx(60)

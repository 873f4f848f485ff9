"""The machine sleeps: names that were believed then are not believed for ever."""

from __future__ import annotations

import logging

import attrs
import pytest
import trio

from b2mount.waking import EVERY, Waking, time_asleep


@attrs.define
class Sleeper:
    """A machine."""

    asleep: float = 1000.0
    forgot: int = 0

    async def forget(self) -> None:
        self.forgot += 1


async def test_after_a_night_all_is_asked_again(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sleeper = Sleeper()
    nursery.start_soon(Waking(lambda: 60.0, sleeper.forget, lambda: sleeper.asleep).run)
    await trio.sleep(10 * EVERY)
    assert sleeper.forgot == 0
    sleeper.asleep += 59
    await trio.sleep(10 * EVERY)
    assert sleeper.forgot == 0
    sleeper.asleep += 8 * 3600
    await trio.sleep(10 * EVERY)
    assert sleeper.forgot == 1
    assert "slept for 28800 s" in caplog.text
    nursery.cancel_scope.cancel()


async def test_names_that_nobody_believes_are_not_asked_for_again_and_again(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """With --ttl=0, and two clocks that are read one after the other."""
    sleeper = Sleeper()

    def asleep() -> float:
        sleeper.asleep += 0.001
        return sleeper.asleep

    nursery.start_soon(Waking(lambda: 0.0, sleeper.forget, asleep).run)
    await trio.sleep(100 * EVERY)
    assert sleeper.forgot == 0
    nursery.cancel_scope.cancel()


def test_this_machine_tells() -> None:
    assert time_asleep() > -1

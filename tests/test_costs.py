"""What is counted survives; a budget that is nearly used up begins the economies, once, and a new
period ends them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import attrs
import pytest
import trio
import trio.testing

from b2mount.budget import parse_budget
from b2mount.costs import KEPT_EVERY, LOOKED_EVERY, Costs
from b2mount.store.ledger import Ledger
from b2mount.store.usage_file import NAME, UsageFile
from b2mount.threads import ThreadLane
from tests.conftest import WarningLog

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Clock = trio.testing.MockClock
# noon of the last day of October 2024
NOON = 86_400.0 * 20_027 + 43_200
CALL = 0.004 / 1000


class NoThreads(ThreadLane):
    """An autojump clock does not wait for threads."""

    async def run(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return func(*args)

    run_uncancelled = run


@attrs.define
class Life:
    """A mount's ledger and its costs; time is trio's, from noon on."""

    ledger: Ledger
    costs: Costs
    directory: Path
    economies: list[bool]

    def ask(self, times: int = 1) -> None:
        for _ in range(times):
            self.ledger.called("b2_list_file_names")

    @property
    def calls(self) -> int:
        return self.costs.today.by_class["C"]


async def life(root: Path, name: str = "one", budget: str = "") -> Life:
    directory = root / name
    directory.mkdir(exist_ok=True)
    economies: list[bool] = []
    ledger = Ledger(lambda: NOON + trio.current_time())
    usage, lane = UsageFile(directory, "account"), NoThreads("disk", 1)
    costs = Costs(ledger, usage, parse_budget(budget) if budget else None, economies.append, lane)
    await costs.open()
    return Life(ledger, costs, directory, economies)


async def test_today_survives_an_end_and_the_next_day_does_not_have_it(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    first = await life(tmp_path)
    first.ask(3)
    first.ledger.received(10**9)
    await first.costs.save()
    second = await life(tmp_path)
    second.ask()
    assert second.calls == 4
    assert second.costs.free_calls_left == {"B": 2500, "C": 2496}
    assert second.costs.today.bytes_down == 10**9
    assert second.costs.today.cost == pytest.approx(0.01 + 4 * CALL)
    assert second.costs.since_mount.by_class == {"A": 0, "B": 0, "C": 1}
    await trio.sleep(43_200)
    assert second.calls == 0
    assert (await life(tmp_path)).calls == 0


async def test_a_crash_loses_a_few_seconds(tmp_path: Path, autojump_clock: Clock) -> None:
    first = await life(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.costs.run)
        await trio.sleep(100)
        for _ in range(20):
            first.ask()
            await trio.sleep(1)
        first.ask(5)
        nursery.cancel_scope.cancel()  # no save at the end
    assert 20 - KEPT_EVERY - 1 <= (await life(tmp_path)).calls <= 20


async def test_the_disk_is_left_alone_while_nothing_is_asked(tmp_path: Path, autojump_clock: Clock) -> None:
    one = await life(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.costs.run)
        await trio.sleep(10)
        (one.directory / NAME).unlink()
        await trio.sleep(1000)
        assert not (one.directory / NAME).exists()
        one.ask()
        await trio.sleep(KEPT_EVERY)
        assert (one.directory / NAME).exists()
        nursery.cancel_scope.cancel()


async def test_mounts_of_one_account_have_one_day(
    tmp_path: Path, autojump_clock: Clock, expect_warning: WarningLog
) -> None:
    expect_warning("are used")
    one, two = await life(tmp_path, "one"), await life(tmp_path, "two", f"{5 * CALL:.6f}/day")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.costs.run)
        nursery.start_soon(two.costs.run)
        one.ask(5)
        await trio.sleep(2 * LOOKED_EVERY)
        assert one.calls == two.calls == 5
        assert two.economies == [True]  # the bill is the account's
        assert two.costs.since_mount.cost == 0
        nursery.cancel_scope.cancel()


async def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    one = await life(tmp_path)
    shutil.rmtree(one.directory)
    one.ask()
    await one.costs.save()
    assert one.calls == 1


@pytest.mark.parametrize(("period", "seconds"), [("hour", 3600), ("day", 43_200), ("month", 43_200)])
async def test_a_budget(
    tmp_path: Path,
    autojump_clock: Clock,
    caplog: pytest.LogCaptureFixture,
    expect_warning: WarningLog,
    period: str,
    seconds: int,
) -> None:
    expect_warning("are used")
    caplog.set_level(logging.INFO, "b2mount")
    one = await life(tmp_path, budget=f"{100 * CALL:.6f}/{period}")
    one.ask(79)
    assert one.economies == []
    budget = one.costs.budget
    assert budget is not None
    assert not budget.is_saving
    one.ask(2)
    assert one.economies == [True]
    one.ask(899)  # nothing fails, and it is said once
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"81 % of the budget of $0.0004/{period} are used" in caplog.text
    budget = one.costs.budget
    assert budget is not None
    assert (budget.text, budget.period, budget.is_saving) == (f"$0.0004/{period}", period, True)
    assert budget.spent == pytest.approx(980 * CALL)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.costs.run)
        await trio.sleep(seconds + LOOKED_EVERY)
        assert one.economies == [True, False]
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert f"a new {period}" in caplog.text
        nursery.cancel_scope.cancel()


async def test_a_budget_counts_what_is_free_and_what_is_fetched(
    tmp_path: Path, expect_warning: WarningLog
) -> None:
    expect_warning("are used")
    one = await life(tmp_path, budget="1")
    one.ledger.received(79 * 10**9)
    assert one.economies == []
    one.ledger.received(10**9)
    assert one.economies == [True]


async def test_a_budget_that_was_used_up_before_the_mount(tmp_path: Path, expect_warning: WarningLog) -> None:
    expect_warning("are used")
    first = await life(tmp_path)
    first.ask(10)
    await first.costs.save()
    second = await life(tmp_path, budget=f"{10 * CALL:.6f}/day")
    assert second.economies == [True]

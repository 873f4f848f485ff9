"""Costs: what a mount's requests cost, kept across mounts, and the economies when a budget is near.

Invariants: what was counted is on disk KEPT_EVERY seconds later, and at the end; nothing fails
because of it, or because of a budget. Mounts of one account that have one cache directory know of each
other's costs within LOOKED_EVERY seconds: their day, and their budgets, are the account's.

Must not know: what the economies are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs
import trio

from b2mount.budget import Budget, Period
from b2mount.filesystem.status import BudgetStatus, CallCounts
from b2mount.store.ledger import Ledger, Usage
from b2mount.store.usage_file import UsageFile
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

KEPT_EVERY: Final = 5.0
LOOKED_EVERY: Final = 60.0
NEAR: Final = 0.8
"""The part of a budget from which on a mount saves."""


@attrs.define(eq=False)
class Costs:
    """The costs of one mount. Open it before anything is asked of it."""

    _ledger: Ledger
    _file: UsageFile
    _budget: Budget | None
    _economize: Callable[[bool], None]
    """Told once when economies begin, and once when they end; in the middle of some request, so it may
    only take note."""
    _disk: ThreadLane
    _is_saving: bool = attrs.field(init=False, default=False)
    _changed: trio.Event = attrs.field(init=False, factory=trio.Event)
    _saving: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    async def open(self) -> None:
        """Take up what earlier mounts of today have counted."""
        self._ledger.restore(await self._disk.run(self._file.read))
        self._ledger.elsewhere = await self._disk.run(self._file.read_others)
        self._ledger.counted = self._counted
        self._counted()

    async def run(self) -> None:
        """Keep what is counted, until cancelled."""
        while True:
            with trio.move_on_after(LOOKED_EVERY):
                await self._changed.wait()
            if self._changed.is_set():
                await self.save()
                await trio.sleep(KEPT_EVERY)
            self._ledger.elsewhere = await self._disk.run(self._file.read_others)
            self._check()

    async def save(self) -> None:
        """It is on disk when this returns, if the disk takes it."""
        async with self._saving:
            self._changed = trio.Event()
            try:
                await self._disk.run_uncancelled(self._file.write, self._ledger.periods())
            except OSError as error:
                log.debug("what was asked of B2 could not be noted: %s", error)

    # -- what status shows ---------------------------------------------------------------------

    @property
    def today(self) -> CallCounts:
        """Of all mounts of the account in this cache directory, since 00:00 UTC."""
        return _counts(self._ledger.used(Period.DAY))

    @property
    def since_mount(self) -> CallCounts:
        """Of this mount alone."""
        return _counts(self._ledger.total)

    @property
    def free_calls_left(self) -> dict[str, int]:
        """Today, by class, if nothing else uses the account."""
        return self._ledger.used(Period.DAY).free_left

    @property
    def budget(self) -> BudgetStatus | None:
        """None without one."""
        if self._budget is None:
            return None
        self._check()
        return BudgetStatus(
            str(self._budget),
            self._budget.dollars,
            self._budget.period.value,
            self._ledger.used(self._budget.period).price,
            self._is_saving,
        )

    # -- inside --------------------------------------------------------------------------------

    def _counted(self) -> None:
        self._changed.set()
        self._check()

    def _check(self) -> None:
        """Begin or end the economies."""
        if self._budget is None:
            return
        spent = self._ledger.used(self._budget.period).price
        if (spent >= NEAR * self._budget.dollars) == self._is_saving:
            return
        self._is_saving = not self._is_saving
        self._economize(self._is_saving)
        if self._is_saving:
            log.warning(
                "%.0f %% of the budget of %s are used: until the %s is over (UTC), names are believed longer"
                " and nothing is fetched ahead; everything goes on working",
                100 * spent / self._budget.dollars,
                self._budget,
                self._budget.period,
            )
        else:
            log.info("a new %s: the mount saves no more for its budget", self._budget.period)


def _counts(usage: Usage) -> CallCounts:
    return CallCounts(usage.by_class, usage.price, usage.bytes_down, usage.bytes_up)

"""However long a page is: no more than a few rows are gone through before others have their turn, and what
was gone through is there for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from b2mount.namespace.listing import Listing, passed
from b2mount.namespace.overlay import Record, _Level
from b2mount.namespace.planner import LONGEST_PAGE
from b2mount.store.interface import ObjectPage
from tests.namespace.lives import Lives
from tests.namespace.world import WatchedStore, names_of

CROWD = 12_000
FEW = 256
"""Rows that take 5 ms."""


class Steps(trio.abc.Instrument):
    """How many rows went into or out of listings in each step of a task, for which nobody else is heard."""

    def __init__(self) -> None:
        self.rows = [0]

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.rows.append(0)

    def counted(self, method: Callable[..., object], size: Callable[..., int]) -> Callable[..., object]:
        def call(listing: Listing, *arguments: object) -> object:
            self.rows[-1] += size(*arguments)
            return method(listing, *arguments)

        return call


@pytest.fixture
async def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    found = Steps()
    sizes: dict[str, Callable[..., int]] = {
        "absorb": lambda level: len(level.entries),
        "recall": lambda rows, *_: len(rows),
        "packed": lambda first, last: last - first,
    }
    for name, size in sizes.items():
        monkeypatch.setattr(Listing, name, found.counted(getattr(Listing, name), size))
    trio.lowlevel.add_instrument(found)
    return found


@pytest.mark.parametrize("key", ["", "dir{0:03}/"])
async def test_a_long_page_is_gone_through_in_small_steps(key: str, steps: Steps, tmp_path: Path) -> None:
    """Of one directory, and of many; also what is kept of it, and what is read again."""
    lives = Lives(tmp_path, WatchedStore(LONGEST_PAGE))
    for number in range(CROWD):
        lives.store.add(f"{key.format(number // 50)}{number:05}")
    await lives.mount()
    assert len(await lives.walk()) >= CROWD
    await lives.remount()
    assert await lives.walk_costs() == 0
    assert sum(steps.rows) >= 3 * CROWD
    assert max(steps.rows) <= FEW


async def test_a_reader_goes_on_before_all_of_a_page_is_gone_through() -> None:
    """The kernel keeps a directory locked while somebody waits in readdir."""
    store = WatchedStore()
    for number in range(2000):
        store.add(f"{number:05}")
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        await trio.testing.wait_all_tasks_blocked()
        stream = names.children(names.root)
        await stream.get(0)
        store.gate = trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.calls) == 2  # the next page is on its way
        assert not stream.ready(1000)
        store.gate.set()
        await stream.get(1000)
        assert not stream.ready(1000 + FEW)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.ready(1999)
        nursery.cancel_scope.cancel()


class Limits(WatchedStore):
    """Notes how many rows are asked for."""

    def __init__(self) -> None:
        super().__init__(LONGEST_PAGE)
        self.limits: list[int] = []

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        self.limits.append(limit)
        return await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)


async def test_pages_are_short_while_others_ask_for_names(autojump_clock: trio.testing.MockClock) -> None:
    store = Limits()
    for number in range(16_000):
        store.add(f"{number:05}")
    names = names_of(store)
    stream = names.children(names.root)
    await stream.get(7999)
    store.limits.clear()
    await stream.get(8000)
    assert store.limits == [LONGEST_PAGE]
    assert (await names.lookup(names.root, "15999")).path.name == "15999"
    store.limits.clear()
    await stream.get(12_000)
    assert store.limits == [1000]
    await trio.sleep(10)
    await stream.get(13_000)
    assert store.limits == [1000, LONGEST_PAGE]


names_there = st.lists(
    st.text("a-/b!", min_size=1, max_size=3).map(lambda t: t.replace("/", "0")), unique=True
)


@given(names=names_there, before=st.text("a-/b", max_size=3), cursor=st.none() | st.text("a-/b", max_size=4))
def test_no_name_is_missed_that_a_page_tells_of(names: list[str], before: str, cursor: str | None) -> None:
    """Of a page from one cursor to another: all names that it has passed, also those before the first."""
    level = _Level()
    for name in names:
        level.put(name, Record(None, None, is_pending=False))
    told = {name for name in names if passed(cursor, name) and (not before or not passed(before, name))}
    assert told <= set(level.between(before, cursor))
    for name in names[::2]:
        level.drop(name)
    assert told - set(names[::2]) <= set(level.between(before, cursor)) <= set(names[1::2])

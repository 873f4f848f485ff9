"""Changes of attributes: one copy inside B2 for all that a program changes in one go. No kernel."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import StoreFailure
from b2mount.model import AttributeChange
from b2mount.writing.recorder import GATHERING, LONGEST_GATHERING
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world

SECOND = 1_000_000_000


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


@pytest.fixture
async def w(store: FaultyStore, tmp_path: Path, mock_clock: trio.testing.MockClock) -> AsyncIterator[World]:
    async with world(store, tmp_path) as w:
        await w.write("file", b"hello")
        yield w


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what threads do, in a time that stands still."""
    for _ in range(2000):
        if condition():
            return
        await trio.to_thread.run_sync(time.sleep, 0.005)
    raise AssertionError("it never became true")


async def change(w: World, path: str, **changes: int) -> None:
    await w.fs.setattr((await w.node(path)).number, AttributeChange(**changes), size=None, fh=None)


def carried(memory: MemoryStore, key: str) -> dict[str, str]:
    return dict(memory.newest(key).info)


async def test_a_burst_is_one_copy_with_the_last_word(
    w: World, store: FaultyStore, memory: MemoryStore, mock_clock: trio.testing.MockClock
) -> None:
    await change(w, "file", mode=0o600)
    await change(w, "file", uid=7, gid=8)
    mock_clock.jump(GATHERING / 2)
    await change(w, "file", modified_ns=5 * SECOND)
    assert store.calls["copy"] == 0
    assert (await w.node("file")).attributes.mode == 0o600, "seen here at once"
    mock_clock.jump(GATHERING)
    await until(lambda: not w.fs.pending())
    assert (store.calls["put"], store.calls["copy"], store.calls["read_range"]) == (1, 1, 0)
    attributes = (await w.node("file")).attributes
    assert (attributes.mode, attributes.uid, attributes.gid) == (0o600, 7, 8)
    assert carried(memory, "file")["src_last_modified_millis"] == "5000"


async def test_who_never_stops_changing_is_not_waited_for(
    w: World, store: FaultyStore, mock_clock: trio.testing.MockClock
) -> None:
    for step in range(int(LONGEST_GATHERING / GATHERING * 2)):
        assert store.calls["copy"] == 0
        await change(w, "file", mode=0o600 + step)
        mock_clock.jump(GATHERING / 2)
    await until(lambda: store.calls["copy"] == 1)


async def test_a_rename_takes_the_change_along_and_is_in_b2_when_it_returns(
    w: World, store: FaultyStore, memory: MemoryStore
) -> None:
    """As rsync does it: write a temporary file, give it its attributes, rename it."""
    await change(w, "file", modified_ns=7 * SECOND)
    await change(w, "file", mode=0o640)
    await w.rename("file", "final")
    assert memory.contents() == {"final": b"hello"}
    assert carried(memory, "final")["src_last_modified_millis"] == "7000"
    assert (store.calls["put"], store.calls["copy"], store.calls["hide"]) == (1, 1, 1)


async def test_a_close_waits_for_the_change_too(w: World, store: FaultyStore) -> None:
    fh = await w.open("file", os.O_RDWR)
    await change(w, "file", mode=0o640)
    await w.close(fh)
    assert store.calls["copy"] == 1


async def test_what_is_written_then_goes_up_with_it(
    w: World, store: FaultyStore, memory: MemoryStore
) -> None:
    await change(w, "file", mode=0o640)
    fh = await w.open("file", os.O_RDWR)
    await w.fs.write(fh, 0, b"J")
    await w.close(fh)
    assert memory.contents() == {"file": b"Jello"}
    assert (store.calls["put"], store.calls["copy"]) == (2, 0)
    assert "100640" in carried(memory, "file")["posix"]


async def test_what_is_removed_then_is_never_copied(
    w: World, store: FaultyStore, memory: MemoryStore, mock_clock: trio.testing.MockClock
) -> None:
    await change(w, "file", mode=0o640)
    await w.unlink("file")
    mock_clock.jump(2 * LONGEST_GATHERING)
    await trio.testing.wait_all_tasks_blocked()
    assert memory.contents() == {}
    assert store.calls["copy"] == 0


async def test_a_crash_in_between_loses_nothing(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with world(store, tmp_path) as w:
        await w.write("file", b"hello")
        await change(w, "file", mode=0o604)
    assert store.calls["copy"] == 0
    async with world(store, tmp_path) as w:
        assert (await w.node("file")).attributes.mode == 0o604
        await w.fs.flush_path()
    assert (store.calls["put"], store.calls["copy"], store.calls["read_range"]) == (1, 1, 0)
    assert "100604" in carried(memory, "file")["posix"]


async def test_a_rename_that_can_not_arrive_is_done_here_and_arrives_later(
    w: World, store: FaultyStore, memory: MemoryStore, expect_warning: WarningLog
) -> None:
    expect_warning("stays staged")
    await change(w, "file", mode=0o640)
    store.fail("copy", StoreFailure("no"))
    await w.rename("file", "final")
    assert await w.names() == ["final"]
    assert memory.contents() == {}
    await w.fs.flush_path()
    await until(lambda: not w.fs.pending())
    assert memory.contents() == {"final": b"hello"}


async def test_a_change_of_attributes_costs_a_question_and_a_copy(w: World, store: FaultyStore) -> None:
    await change(w, "file", mode=0o600)
    await w.fs.flush_path()
    await trio.testing.wait_all_tasks_blocked()
    assert store.calls["list_versions"] == 0
    assert (store.calls["stat"], store.calls["copy"]) == (1, 1)

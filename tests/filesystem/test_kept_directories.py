"""A big directory that is emptied for longer than what is known of it lasts stays, as an empty one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import NotFound, Unavailable
from b2mount.model import ObjectMetadata, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.world import World, world

COUNT = 1500
TTL = 60.0
PLACEHOLDER = "d/.bzEmpty"


@pytest.fixture
async def store() -> FaultyStore:
    memory = MemoryStore("bucket")
    for number in range(COUNT):
        await memory.put(ObjectPath("bucket", f"d/{number:04}"), literal(b"x"), ObjectMetadata())
    return FaultyStore(memory)


def contents(store: FaultyStore) -> dict[str, bytes]:
    assert isinstance(store.inner, MemoryStore)
    return store.inner.contents()


async def empty(w: World, clock: trio.testing.MockClock, names: list[str]) -> None:
    """As `rm d/*` does, slowly."""
    for number, name in enumerate(names):
        if number % 400 == 399:
            clock.jump(TTL + 1)
        await w.unlink(f"d/{name}")


@pytest.mark.parametrize("deletes", [False, True])
async def test_its_placeholder_is_written(
    store: FaultyStore, tmp_path: Path, mock_clock: trio.testing.MockClock, *, deletes: bool
) -> None:
    async with world(store, tmp_path, ttl=TTL, deletes=deletes) as w:
        names = await w.names("d")
        assert len(names) == COUNT
        before = store.calls["list_objects"]
        await empty(w, mock_clock, names)
        assert contents(store) == {PLACEHOLDER: b""}
        assert store.calls["list_objects"] - before < 20
        assert await w.names("d") == []
    async with world(store, tmp_path / "again", ttl=TTL) as w:
        assert await w.names("d") == []


async def test_one_of_others_keeps_it(
    store: FaultyStore, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with world(store, tmp_path, ttl=TTL) as w:
        names = await w.names("d")
        await store.inner.put(ObjectPath("bucket", "d/theirs"), literal(b"theirs"), ObjectMetadata())
        await empty(w, mock_clock, names)
        assert contents(store) == {"d/theirs": b"theirs"}


async def test_a_placeholder_that_is_there_is_enough(
    store: FaultyStore, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with world(store, tmp_path, ttl=TTL) as w:
        names = await w.names("d")
        await store.inner.put(ObjectPath("bucket", PLACEHOLDER), literal(b""), ObjectMetadata())
        before = store.calls["put"]
        await empty(w, mock_clock, names)
        assert contents(store) == {PLACEHOLDER: b""}
        assert store.calls["put"] == before


async def test_the_removal_is_done_also_where_nobody_can_say_what_is_left(
    store: FaultyStore,
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
    expect_warning: Callable[[str], None],
) -> None:
    expect_warning("b2://bucket/d/ may be empty now")
    async with world(store, tmp_path, ttl=TTL) as w:
        names = await w.names("d")
        await empty(w, mock_clock, names[:-1])
        directory, last = (await w.node("d")).number, names[-1]
        hold = store.hold("hide")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.unlink, directory, last)
            await hold.reached.wait()
            mock_clock.jump(TTL + 1)
            store.fail("list_objects", Unavailable("no network"))
            hold.release.set()
        assert contents(store) == {}
        with pytest.raises(NotFound):
            await w.fs.lookup(directory, last)

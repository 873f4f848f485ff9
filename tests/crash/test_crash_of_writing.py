"""The process dies at every durable step and at every request; nothing that had returned is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.crash.scenario import (
    State,
    cut_the_power,
    live_and_die,
    load,
    promised,
    small_parts,
)
from tests.writing.world import open_world


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory where there is one: hundreds of lives, a dozen fsyncs in each."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


async def next_mount(directory: Path) -> State:
    store = load(directory / "b2")
    async with open_world(directory, store, running=False) as world:
        await world.mover.replay()
        await world.write_back.recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await world.write_back.flush()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert world.local_files() == []
        assert await world.journal.replay() == []
        assert await world.journal.moves() == []
    assert await store.list_unfinished("bucket", "") == (), "nothing unfinished is left in B2"
    return store.contents()


def check(directory: Path, step: int) -> None:
    returned, begun = promised(directory)
    with small_parts():
        found = trio.run(next_mount, directory)
    for key in returned.keys() | begun.keys() | found.keys():
        allowed = {returned.get(key), begun.get(key)}
        assert found.get(key) in allowed, f"{key} after a death at step {step}"


@pytest.mark.parametrize("waits", [True, False], ids=["close waits", "write-back"])
@pytest.mark.parametrize("power", [False, True], ids=["SIGKILL", "power cut"])
def test_death_at_every_step(place, waits, power):
    whole = place / "whole"
    whole.mkdir()
    steps = live_and_die(whole, None, waits=waits)
    assert steps > 80
    check(whole, 0)
    for fatal in range(1, steps + 1):
        directory = place / str(fatal)
        directory.mkdir()
        live_and_die(directory, fatal, waits=waits)
        if power:
            cut_the_power(directory)
        check(directory, fatal)

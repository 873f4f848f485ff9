"""Versions that unsent files stand on outlast every way of deleting for good. No kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from b2mount.errors import NotPermitted
from b2mount.model import AttributeChange, ObjectMetadata, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.times import times
from tests.filesystem.world import World, world


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def renamed_on_the_way(w: World) -> None:
    """`new` is to be a copy of what `old` was, which B2 has not made yet."""
    await w.write("old", b"bytes")
    await w.fs.flush_path()
    await w.fs.setattr((await w.node("old")).number, AttributeChange(mode=0o600), size=None, fh=None)
    await w.rename("old", "new")


@pytest.mark.parametrize("is_open", [False, True])
async def test_who_deletes_a_new_file_of_the_old_name(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, *, is_open: bool
) -> None:
    async with world(store, tmp_path, waits=False, deletes=True) as w:
        await renamed_on_the_way(w)
        await w.write("old", b"another")
        await w.fs.flush_path("old")
        fh = await w.open("old") if is_open else None
        await w.unlink("old")
        if fh is not None:
            await w.close(fh)
        await w.fs.flush_path()
        assert memory.contents() == {"new": b"bytes"}
        assert await w.read("new") == b"bytes"


async def test_who_empties_the_trash(memory: MemoryStore, tmp_path: Path) -> None:
    async with times(memory, tmp_path, waits=False) as time:
        await renamed_on_the_way(time.live)
        with pytest.raises(NotPermitted, match="unsent"):
            await time.rm(".b2/trash/old")
        await time.live.fs.flush_path()
        assert memory.contents() == {"new": b"bytes"}
        await time.rm(".b2/trash/old")
        assert await time.read("new") == b"bytes"
        assert await time.names(".b2/trash") == []


async def test_what_a_crash_left_unsent_is_known_before_anything_superseded_goes(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path, waits=False, keep=1) as w:
        store.hold("copy")
        await renamed_on_the_way(w)
        await w.write("old", b"another")
        await w.fs.flush_path("old")
    later = FaultyStore(memory)
    hold = later.hold("copy")
    async with world(later, tmp_path, waits=False, keep=1) as w:
        await hold.reached.wait()
        await trio.sleep(0.1)
        hold.release.set()
        await w.fs.flush_path()
        assert memory.contents() == {"old": b"another", "new": b"bytes"}


async def test_what_is_there_again_is_not_removed_from_the_trash(memory: MemoryStore, tmp_path: Path) -> None:
    async with times(memory, tmp_path, waits=False) as time:
        await time.live.write("old", b"bytes")
        await time.live.fs.flush_path()
        await time.rm("old")
        assert await time.names(".b2/trash") == ["old"]
        await memory.put(ObjectPath("bucket", "old"), literal(b"another"), ObjectMetadata())
        with pytest.raises(NotPermitted, match="again"):
            await time.rm(".b2/trash/old")
        assert memory.contents() == {"old": b"another"}
        assert await time.names(".b2/trash") == []

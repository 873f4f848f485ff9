"""Files that are sent while they are written, seen from their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.writing import upload_plan
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world
from tests.writing.world import InlineLane

PART = 100


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SINGLE_PUT_LIMIT": 64, "STREAM_FROM": 3 * PART, "STREAM_PART": PART}.items():
        monkeypatch.setattr(upload_plan, name, value)


async def write(w: World, fh: int, parts: range) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    for number in parts:
        await w.fs.write(fh, number * PART, bytes([number]) * PART)
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("how", ["unlink", "rename"])
async def test_what_has_lost_its_name_is_not_sent_ahead(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """A sort's temporary file of a terabyte, say."""
    memory = MemoryStore(minimum_part_size=16)
    store = FaultyStore(memory)
    async with world(store, tmp_path, lane=InlineLane("disk", 4)) as w:
        fh = await w.create("file")
        await write(w, fh, range(8))
        assert store.calls["put_part"] == 8
        if how == "unlink":
            await w.unlink("file")
        else:
            await w.write("other", b"other")
            await w.rename("other", "file")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await memory.list_unfinished("bucket", "") == ()
        await write(w, fh, range(8, 16))
        assert store.calls["put_part"] == 8
        assert await w.fs.read(fh, 0, 50) == bytes(50)
        await w.close(fh)
    assert set(memory.contents()) <= {"file"}

"""truncate(2), which has no handle: the file is nobody's while it waits for something, and B2 has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.filesystem.content import FileContent
from b2mount.model import Action, AttributeChange
from b2mount.writing.journal import Journal
from b2mount.writing.recorder import Recorder
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world
from tests.writing.world import InlineLane


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def bucket(store: FaultyStore) -> dict[str, bytes]:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    return {key: data for key, data in inner.contents().items() if not key.endswith(".bzEmpty")}


async def cut(w: World, number: int, size: int) -> None:
    await w.fs.setattr(number, AttributeChange(), size=size, fh=None)


def content(w: World, number: int) -> FileContent:
    """Of a file that is open, or not in B2."""
    found = w.fs._committer.known(w.namespace.inode(number))
    assert found is not None
    return found


async def test_while_a_directory_is_renamed_whose_file_is_being_sent(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path / "here", waits=False) as w:
        await w.mkdir("d")
        hold = store.hold("put")
        await w.write("d/f", b"0123456789")
        await hold.reached.wait()
        number = (await w.node("d/f")).number
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "d", "e")
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(cut, w, number, 5)
            await trio.testing.wait_all_tasks_blocked(0.01)
            hold.release.set()
        await w.fs.flush_path()
        assert bucket(store) == {"e/f": b"01234"}
        assert await w.read("e/f") == b"01234"
        assert w.fs.pending() == ()


@pytest.mark.parametrize("size", [0, 5, 20])
async def test_when_the_last_reader_leaves_meanwhile(store: FaultyStore, tmp_path: Path, size: int) -> None:
    async with world(store, tmp_path) as w:
        await w.write("f", b"0123456789")
        fh = await w.open("f")
        number = (await w.node("f")).number
        async with trio.open_nursery() as nursery, content(w, number).lock:  # as an exchange has it
            nursery.start_soon(cut, w, number, size)
            await trio.testing.wait_all_tasks_blocked()
            await w.close(fh)
        assert bucket(store) == {"f": b"0123456789"[:size].ljust(size, b"\0")}
        assert len(await w.read("f")) == (await w.node("f")).attributes.size == size


@pytest.mark.parametrize("deletes", [False, True])
async def test_when_it_is_removed_and_closed_meanwhile(
    store: FaultyStore, tmp_path: Path, *, deletes: bool
) -> None:
    """Through /proc/PID/fd, say. Nothing of it stays, here or there."""
    async with world(store, tmp_path, deletes=deletes) as w:
        await w.write("f", b"0123456789")
        fh = await w.open("f")
        number = (await w.node("f")).number
        async with trio.open_nursery() as nursery, content(w, number).lock:
            nursery.start_soon(cut, w, number, 5)
            await trio.testing.wait_all_tasks_blocked()
            await w.unlink("f")
            await w.close(fh)
        assert bucket(store) == {}
        left = (await store.list_versions("bucket", "f")).versions
        assert any(version.action is Action.UPLOAD for version in left) is not deletes
        assert w.fs.pending() == ()
        assert w.fs._committer.known(w.namespace.inode(number)) is None
    assert not list((tmp_path / "staging").iterdir())


async def test_whoever_opens_it_when_b2_has_it_writes_to_the_file_that_others_see(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut is in B2, and only its record is still to go."""
    retire, retiring, may_go_on = Recorder.retire, trio.Event(), trio.Event()

    async def slowly(*arguments) -> None:
        retiring.set()
        await may_go_on.wait()
        await retire(*arguments)

    async with world(store, tmp_path) as w:
        await w.write("f", b"0123456789")
        number = (await w.node("f")).number
        monkeypatch.setattr(Recorder, "retire", slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut, w, number, 5)
            await retiring.wait()
            fh = await w.open("f", os.O_WRONLY)
            may_go_on.set()
        await w.fs.write(fh, 0, b"new")
        assert await w.read("f") == b"new34"
        await w.close(fh)
        assert bucket(store) == {"f": b"new34"}


@pytest.mark.parametrize("has_writer", [False, True])
async def test_a_cut_that_can_not_be_recorded_keeps_nothing_from_b2(
    store: FaultyStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: object,
    *,
    has_writer: bool,
) -> None:
    """What was closed before goes on its way when its time has come, as long as it was."""

    async def fails(*_: object) -> None:
        raise OSError(28, "full")

    async with world(store, tmp_path, waits=False, delay=30, lane=InlineLane("disk", 4)) as w:
        await w.write("f", b"0123456789")
        number = (await w.node("f")).number
        fh = await w.open("f", os.O_WRONLY) if has_writer else None
        with monkeypatch.context() as broken:
            broken.setattr(Journal, "append", fails)
            with pytest.raises(OSError, match="full"):
                await cut(w, number, 5)
            await trio.sleep(60)
        assert bucket(store) == {"f": b"0123456789"}
        assert w.fs.pending() == ()
        assert await w.read("f") == b"0123456789"
        await cut(w, number, 5)
        if fh is not None:
            await w.close(fh)
        await w.fs.flush_path()
        assert bucket(store) == {"f": b"01234"}


async def test_a_cut_that_can_not_be_recorded_of_a_file_whose_earlier_close_arrives_meanwhile(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written since is still there."""
    hold = store.hold("put")

    async def fails(*_: object) -> None:
        hold.release.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        raise OSError(28, "full")

    async with world(store, tmp_path, waits=False, lane=InlineLane("disk", 4)) as w:
        await w.write("f", b"0123456789")
        await hold.reached.wait()
        fh = await w.open("f", os.O_RDWR)
        await w.fs.write(fh, 0, b"new")
        await w.fs.fsync(fh)
        with monkeypatch.context() as broken:
            broken.setattr(Journal, "append", fails)
            with pytest.raises(OSError, match="full"):
                await cut(w, (await w.node("f")).number, 5)
        assert await w.fs.read(fh, 0, 20) == b"new3456789"
        await w.close(fh)
        await w.fs.flush_path()
        assert bucket(store) == {"f": b"new3456789"}

"""Changes of attributes of what has no bytes, directories above all: one request for all that a program
changes in one go, and never the loss of one. No kernel."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import AccessDenied, StoreFailure
from b2mount.model import Attributes, Kind, ObjectPath
from b2mount.writing.recorder import GATHERING
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.test_bursts import SECOND, carried, change, until
from tests.filesystem.world import ME, ROOT, World, world


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


@pytest.fixture
async def w(store: FaultyStore, tmp_path: Path, mock_clock: trio.testing.MockClock) -> AsyncIterator[World]:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        yield w


async def sent(w: World, clock: trio.testing.MockClock) -> None:
    clock.jump(2 * GATHERING)
    await until(lambda: not w.fs.pending())


async def mode_elsewhere(memory: MemoryStore, directory: Path, path: str) -> int:
    """As another machine sees it, once it has listed the directory."""
    async with world(memory, directory) as other:
        await other.names(path if (await other.node(path)).attributes.kind is Kind.DIRECTORY else "")
        return (await other.node(path)).attributes.mode


async def make(w: World, kind: Kind) -> None:
    if kind is Kind.DIRECTORY:
        await w.mkdir("n")
    elif kind is Kind.SYMLINK:
        await w.fs.symlink(ROOT, "n", "target", ME)
    else:
        await w.fs.mknod(ROOT, "n", kind, 0o644, 259 if kind is Kind.BLOCK_DEVICE else 0, ME)


async def attributes(w: World, path: str) -> Attributes:
    return (await w.node(path)).attributes


KINDS = [Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO, Kind.BLOCK_DEVICE]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_burst_is_one_request_with_the_last_word(
    w: World, store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock, kind: Kind
) -> None:
    await make(w, kind)
    before, as_made = store.calls.copy(), await attributes(w, "n")
    await change(w, "n", mode=0o700)
    await change(w, "n", uid=7, gid=8)
    mock_clock.jump(GATHERING / 2)
    await change(w, "n", modified_ns=5 * SECOND)
    if kind is Kind.DIRECTORY:
        await w.fs.setxattr((await w.node("n")).number, b"user.comment", b"mine")
    assert store.calls == before
    assert (await attributes(w, "n")).mode == 0o700, "seen here at once"
    await sent(w, mock_clock)
    assert store.calls - before == {"put": 1}
    async with world(memory, tmp_path / "other") as other:
        await other.names("n" if kind is Kind.DIRECTORY else "")
        found = await attributes(other, "n")
    assert (found.kind, found.mode, found.uid, found.gid) == (kind, 0o700, 7, 8)
    assert (found.modified_ns, found.device, found.size) == (5 * SECOND, as_made.device, as_made.size)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_in_between_loses_nothing(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock, kind: Kind
) -> None:
    async with world(store, tmp_path) as w:
        await make(w, kind)
        await change(w, "n", mode=0o751)
        before = await attributes(w, "n")
    async with world(store, tmp_path) as w:
        assert await w.names() == ["n"]
        if kind is Kind.DIRECTORY:
            assert await w.names("n") == []
        assert await attributes(w, "n") == before
        await w.fs.flush_path()
        assert not w.fs.pending()
    assert await mode_elsewhere(memory, tmp_path / "other", "n") == 0o751


async def test_a_rename_takes_the_change_along(
    w: World, store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    await w.mkdir("d/below")
    await change(w, "d", mode=0o701)
    await change(w, "d/below", mode=0o702)
    await w.rename("d", "e")
    assert ((await attributes(w, "e")).mode, (await attributes(w, "e/below")).mode) == (0o701, 0o702)
    await sent(w, mock_clock)
    assert memory.contents() == {"e/.bzEmpty": b"", "e/below/.bzEmpty": b""}
    assert await mode_elsewhere(memory, tmp_path / "other", "e") == 0o701
    assert await mode_elsewhere(memory, tmp_path / "another", "e/below") == 0o702


@pytest.mark.parametrize("fails", [False, True])
async def test_a_directory_that_is_replaced_gives_nothing_to_the_new_one(
    w: World, store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock, *, fails: bool
) -> None:
    await w.mkdir("e")
    await w.mkdir("e/below")
    await change(w, "e", mode=0o701)
    await sent(w, mock_clock)
    await change(w, "d", mode=0o777)
    if fails:
        store.fail("copy", StoreFailure("no"), times=2)
        with pytest.raises(StoreFailure):
            await w.rename("e", "d")
    else:
        await w.rename("e", "d")
    await sent(w, mock_clock)
    expected = {"d": 0o777, "e": 0o701} if fails else {"d": 0o701}
    assert await w.names() == sorted(expected)
    for number, (path, mode) in enumerate(expected.items()):
        assert (await attributes(w, path)).mode == mode
        assert await mode_elsewhere(memory, tmp_path / f"other {number}", path) == mode


async def test_one_whose_attributes_are_under_way_is_replaced_after_them(
    w: World, store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    await w.mkdir("e")
    await change(w, "e", mode=0o701)
    await sent(w, mock_clock)
    hold = store.hold("put")
    await change(w, "d", mode=0o777)
    mock_clock.jump(2 * GATHERING)
    await hold.reached.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.rename, "e", "d")
        await trio.testing.wait_all_tasks_blocked(0.01)
        hold.release.set()
    await sent(w, mock_clock)
    assert (await attributes(w, "d")).mode == 0o701
    assert await mode_elsewhere(memory, tmp_path / "other", "d") == 0o701


async def test_two_directories_that_change_places_keep_theirs(
    w: World, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    await w.mkdir("e")
    await change(w, "d", mode=0o701)
    await change(w, "e", mode=0o702)
    await w.fs.exchange((ROOT, "d"), (ROOT, "e"))
    assert await mode_elsewhere(memory, tmp_path / "other", "d") == 0o702
    assert await mode_elsewhere(memory, tmp_path / "another", "e") == 0o701


@pytest.mark.parametrize("under_way", [False, True])
async def test_what_is_removed_does_not_come_back(
    w: World, store: FaultyStore, memory: MemoryStore, mock_clock, *, under_way: bool
) -> None:
    hold = store.hold("put")
    await change(w, "d", mode=0o700)
    if under_way:
        mock_clock.jump(2 * GATHERING)
        await hold.reached.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.rmdir, "d")
        await trio.testing.wait_all_tasks_blocked(0.01)
        hold.release.set()
    mock_clock.jump(2 * GATHERING)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert memory.contents() == {}
    assert await w.names() == []
    assert not w.fs.pending()


async def test_a_directory_that_is_emptied_is_written_once(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    memory.seed(ObjectPath("bucket", "d/file"))
    async with world(store, tmp_path) as w:
        assert await w.names("d") == ["file"]
        await change(w, "d", mode=0o701)
        await w.unlink("d/file")
        await sent(w, mock_clock)
    assert store.calls["put"] == 1
    assert await mode_elsewhere(memory, tmp_path / "other", "d") == 0o701


async def test_entries_that_change_meanwhile_date_the_directory(
    w: World, store: FaultyStore, mock_clock
) -> None:
    await change(w, "d", modified_ns=5 * SECOND)
    hold = store.hold("put")
    await change(w, "d", mode=0o700)
    mock_clock.jump(2 * GATHERING)
    await hold.reached.wait()
    fh = await w.create("d/file", flags=os.O_WRONLY)
    hold.release.set()
    await w.close(fh)
    await sent(w, mock_clock)
    found = await attributes(w, "d")
    assert found.mode == 0o700
    assert found.modified_ns > 1000 * SECOND


async def test_a_listing_does_not_set_back_what_is_on_its_way(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    async with world(memory, tmp_path / "other") as other:
        await other.mkdir("d", 0o750)
    async with world(store, tmp_path) as w:
        await change(w, "d", mode=0o701)
        w.namespace.forget_listing(None)
        assert await w.names("d") == []
        assert (await attributes(w, "d")).mode == 0o701
        await sent(w, mock_clock)
        w.namespace.forget_listing(None)
        assert await w.names("d") == []
        assert (await attributes(w, "d")).mode == 0o701


async def test_what_others_say_then_counts_again(
    w: World, store: FaultyStore, memory: MemoryStore, tmp_path: Path, mock_clock
) -> None:
    await change(w, "d", mode=0o701)
    await sent(w, mock_clock)
    async with world(memory, tmp_path / "other") as other:
        await other.names("d")
        await change(other, "d", mode=0o750)
        await other.fs.flush_path()
    mock_clock.jump(100)
    await w.names()
    await w.names("d")
    assert (await attributes(w, "d")).mode == 0o750


@pytest.mark.parametrize("kind", [Kind.DIRECTORY, Kind.SYMLINK])
async def test_what_b2_refuses_stays_and_is_named(
    w: World, store: FaultyStore, memory: MemoryStore, mock_clock, expect_warning: WarningLog, kind: Kind
) -> None:
    expect_warning("stays staged: no")
    await make(w, kind)
    store.fail("put", AccessDenied("no"))
    await change(w, "n", mode=0o711)
    mock_clock.jump(2 * GATHERING)
    await until(lambda: [one.state for one in w.fs.pending()] == ["failed"])
    (pending,) = w.fs.pending()
    assert (pending.path, pending.reason) == ("n/" if kind is Kind.DIRECTORY else "n", "no")
    await w.fs.flush_path("n")
    key = "n/.bzEmpty" if kind is Kind.DIRECTORY else "n"
    assert "711" in carried(memory, key)["posix"]

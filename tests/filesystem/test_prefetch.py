"""What is fetched when programs read many files, over a store in memory that counts."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import trio.testing

from b2mount.errors import Unavailable
from b2mount.model import ByteRange, ObjectPath
from b2mount.reading.block_file import BLOCK_SIZE
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world

MIB = 1 << 20


def content(key: str, size: int) -> bytes:
    return random.Random(key).randbytes(size)


def filled(count: int, *directories: str, size: int = 1000) -> tuple[FaultyStore, list[str]]:
    """A store with so many files in each directory, and their keys."""
    inner = MemoryStore()
    keys = [f"{directory}f{number:04}" for directory in directories or ("",) for number in range(count)]
    for key in keys:
        inner.seed(ObjectPath("bucket", key), content(key, size))
    return FaultyStore(inner), keys


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


async def read(w: World, keys: Sequence[str], *, size: int = 1000, head: int | None = None) -> None:
    """Read files one after another as a program does that lists their directories first."""
    seen = set()
    for key in keys:
        directory = key.rpartition("/")[0]
        if directory not in seen:
            seen.add(directory)
            await w.names(directory)
        fh = await w.open(key)
        wanted = content(key, size)[:head]
        assert await w.fs.read(fh, 0, len(wanted)) == wanted
        await w.close(fh)
        await settle()


def fetched(store: FaultyStore) -> list[tuple[str, ByteRange]]:
    calls = [call.arguments for call in store.log if call.verb == "read_range"]
    return [(version.path.key, span) for version, span, *_ in calls]  # type: ignore[attr-defined,misc]  # the log has objects


async def test_what_comes_next_is_here_before_it_is_asked_for(tmp_path: Path) -> None:
    store, keys = filled(100)
    async with world(store, tmp_path) as w:
        await read(w, keys[:10])
        assert store.calls["read_range"] == 30
        missed = w.fs._fetcher.status().misses
        await read(w, keys[10:])
        assert w.fs._fetcher.status().misses == missed
        assert sorted(key for key, _ in fetched(store)) == keys  # each one once


async def test_nothing_is_fetched_ahead_while_calls_are_saved(tmp_path: Path) -> None:
    store, keys = filled(100)
    async with world(store, tmp_path) as w:
        w.fs.economize(True)
        await read(w, keys[:40])
        assert [key for key, _ in fetched(store)] == keys[:40]
        w.fs.economize(False)
        await read(w, keys[40:60])
        assert len(fetched(store)) > 60


async def test_what_was_to_be_fetched_next_is_not_when_saving_begins(tmp_path: Path) -> None:
    store, keys = filled(100)
    async with world(store, tmp_path) as w:
        await read(w, keys[:5])
        before = len(fetched(store))
        inode = await w.namespace.lookup(w.namespace.root, keys[5])
        assert inode.version is not None
        w.fs._prefetch.begun(inode.path, inode.version)
        w.fs.economize(True)  # the walk has been told, and has not gone on yet
        await settle()
        assert len(fetched(store)) == before


async def test_the_reader_goes_first(tmp_path: Path) -> None:
    store, keys = filled(100)
    async with world(store, tmp_path) as w:
        await read(w, keys[:6])
        await w.node("f0050")
        await read(w, keys[50:52])
        order = [key for key, _ in fetched(store)]
        assert order.index("f0051") < min(order.index("f0052"), order.index("f0053"))


async def test_nothing_is_listed_for_it(tmp_path: Path) -> None:
    store, keys = filled(50, "a/", "b/")
    async with world(store, tmp_path) as w:
        await w.names("a")
        before = store.calls["list_objects"]
        await read(w, keys[:50])
        assert store.calls["list_objects"] == before


async def test_opening_at_random(tmp_path: Path) -> None:
    store, keys = filled(1000)
    dice = random.Random(7)
    async with world(store, tmp_path) as w:
        chosen = dice.sample(keys, 150)
        await read(w, chosen)
        assert store.calls["read_range"] <= 1.15 * len(chosen)


async def test_trouble_with_what_is_fetched_ahead_reaches_nobody(tmp_path: Path) -> None:
    store, keys = filled(60)
    store.fail("read_range", Unavailable("no network"), at=3, times=20)
    store.flip(10, at=30)
    async with world(store, tmp_path) as w:
        fh = await w.open(keys[0])
        await w.fs.read(fh, 0, 1000)
        for key in keys:
            fh = await w.open(key)
            while True:
                try:
                    assert await w.fs.read(fh, 0, 1000) == content(key, 1000)
                    break
                except Unavailable:
                    assert store.calls["read_range"] <= 23  # its own request
            await w.close(fh)
            await settle()


async def test_of_big_files_only_the_heads(tmp_path: Path) -> None:
    size = 4 * MIB + 1  # more than what is fetched whole
    store, keys = filled(12, size=size)
    async with world(store, tmp_path) as w:
        await read(w, keys, size=size, head=65_536)
        assert [span for _, span in fetched(store)] == [ByteRange(0, BLOCK_SIZE)] * 12


async def test_big_files_that_are_read_whole_are_right_and_fetched_once(tmp_path: Path) -> None:
    size = 4 * MIB + 1
    store, keys = filled(5, size=size)
    async with world(store, tmp_path) as w:
        await read(w, keys, size=size)
        assert sum(span.size for _, span in fetched(store)) == 5 * size


async def test_writers_are_no_readers(tmp_path: Path) -> None:
    store, keys = filled(50)
    async with world(store, tmp_path) as w:
        await w.names()
        for key in keys[:10]:
            fh = await w.open(key, os.O_RDWR)
            await w.fs.read(fh, 0, 1000)
            await w.close(fh)
            await settle()
        assert store.calls["read_range"] == 10


async def test_a_walk_that_is_over_leaves_nothing_behind(tmp_path: Path) -> None:
    store, keys = filled(1000)
    async with world(store, tmp_path) as w:
        await read(w, keys[:5])
        holds = [store.hold("read_range", at=at) for at in range(2, 4)]
        await read(w, keys[5:6])
        for key in random.Random(1).sample(keys[100:], 2 * 64):  # other programs, for long enough
            fh = await w.open(key)
            await w.fs.read(fh, 0, 1000)
            await w.close(fh)
        await settle()
        assert w.fs._prefetch.walks.size == 0
        assert w.fs._fetcher._ahead_size == 0
        for hold in holds:
            hold.release.set()

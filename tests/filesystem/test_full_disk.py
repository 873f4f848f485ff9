"""Writing on a disk that is full, or becomes so. No kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.fakes.memory_store import MemoryStore
from tests.files_below import bytes_below
from tests.filesystem.world import ROOT, World, world
from tests.reading.conftest import until

STEP = 100_000


class SmallDisk:
    """`os.pwrite` as long as what the directory takes stays below `size`, cached blocks and all."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory, self.size, self.real = directory, size, os.pwrite
        self.refused = 0

    @property
    def taken(self) -> int:
        return sum(bytes_below(self.directory / part) for part in ("blocks", "staging"))

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        room = max(0, self.size - self.taken) + max(0, os.fstat(fd).st_size - offset)
        if room <= 0:
            self.refused += 1
            raise OSError(28, "No space left on device")
        return self.real(fd, data[:room], offset)


def small_disk(directory: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> SmallDisk:
    disk = SmallDisk(directory, size)
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    return disk


async def cached(w: World, directory: Path, size: int) -> None:
    """A file of this size has been read, and is on the disk."""
    await w.write("seen", bytes(size))
    assert await w.read("seen") == bytes(size)
    await until(lambda: bytes_below(directory / "blocks") >= size)


async def fill(w: World, fh: int, pieces: list[bytes]) -> None:
    """Append more than fits; `pieces` has what did."""
    for number in range(20):
        piece = bytes([number]) * STEP
        await w.fs.write(fh, len(pieces) * STEP, piece)
        pieces.append(piece)


async def test_cached_blocks_make_room_for_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        await cached(w, tmp_path, 2_000_000)
        disk = small_disk(tmp_path, monkeypatch, 2_100_000)
        data = os.urandom(2_050_000)
        await w.write("new", data)
        assert disk.refused
        assert store.contents()["new"] == data
        assert await w.read("seen") == bytes(2_000_000)


async def test_when_nothing_gives_way_any_more_the_writer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(MemoryStore(), tmp_path) as w:
        await cached(w, tmp_path, 500_000)
        disk = small_disk(tmp_path, monkeypatch, 1_000_000)
        fh = await w.create("new", flags=os.O_RDWR)
        pieces: list[bytes] = []
        with pytest.raises(OSError, match="No space left"):
            await fill(w, fh, pieces)
        data = b"".join(pieces)
        assert 5 * STEP < len(data) <= 10 * STEP, "the cache has made room first"
        assert w.fs.getattr((await w.node("new")).number).attributes.size == len(data)
        assert await w.fs.read(fh, 0, 1 << 30) == data
        await w.fs.fsync(fh)
        await w.fs.write(fh, 0, b"over it")
        disk.size += 20 * STEP
        await w.fs.write(fh, len(data), b"again")
        await w.close(fh)
        assert await w.read("new") == b"over it" + data[7:] + b"again"


async def test_bytes_of_b2_are_as_before_when_there_is_no_room_to_change_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        await w.write("a", b"abc" * 1000)
        small_disk(tmp_path, monkeypatch, 0)
        fh = await w.open("a", os.O_RDWR)
        with pytest.raises(OSError, match="No space left"):
            await w.fs.write(fh, 10, b"changed")
        assert await w.fs.read(fh, 0, 1 << 20) == b"abc" * 1000
        await w.close(fh)
        assert store.contents()["a"] == b"abc" * 1000


async def test_nobody_overtakes_a_write_that_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes later stays on top, a truncation too; a reader sees what was before."""
    async with world(MemoryStore(), tmp_path) as w:
        waiting, may_go_on = trio.Event(), trio.Event()
        disk = small_disk(tmp_path, monkeypatch, 1 << 20)

        async def make_room(_needed: int) -> bool:
            waiting.set()
            await may_go_on.wait()
            return True

        w.fs._staging._make_room = make_room
        fh = await w.create("a", flags=os.O_RDWR)
        await w.fs.write(fh, 0, b"0" * 10)
        disk.size = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.write, fh, 5, b"1" * 10)
            await waiting.wait()
            nursery.start_soon(w.fs.write, fh, 8, b"2" * 2)
            await trio.testing.wait_all_tasks_blocked()
            assert await w.fs.read(fh, 0, 100) == b"0" * 10
            disk.size = 1 << 20
            may_go_on.set()
        assert await w.fs.read(fh, 0, 100) == b"0" * 5 + b"1" * 3 + b"2" * 2 + b"1" * 5
        await w.close(fh)
        assert await w.read("a") == b"0" * 5 + b"1" * 3 + b"2" * 2 + b"1" * 5


async def test_df_tells_when_the_local_disk_is_full(tmp_path: Path) -> None:
    async with world(MemoryStore(), tmp_path) as w:
        left = [1 << 30]
        w.fs._room = lambda: left[0]
        assert w.fs.getattr(ROOT)
        space = w.fs.statfs()
        assert space.free == space.blocks == 2**50 // space.block_size
        left[0] = 1_000_000
        assert w.fs.statfs().free == 1_000_000 // space.block_size
        assert w.fs.statfs().blocks == space.blocks


async def test_a_file_that_is_removed_while_its_journal_is_ill_does_not_come_back(
    autojump_clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_warning
) -> None:
    expect_warning("the journal still lists")
    store = MemoryStore()
    async with world(store, tmp_path, waits=False, delay=5) as w:
        await w.write("a", b"secret")
        with monkeypatch.context() as ill:
            ill.setattr(w.write_back._journal, "_connection", None)
            await w.unlink("a")
        await trio.sleep(100)
        await w.write_back.flush()
        assert store.contents() == {}
        assert await w.names() == []
    async with world(store, tmp_path, waits=False) as w:
        await w.write_back.flush()
        assert store.contents() == {}

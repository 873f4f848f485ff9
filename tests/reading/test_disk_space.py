"""What the cache does on a disk that fills up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from b2mount.model import BlockId
from b2mount.reading import block_cache, disk_space
from b2mount.reading.block_cache import ROOM, BlockCache
from b2mount.reading.block_file import BLOCK_SIZE, HEADER
from b2mount.reading.block_index import GROUP
from b2mount.reading.disk_space import LEFT_FREE, UNKNOWN, free_space, missing_space
from b2mount.threads import ThreadLane
from tests.files_below import stats
from tests.reading.conftest import MIB, bytes_of

TAKEN = HEADER + BLOCK_SIZE
GIB = 1 << 30


class Disk:
    """As `os.statvfs` tells of it: so many bytes, so many of them left beside what the cache takes."""

    def __init__(self, total: int, left: int, directory: Path) -> None:
        self.total, self.left, self.directory = total, left, directory

    @property
    def free(self) -> int:
        taken = sum(status.st_blocks * 512 for status in stats(self.directory).values())
        return max(0, self.left - taken)

    def statvfs(self, _directory: str) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=4096, f_blocks=self.total // 4096, f_bavail=self.free // 4096)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Disk]:
    def make(total: int, left: int) -> Disk:
        disk = Disk(total, left, tmp_path / "blocks")
        monkeypatch.setattr(os, "statvfs", disk.statvfs)
        return disk

    return make


async def filled(cache: BlockCache, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        cache.add(BlockId("v", GROUP * number), bytes_of(BLOCK_SIZE, number))
    await cache.put(BlockId("v", GROUP * first), bytes_of(BLOCK_SIZE, first))


def on_disk(cache: BlockCache) -> list[int]:
    """The groups, of which each has only its first block, so that each takes TAKEN."""
    return sorted(index // GROUP for index in cache.indexes("v"))


@pytest.mark.parametrize(
    ("total", "free", "missing"),
    [
        (100 * GIB, LEFT_FREE + 10 * MIB, 0),
        (100 * GIB, LEFT_FREE + 9 * MIB, MIB),
        (100 * GIB, LEFT_FREE - MIB, 10 * MIB),
        (100 * GIB, 0, 10 * MIB),
        (100 * MIB, 15 * MIB, 0),
        (100 * MIB, 14 * MIB, MIB),
    ],
)
def test_a_part_of_the_disk_is_left_to_others(disk, total: int, free: int, missing: int) -> None:
    disk(total, free)
    assert missing_space("/", 10 * MIB) == missing
    assert free_space("/") == free


def test_a_disk_that_says_nothing_has_room(tmp_path: Path) -> None:
    assert missing_space(str(tmp_path / "gone"), 1) == 0
    assert free_space(str(tmp_path / "gone")) == UNKNOWN


async def test_on_a_nearly_full_disk_blocks_take_the_place_of_older_ones(
    cache: BlockCache, tmp_path: Path, disk
) -> None:
    small = disk(100 * MIB, 5 * MIB + 8 * TAKEN)
    await filled(cache, 8)
    assert on_disk(cache) == list(range(8))
    for number in (8, 9, 10):
        await filled(cache, 1, first=number)
        assert small.free >= 5 * MIB
    assert on_disk(cache) == list(range(3, 11))
    assert await cache.get(BlockId("v", 0)) == bytes_of(BLOCK_SIZE, 0), "from memory"


async def test_without_older_ones_nothing_is_written_until_there_is_room(
    cache: BlockCache, tmp_path: Path, disk
) -> None:
    small = disk(100 * MIB, 5 * MIB)
    await filled(cache, 4)
    assert cache.status().blocks == 0
    assert small.free == 5 * MIB
    assert await cache.get(BlockId("v", 3 * GROUP)) == bytes_of(BLOCK_SIZE, 3), "from memory"
    small.left += 10 * TAKEN
    await filled(cache, 4, first=4)
    assert on_disk(cache) == [4, 5, 6, 7]


async def test_the_least_recently_used_blocks_give_way(tmp_path: Path, lane: ThreadLane) -> None:
    cache = BlockCache(tmp_path / "blocks", GIB, lane, memory=0)
    await cache.load()
    count = 2 * ROOM // TAKEN + 10
    for start in range(0, count, 256):
        await filled(cache, min(256, count - start), first=start)
    assert await cache.get(BlockId("v", 0)) is not None
    before = cache.status().bytes
    assert await cache.make_room(1)
    assert ROOM <= before - cache.status().bytes < ROOM + TAKEN
    assert BlockId("v", 0) in cache
    assert BlockId("v", 40 * GROUP) not in cache
    assert BlockId("v", (count - 1) * GROUP) in cache
    assert await cache.make_room(ROOM + 10 * MIB)
    assert cache.status().blocks == 0, "that was more than there was"
    assert not await cache.make_room(1), "nothing is left"
    files = [path for path in (tmp_path / "blocks").rglob("*") if path.is_file()]
    assert files == []


async def test_many_who_need_room_at_once_share_what_has_become_free(
    tmp_path: Path, lane: ThreadLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_cache, "ROOM", 2 * TAKEN)
    cache = BlockCache(tmp_path / "blocks", GIB, lane)
    await cache.load()
    await filled(cache, 16)
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await cache.make_room(1))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask)
    assert answers == [True] * 8
    assert len(on_disk(cache)) == 14


async def test_evicted_files_that_are_still_there_give_way_too(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("v", 0), b"x")
    cache.evict("v")
    assert await cache.make_room(1)
    assert not [path for path in (tmp_path / "blocks").rglob("*") if path.is_file()]
    assert not await cache.make_room(1)


async def test_room_is_what_is_free_and_what_may_give_way(cache: BlockCache, disk) -> None:
    small = disk(100 * MIB, 50 * MIB)
    assert cache.room() == 50 * MIB
    await filled(cache, 8)
    assert small.free < 50 * MIB
    assert cache.room() == 50 * MIB
    assert disk_space.LEFT_FREE == GIB

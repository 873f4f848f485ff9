from __future__ import annotations

import os
import random
import time
from array import array
from pathlib import Path

import pytest
import trio

from b2mount.model import BlockId
from b2mount.reading import block_batch, block_cache, block_file, cache_layout, kept_digests
from b2mount.reading.block_cache import MEMORY, BlockCache
from b2mount.reading.block_file import BLOCK_SIZE, HEADER
from b2mount.reading.block_index import GROUP, LEAST, CacheStatus
from b2mount.reading.cache_layout import directory_key, file_of
from b2mount.threads import ThreadLane
from tests.reading.conftest import MIB, bytes_of, until

BLOCKS = [bytes_of(BLOCK_SIZE, seed) for seed in range(8)]


async def again(cache_before: BlockCache, tmp_path: Path, capacity: int = 256 * MIB) -> BlockCache:
    """The cache as the next mount finds it."""
    cache = BlockCache(tmp_path / "blocks", capacity, cache_before.lane)
    await cache.load()
    return cache


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blocks").rglob("*") if path.is_file()]


def path_of(tmp_path: Path, block: BlockId) -> Path:
    key = directory_key(block.version_id)
    return Path(file_of(str(tmp_path / "blocks"), key, block.index // GROUP))


async def test_blocks_are_there_after_a_remount(cache: BlockCache, tmp_path: Path) -> None:
    for index, data in enumerate(BLOCKS):
        await cache.put(BlockId("v", index), data)
    after = await again(cache, tmp_path)
    for index, data in enumerate(BLOCKS):
        assert await after.get(BlockId("v", index)) == data
    assert sorted(after.indexes("v")) == list(range(8))
    assert after.status() == CacheStatus(cache.status().bytes, 8, 256 * MIB, 8, 0)
    assert await after.get(BlockId("v", 8)) is None
    assert after.status().misses == 1


async def test_blocks_of_a_mount_that_cut_them_otherwise_are_none(
    cache: BlockCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(cache_layout, "BLOCK_SIZE", 2 * BLOCK_SIZE)
        older.setattr(kept_digests, "BLOCK_SIZE", 2 * BLOCK_SIZE)
        await cache.put(BlockId("v", 1), bytes(2 * BLOCK_SIZE))
        await cache.keep_digests("v", array("I", [1, 2]))
    after = await again(cache, tmp_path)
    assert await after.digests("v") is None
    assert await after.get(BlockId("v", 1)) is None


async def test_size_is_what_the_files_take(cache: BlockCache, tmp_path: Path) -> None:
    for index, data in enumerate(BLOCKS):
        await cache.put(BlockId("v", index), data)
    assert cache.status().bytes == sum(path.stat().st_blocks * 512 for path in files(tmp_path))


async def test_everything_is_private(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("v", 0), b"x")
    for path in (tmp_path / "blocks", *(tmp_path / "blocks").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("version_id", ["../../../etc/passwd", "a/b", "", "\x00", "ä" * 500, "\udcff"])
async def test_a_version_id_is_a_strangers_text(cache: BlockCache, tmp_path: Path, version_id: str) -> None:
    await cache.put(BlockId(version_id, 0), b"data")
    (path,) = files(tmp_path)
    assert path.relative_to(tmp_path / "blocks").parts[2] == "0.blocks"
    assert await (await again(cache, tmp_path)).get(BlockId(version_id, 0)) == b"data"


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "directory"])
async def test_a_damaged_block_is_no_block_and_is_removed(
    cache: BlockCache, tmp_path: Path, damage: str
) -> None:
    block = BlockId("v", 3)
    await cache.put(block, BLOCKS[0])
    path = path_of(tmp_path, block)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(bytes({"flip": content, "cut": content[:-70000], "empty": bytearray()}[damage]))
    after = BlockCache(tmp_path / "blocks", 256 * MIB, cache.lane)
    after._index = cache._index
    assert block in after
    assert await after.get(block) is None
    assert block not in after
    await after.put(BlockId("w", 0), b"x")  # as `run` would
    assert after.status().bytes == HEADER + 4096
    assert damage == "directory" or not path.exists()
    await after.put(block, BLOCKS[1])
    assert await after.get(block) == BLOCKS[1]
    assert damage == "directory" or await (await again(after, tmp_path)).get(block) == BLOCKS[1]


async def test_least_recently_used_versions_go_when_it_is_full(tmp_path: Path, lane: ThreadLane) -> None:
    taken = BLOCK_SIZE + 4096
    cache = BlockCache(tmp_path / "blocks", 4 * taken, lane, memory=0)
    await cache.load()
    for name in "abcd":
        await cache.put(BlockId(name, 0), BLOCKS[0])
    assert await cache.get(BlockId("a", 0)) is not None
    await cache.put(BlockId("e", 0), BLOCKS[0])
    assert [BlockId(name, 0) in cache for name in "abcde"] == [True, False, True, True, True]
    assert len(files(tmp_path)) == 4
    assert cache.status().bytes == 4 * taken
    assert not (path_of(tmp_path, BlockId("b", 0)).parent).exists()


async def test_tiny_files_are_bounded_by_number(tmp_path: Path, lane: ThreadLane) -> None:
    cache = BlockCache(tmp_path / "blocks", 5 * LEAST, lane, memory=0)
    await cache.load()
    for number in range(9):
        await cache.put(BlockId(f"v{number}", 0), b"tiny")
    assert [BlockId(f"v{number}", 0) in cache for number in range(9)] == [False] * 4 + [True] * 5
    assert len(files(tmp_path)) == 5


async def test_the_order_of_use_survives_a_remount(cache: BlockCache, tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        await cache.put(BlockId(name, 0), BLOCKS[0])
        os.utime(path_of(tmp_path, BlockId(name, 0)), (0, 1000 + number))
    second = await again(cache, tmp_path)
    assert await second.get(BlockId("a", 0)) is not None
    third = await again(second, tmp_path, capacity=HEADER + BLOCK_SIZE)
    assert [BlockId(name, 0) in third for name in "abc"] == [True, False, False]
    assert len(files(tmp_path)) == 1


async def test_evicting_a_version_frees_it_alone(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("a", 0), BLOCKS[0])
    await cache.put(BlockId("a", 1), BLOCKS[1])
    await cache.put(BlockId("b", 0), BLOCKS[2])
    assert cache.evict("a") == HEADER + 2 * BLOCK_SIZE
    assert await cache.get(BlockId("a", 0)) is None
    assert await cache.get(BlockId("b", 0)) == BLOCKS[2]
    assert cache.evict("a") == 0
    await cache.put(BlockId("b", GROUP), BLOCKS[3])
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("late", [False, True])
async def test_a_block_that_is_evicted_while_it_is_being_written_stays_away(
    cache: BlockCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    real = block_batch.write_all

    def write_all(writes: list[block_batch.GroupWrite]) -> tuple[list[int], str]:
        if not late:
            trio.from_thread.run_sync(cache.evict, "v")
        result = real(writes)
        if late:
            trio.from_thread.run_sync(cache.evict, "v")
        return result

    monkeypatch.setattr(block_cache, "write_all", write_all)
    await cache.put(BlockId("v", 0), BLOCKS[0])
    assert await cache.get(BlockId("v", 0)) is None
    assert cache.status().bytes == 0
    assert (await again(cache, tmp_path)).status().blocks == 0
    assert files(tmp_path) == []


@pytest.mark.parametrize("late", [False, True])
async def test_a_block_that_is_replaced_while_it_is_being_written_has_the_new_bytes(
    cache: BlockCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """What was dropped was wrong: it must not come back, now or after a restart."""
    real = block_batch.write_all
    calls = []

    def replace() -> None:
        cache.drop(BlockId("v", 1))
        if late:
            cache.add(BlockId("v", 1), BLOCKS[7])

    def write_all(writes: list[block_batch.GroupWrite]) -> tuple[list[int], str]:
        calls.append(len(writes))
        if len(calls) == 1:
            trio.from_thread.run_sync(replace)
        return real(writes)

    monkeypatch.setattr(block_cache, "write_all", write_all)
    cache.add(BlockId("v", 0), BLOCKS[0])
    await cache.put(BlockId("v", 1), BLOCKS[1])
    assert len(calls) == 1 + late
    after = await again(cache, tmp_path)
    assert await after.get(BlockId("v", 0)) == BLOCKS[0]
    assert await after.get(BlockId("v", 1)) == (BLOCKS[7] if late else None)


async def test_neighbours_are_got_in_one_go(cache: BlockCache, tmp_path: Path) -> None:
    for index in (*range(28, 36), 37):
        cache.add(BlockId("v", index), BLOCKS[index % 8])
    await cache.put(BlockId("v", 38), BLOCKS[0][:10])
    assert await cache.get_run("v", range(28, 36)) == [BLOCKS[index % 8] for index in range(28, 36)]
    assert cache.status().hits == 8
    after = await again(cache, tmp_path)
    pieces = await after.get_run("v", range(28, 36))
    assert [len(piece) // BLOCK_SIZE for piece in pieces or []] == [4, 4]
    assert b"".join(pieces or []) == b"".join(BLOCKS[index % 8] for index in range(28, 36))
    assert await after.get_run("v", range(37, 39)) == [BLOCKS[37 % 8] + BLOCKS[0][:10]]
    assert after.status().hits == 10
    assert await after.get_run("v", range(34, 38)) is None, "36 is not there"
    assert after.holds("v", range(28, 36))
    assert not after.holds("v", range(34, 38))


async def test_neighbours_of_which_only_some_are_in_memory_come_from_the_disk(
    tmp_path: Path, lane: ThreadLane
) -> None:
    cache = BlockCache(tmp_path / "blocks", 1 << 30, lane, memory=2 * BLOCK_SIZE)
    for index in range(4):
        await cache.put(BlockId("v", index), BLOCKS[index])
    assert await cache.get_run("v", range(1, 4)) == [b"".join(BLOCKS[1:4])]
    assert await cache.get_run("v", range(2, 4)) == BLOCKS[2:4]
    assert await cache.get_run("v", range(2, 5)) is None, "there is no block 4"
    assert cache.status().hits == 5


async def test_a_damaged_neighbour_is_the_only_one_that_is_fetched_again(
    cache: BlockCache, tmp_path: Path
) -> None:
    for index, data in enumerate(BLOCKS):
        await cache.put(BlockId("v", index), data)
    with path_of(tmp_path, BlockId("v", 0)).open("r+b") as file:
        file.seek(HEADER + 3 * BLOCK_SIZE + 77)
        file.write(b"damaged")
    after = await again(cache, tmp_path)
    assert await after.get_run("v", range(8)) is None
    found = [await after.get(BlockId("v", index)) for index in range(8)]
    assert found == [*BLOCKS[:3], None, *BLOCKS[4:]]
    assert list(after.indexes("v")) == [0, 1, 2, 4, 5, 6, 7]
    await after.put(BlockId("v", 3), BLOCKS[3])
    assert after.status().bytes == HEADER + 8 * BLOCK_SIZE
    (piece,) = await (await again(after, tmp_path)).get_run("v", range(8)) or []
    assert piece == b"".join(BLOCKS)


async def test_blocks_are_read_while_others_are_written_and_trimmed(tmp_path: Path, lane: ThreadLane) -> None:
    """Whatever a reader meets, it is the block or no block."""
    cache = BlockCache(tmp_path / "blocks", 3 * (HEADER + 8 * BLOCK_SIZE), lane, memory=0)
    await cache.load()
    got = dict.fromkeys([True, False], 0)

    async def read() -> None:
        generator = random.Random(7)
        while True:
            version_id = f"v{generator.randrange(6)}"
            pieces = await cache.get_run(version_id, range(generator.randrange(4), generator.randrange(5, 8)))
            data = await cache.get(BlockId(version_id, generator.randrange(8)))
            assert data is None or any(data == block for block in BLOCKS)
            joined = b"".join(pieces or [])
            assert joined in b"".join(BLOCKS)
            got[bool(joined)] += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(read)
        for turn in range(12):
            for index, data in enumerate(BLOCKS):
                cache.add(BlockId(f"v{turn % 6}", index), data)
            await cache.put(BlockId(f"v{turn % 6}", 0), BLOCKS[0])
            if turn % 3 == 0:
                cache.drop(BlockId(f"v{turn % 6}", 5))
        nursery.cancel_scope.cancel()
    assert got[True]
    assert got[False]
    assert cache.status().bytes <= 3 * (HEADER + 8 * BLOCK_SIZE)
    assert cache.status().bytes == sum(path.stat().st_blocks * 512 for path in files(tmp_path))


async def test_a_full_disk_only_means_not_cached(
    cache: BlockCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    await cache.put(BlockId("v", 0), BLOCKS[0])
    assert await cache.get(BlockId("v", 0)) == BLOCKS[0]  # from memory
    assert files(tmp_path) == []
    assert cache.status().blocks == 0
    assert cache._recent.capacity == 128 * MIB  # what is to be hashed yet is nowhere else
    assert cache.is_strained
    monkeypatch.undo()
    await cache.put(BlockId("v", 1), BLOCKS[1])
    assert cache.status().blocks == 1
    assert cache._recent.capacity == MEMORY
    assert not cache.is_strained


async def test_a_cache_directory_that_cant_be_is_no_error(
    tmp_path: Path, lane: ThreadLane, expect_warning
) -> None:
    expect_warning("no cached blocks")
    (tmp_path / "blocks").write_text("in the way")
    cache = BlockCache(tmp_path / "blocks", MIB, lane)
    await cache.load()
    await cache.put(BlockId("v", 0), b"x")
    assert await cache.get(BlockId("v", 0)) == b"x"


async def test_strays_are_removed_at_the_start(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("v", 0), BLOCKS[0])
    directory = path_of(tmp_path, BlockId("v", 0)).parent
    for name in ("digests.tmp", "x", "0", "1"):
        (directory / name).write_text("stray")
    doomed = tmp_path / "blocks" / "gone-1234"
    doomed.mkdir()
    (doomed / "0").write_text("left by a killed mount")
    empty = tmp_path / "blocks" / "00" / ("0" * 30)
    empty.mkdir(parents=True)
    (empty / "digests").write_text("of what was last seen a year ago")
    os.utime(empty / "digests", (time.time() - 366 * 86400,) * 2)
    after = await again(cache, tmp_path)
    assert files(tmp_path) == [directory / "0.blocks"]
    assert not doomed.exists()
    assert not empty.exists()
    assert await after.get(BlockId("v", 0)) == BLOCKS[0]


async def test_arrivals_are_written_behind_and_at_the_end(cache: BlockCache, tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.run)
            cache.add(BlockId("v", 0), BLOCKS[0])
            assert cache.backlog_size == BLOCK_SIZE
            await until(lambda: not cache.backlog_size)
            assert len(files(tmp_path)) == 1
            cache.add(BlockId("v", GROUP), BLOCKS[1])
            scope.cancel()
    assert cache.backlog_size == 0
    assert len(files(tmp_path)) == 2


async def test_digests_outlive_the_blocks(cache: BlockCache, tmp_path: Path) -> None:
    digests = array("I", [1, 2, 3])
    await cache.keep_digests("v", digests)
    assert await cache.digests("v") == digests
    await cache.put(BlockId("v", 0), BLOCKS[0])
    small = await again(cache, tmp_path, capacity=1)
    assert small.status().blocks == 0
    after = await again(cache, tmp_path)
    assert await after.digests("v") == digests
    assert await after.digests("w") is None
    after.evict("v")
    assert await after.digests("v") is None


async def test_damaged_digests_are_none(cache: BlockCache, tmp_path: Path) -> None:
    cache.add(BlockId("v", 0), BLOCKS[0])
    await cache.keep_digests("v", array("I", [1, 2, 3]))
    path = path_of(tmp_path, BlockId("v", 0)).parent / "digests"
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    assert await cache.digests("v") is None


async def test_use_is_noted_on_disk_now_and_then(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("v", 0), BLOCKS[0])
    path = path_of(tmp_path, BlockId("v", 0))
    os.utime(path, (0, 1000))
    after = await again(cache, tmp_path)
    await after.get(BlockId("v", 0))
    assert time.time() - path.stat().st_mtime < 60


async def test_what_waits_for_a_slow_disk_is_bounded(cache: BlockCache) -> None:
    for index in range(1000):
        cache.add(BlockId("v", index), BLOCKS[0])
    assert cache.backlog_size == 96 * MIB
    assert await cache.get(BlockId("v", 999)) is not None  # in memory all the same
    await cache.put(BlockId("v", 0), BLOCKS[0])
    assert cache.backlog_size == 0
    assert cache.status().blocks == 768


async def test_small_reads_of_a_cached_block_read_its_file_once(cache: BlockCache, tmp_path: Path) -> None:
    await cache.put(BlockId("v", 0), BLOCKS[0])
    after = await again(cache, tmp_path)
    await after.get(BlockId("v", 0))
    path_of(tmp_path, BlockId("v", 0)).unlink()
    assert await after.get(BlockId("v", 0)) == BLOCKS[0]


@pytest.mark.parametrize("run", [False, True])
async def test_a_group_that_somebody_removed_is_missed_as_a_whole(
    cache: BlockCache, tmp_path: Path, run: bool
) -> None:
    """Else each of its blocks would be looked for, and fetched, by itself."""
    for index, data in enumerate(BLOCKS):
        cache.add(BlockId("v", index), data)
    await cache.put(BlockId("v", GROUP), BLOCKS[0])
    after = await again(cache, tmp_path)
    path_of(tmp_path, BlockId("v", 0)).unlink()
    if run:
        assert await after.get_run("v", range(2, 4)) is None
    else:
        assert await after.get(BlockId("v", 2)) is None
    assert list(after.indexes("v")) == [GROUP]
    assert after.status().bytes == HEADER + BLOCK_SIZE
    await after.put(BlockId("v", 3), BLOCKS[3])
    assert await (await again(after, tmp_path)).get(BlockId("v", 3)) == BLOCKS[3]


async def test_a_group_that_goes_since_one_block_cant_be_erased_is_missed_as_a_whole(
    cache: BlockCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, data in enumerate(BLOCKS):
        cache.add(BlockId("v", index), data)
    await cache.put(BlockId("v", GROUP), BLOCKS[0])

    def refuse(*_arguments: object) -> int:
        raise OSError("the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", refuse)
        cache.drop(BlockId("v", 3))
    assert files(tmp_path) == [path_of(tmp_path, BlockId("v", GROUP))]
    assert list(cache.indexes("v")) == [GROUP]
    assert cache.status().bytes == HEADER + BLOCK_SIZE


@pytest.mark.parametrize("run", [False, True])
@pytest.mark.parametrize("memory", [0, MIB])
async def test_a_slow_read_does_not_bring_back_what_was_replaced_meanwhile(
    tmp_path: Path, lane: ThreadLane, monkeypatch: pytest.MonkeyPatch, run: bool, memory: int
) -> None:
    """The new bytes are on the disk when the old ones come, and in memory or there no more."""
    cache = BlockCache(tmp_path / "blocks", 256 * MIB, lane, memory=memory)
    await cache.put(BlockId("v", 0), BLOCKS[0])
    await cache.put(BlockId("v", 1), BLOCKS[1])
    after = BlockCache(tmp_path / "blocks", 256 * MIB, lane, memory=memory)
    await after.load()
    slow: list[str] = []

    async def replace() -> None:
        after.drop(BlockId("v", 1))
        await after.put(BlockId("v", 1), BLOCKS[7])

    def read_blocks(path: str, identity: bytes, places: range, *, wait: bool) -> memoryview | None:
        if not wait and not slow:
            slow.append(path)
            raise BlockingIOError
        data = block_file.read_blocks(path, identity, places, wait=wait)
        if wait:
            trio.from_thread.run(replace)
        return data

    monkeypatch.setattr(block_cache, "read_blocks", read_blocks)
    if run:
        assert await after.get_run("v", range(2)) is None
    else:
        assert await after.get(BlockId("v", 1)) == BLOCKS[7]
    assert slow
    assert await after.get(BlockId("v", 1)) == BLOCKS[7]

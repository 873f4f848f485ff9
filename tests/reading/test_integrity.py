from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from b2mount.errors import CorruptData, Unavailable
from b2mount.model import BlockId, ByteRange, ObjectPath, ObjectVersion
from b2mount.reading import integrity
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.flight import span_of
from b2mount.reading.integrity import BEHIND, Integrity, VersionCheck, Witness
from b2mount.reading.marks import Marks
from b2mount.reading.reader import ObjectReader
from b2mount.reading.version_hash import VersionHash
from tests.fakes.faulty_store import FaultyStore
from tests.reading.conftest import MIB, bytes_of, seed, until
from tests.reading.test_reader import read_through

SIZE = 6 * MIB + 999
COUNT = -(-SIZE // BLOCK_SIZE)
RIGHT = bytes_of(SIZE)
STEP = 128 * 1024


@pytest.fixture
def version(store: FaultyStore) -> ObjectVersion:
    return seed(store, SIZE)


@pytest.fixture
def mended() -> list[ObjectVersion]:
    return []


@pytest.fixture
async def fetcher(
    store: FaultyStore, cache: BlockCache, nursery: trio.Nursery, mended: list[ObjectVersion]
) -> BlockFetcher:
    fetcher = BlockFetcher(store, cache, parallel=8, mended=mended.append)
    nursery.start_soon(fetcher.run)
    return fetcher


async def digests_of(cache: BlockCache, version: ObjectVersion) -> bool:
    """Whether the version is found right, in a while."""
    for _ in range(2500):
        if await cache.digests(version.version_id) is not None:
            return True
        await trio.sleep(0.002)
    return False


async def test_a_version_that_has_passed_is_known_to_be_right(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion, mended: list[ObjectVersion]
) -> None:
    reader = ObjectReader(version, fetcher)
    assert await read_through(reader, STEP) == RIGHT
    assert await digests_of(cache, version)
    assert mended == []


async def test_what_has_been_hashed_is_not_remembered_block_by_block(
    fetcher: BlockFetcher, version: ObjectVersion
) -> None:
    witness, half = Witness(), COUNT // 2
    await fetcher.read(version, ByteRange(0, half * BLOCK_SIZE), witness)
    check = witness.check
    assert check is not None
    await until(lambda: len(check.digests) == half and not check.is_running)
    assert len(check.passed) == 0


async def test_in_any_order(fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion) -> None:
    reader = ObjectReader(version, fetcher)
    for index in reversed(range(COUNT)):
        await reader.read(ByteRange(index * BLOCK_SIZE, min(SIZE, (index + 1) * BLOCK_SIZE)))
    assert await digests_of(cache, version)


async def test_a_reader_with_wrong_bytes_never_reaches_the_end(
    store: FaultyStore,
    fetcher: BlockFetcher,
    version: ObjectVersion,
    mended: list[ObjectVersion],
    expect_warning,
) -> None:
    expect_warning("came with wrong bytes")
    store.flip(100)  # in the first block, which is handed out at once
    reader = ObjectReader(version, fetcher)
    assert (await reader.read(ByteRange(0, STEP))) != RIGHT[:STEP]
    with pytest.raises(CorruptData):
        await read_through(reader, STEP, start=STEP)
    with pytest.raises(CorruptData):
        await reader.read(ByteRange(SIZE - 10, SIZE))
    assert mended == [version]
    reader.close()
    assert await read_through(ObjectReader(version, fetcher), STEP) == RIGHT


async def test_who_had_none_of_the_wrong_bytes_never_notices(
    store: FaultyStore,
    fetcher: BlockFetcher,
    version: ObjectVersion,
    cache: BlockCache,
    expect_warning,
) -> None:
    expect_warning("came with wrong bytes")
    reader = ObjectReader(version, fetcher)
    await reader.read(ByteRange(0, STEP))
    store.flip(1000)
    fetcher.want(version, range(30, COUNT), object())
    await trio.testing.wait_all_tasks_blocked()
    assert await read_through(reader, STEP, start=STEP) == RIGHT[STEP:]
    assert await digests_of(cache, version)


async def test_a_block_that_comes_differently_each_time_is_decided_by_vote(
    store: FaultyStore,
    fetcher: BlockFetcher,
    version: ObjectVersion,
    expect_warning,
) -> None:
    expect_warning("came with wrong bytes")
    last = COUNT - 1
    await fetcher.read(version, ByteRange(0, last * BLOCK_SIZE))
    store.flip(5)  # the last block
    store.flip(6, at=4)  # and once more when it is fetched alone, after two calls to compare all
    reader = ObjectReader(version, fetcher)
    got = await reader.read(ByteRange(last * BLOCK_SIZE, SIZE))
    assert got == RIGHT[last * BLOCK_SIZE :]


async def test_a_version_that_stays_wrong_is_corrupt_and_not_kept(
    store: FaultyStore,
    fetcher: BlockFetcher,
    version: ObjectVersion,
    tmp_path: Path,
    expect_warning,
) -> None:
    expect_warning("came with wrong bytes")
    expect_warning("stays unreadable")
    store.inner.corrupt(version, 5 * MIB)  # type: ignore[attr-defined]  # a fake, or an object of the log
    reader = ObjectReader(version, fetcher)
    with pytest.raises(CorruptData):
        await read_through(reader, STEP)
    with pytest.raises(CorruptData):
        await reader.read(ByteRange(0, 1))
    await until(lambda: not fetcher.status().blocks)
    store.inner.corrupt(version, 5 * MIB)  # type: ignore[attr-defined]  # a fake, or an object of the log
    assert await read_through(ObjectReader(version, fetcher), STEP) == RIGHT  # B2 has mended it


async def test_a_network_that_fails_meanwhile_is_corrupt_for_now(
    store: FaultyStore, fetcher: BlockFetcher, version: ObjectVersion, expect_warning
) -> None:
    expect_warning("came with wrong bytes")
    expect_warning("stays unreadable")
    await fetcher.read(version, ByteRange(0, SIZE - BLOCK_SIZE))
    store.flip(5)
    store.fail("read_range", Unavailable("no network"), at=2, times=10)
    with pytest.raises(CorruptData):
        await fetcher.read(version, ByteRange(SIZE - 1, SIZE))


async def test_a_block_that_comes_again_is_compared_before_anyone_gets_it(
    store: FaultyStore, fetcher: BlockFetcher, version: ObjectVersion, cache: BlockCache
) -> None:
    reader = ObjectReader(version, fetcher)
    await read_through(reader, STEP)
    assert await digests_of(cache, version)
    for index in (0, 1, 2):
        cache.drop(BlockId(version.version_id, index))
    store.flip(7)
    store.flip(8, at=2)
    assert await reader.read(ByteRange(0, 100)) == RIGHT[:100]


async def test_after_a_remount_too(
    store: FaultyStore, fetcher: BlockFetcher, version: ObjectVersion, cache: BlockCache, tmp_path: Path
) -> None:
    await read_through(ObjectReader(version, fetcher), STEP)
    assert await digests_of(cache, version)
    await until(lambda: not cache.backlog_size)
    after = BlockCache(tmp_path / "blocks", 256 * MIB, cache.lane)
    await after.load()
    after.drop(BlockId(version.version_id, 4))
    async with trio.open_nursery() as nursery:
        second = BlockFetcher(store, after, parallel=4)
        nursery.start_soon(second.run)
        requests = store.calls["read_range"]
        store.flip(9)
        assert await read_through(ObjectReader(version, second), STEP) == RIGHT
        assert store.calls["read_range"] == requests + 2  # the one that was dropped: wrong, then right
        nursery.cancel_scope.cancel()


async def test_blocks_of_an_earlier_mount_count_as_passed(
    store: FaultyStore, version: ObjectVersion, cache: BlockCache, tmp_path: Path, expect_warning
) -> None:
    expect_warning("came with wrong bytes")
    wrong = bytearray(RIGHT[:BLOCK_SIZE])
    wrong[77] ^= 1
    await cache.put(BlockId(version.version_id, 0), bytes(wrong))  # got before it could be known
    after = BlockCache(tmp_path / "blocks", 256 * MIB, cache.lane)
    await after.load()
    async with trio.open_nursery() as nursery:
        fetcher = BlockFetcher(store, after, parallel=4)
        nursery.start_soon(fetcher.run)
        reader = ObjectReader(version, fetcher)
        assert await read_through(reader, STEP, start=STEP) == RIGHT[STEP:]
        assert await reader.read(ByteRange(0, STEP)) == RIGHT[:STEP]
        nursery.cancel_scope.cancel()


async def test_blocks_trimmed_before_their_turn_hold_nobody_up(
    store: FaultyStore, version: ObjectVersion, tmp_path: Path, cache: BlockCache
) -> None:
    tiny = BlockCache(tmp_path / "tiny", 0, cache.lane, memory=4 * BLOCK_SIZE)
    async with trio.open_nursery() as nursery:
        fetcher = BlockFetcher(store, tiny, parallel=4)
        nursery.start_soon(fetcher.run)
        reader = ObjectReader(version, fetcher)
        with trio.fail_after(10):
            for index in [*reversed(range(COUNT)), *range(COUNT)]:
                span = ByteRange(index * BLOCK_SIZE, min(SIZE, (index + 1) * BLOCK_SIZE))
                assert await reader.read(span) == RIGHT[span.start : span.stop]
        nursery.cancel_scope.cancel()


async def test_nothing_is_lost_before_it_is_hashed_where_the_disk_takes_nothing(
    store: FaultyStore, version: ObjectVersion, tmp_path: Path, cache: BlockCache,
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def take(self: VersionHash, blocks: list[bytes]) -> list[int]:
        time.sleep(0.005 * len(blocks))  # slower than blocks come
        return real(self, blocks)

    real = VersionHash.take
    monkeypatch.setattr(VersionHash, "take", take)
    monkeypatch.setattr(integrity, "BEHIND", MIB)
    tiny = BlockCache(tmp_path / "tiny", 0, cache.lane, memory=2 * MIB)
    fetcher = BlockFetcher(store, tiny, parallel=4)
    nursery.start_soon(fetcher.run)
    witness = Witness()
    for at in range(0, SIZE, STEP):
        span = ByteRange(at, min(SIZE, at + STEP))
        assert await fetcher.read(version, span, witness) == RIGHT[span.start : span.stop]
    assert witness.check is not None
    assert witness.check.is_verified  # the last block is held back until it is
    assert store.calls["read_range"] == COUNT


@pytest.mark.parametrize(("waiting", "is_paced"), [(80 * MIB, True), (64 * MIB, False)])
async def test_readers_go_at_the_pace_of_the_check_only_where_the_disk_is_behind_too(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion, waiting: int, is_paced: bool
) -> None:
    cache.backlog_size = waiting
    for far, is_far in ((BEHIND // BLOCK_SIZE + 1, True), (BEHIND // BLOCK_SIZE, False)):
        check = check_of(version, passed=range(far))
        assert await is_held(fetcher, check, far) == (is_paced and is_far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetcher._integrity.admit, far, Witness(check=check))
            await trio.testing.wait_all_tasks_blocked()
            check.release()  # a batch is hashed, far from that block: that is enough
    cache.backlog_size = 0


async def test_who_reads_what_the_check_does_not_come_to_has_nothing_to_wait_for(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion
) -> None:
    far = 2 * BEHIND // BLOCK_SIZE
    cache.backlog_size = 80 * MIB
    assert not await is_held(fetcher, check_of(version, passed=[*range(7), *range(8, far)]), far)
    assert await is_held(fetcher, check_of(version, passed=range(far)), far)
    cache.backlog_size = 0


async def test_who_reads_what_is_on_disk_waits_for_nobodys_download(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion
) -> None:
    far = 2 * BEHIND // BLOCK_SIZE
    check = check_of(version, passed=range(far))
    await cache.put(BlockId(check.version.version_id, far), bytes(BLOCK_SIZE))
    cache.backlog_size += 80 * MIB  # another file's
    assert not await is_held(fetcher, check, far)
    assert await is_held(fetcher, check, far - 1)
    cache.backlog_size = 0


def check_of(version: ObjectVersion, passed: Iterable[int]) -> VersionCheck:
    """One at work that has not come far."""
    huge = ObjectVersion(version.path, "huge", 1 << 30, 1, sha1="0" * 40)
    return VersionCheck(huge, Marks(passed), is_running=True)


async def is_held(fetcher: BlockFetcher, check: VersionCheck, index: int) -> bool:
    with trio.move_on_after(0.05) as scope:
        assert await fetcher._integrity.admit(index, Witness(check=check))
    return scope.cancelled_caught


async def test_of_a_run_nothing_is_given_while_its_end_is_held_back(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion
) -> None:
    tail = range(COUNT - 3, COUNT)
    for index in tail:
        cache.add(BlockId(version.version_id, index), RIGHT[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE])
    check = VersionCheck(version, Marks(range(COUNT - 1)), is_running=True)  # the last has just come
    with trio.move_on_after(0.05) as scope:
        await fetcher.read(version, span_of(version, tail), Witness(check=check))
    assert scope.cancelled_caught
    assert len(check.given) == 0  # so if one of them is replaced meanwhile, this reader never notices


async def test_without_a_sha1_nothing_is_held_back(
    store: FaultyStore, fetcher: BlockFetcher, version: ObjectVersion, cache: BlockCache
) -> None:
    unknown = ObjectVersion(version.path, version.version_id, SIZE, 1)
    assert await read_through(ObjectReader(unknown, fetcher), STEP) == RIGHT
    assert await cache.digests(version.version_id) is None


async def test_eviction_in_the_middle_is_no_trouble(fetcher: BlockFetcher, version: ObjectVersion) -> None:
    reader = ObjectReader(version, fetcher)
    with trio.fail_after(10):
        for at in range(0, SIZE, STEP):
            assert await reader.read(ByteRange(at, min(SIZE, at + STEP))) == RIGHT[at : at + STEP]
            if at // STEP % 7 == 3:
                fetcher.evict(version.version_id)


async def test_what_comes_again_after_an_eviction_is_compared_while_a_reader_is_there(
    store: FaultyStore, fetcher: BlockFetcher, version: ObjectVersion, cache: BlockCache
) -> None:
    reader, witness, half = ObjectReader(version, fetcher), Witness(), COUNT // 2
    await fetcher.read(version, ByteRange(0, half * BLOCK_SIZE), witness)
    check = witness.check
    assert check is not None
    await until(lambda: len(check.digests) == half and not check.is_running)
    fetcher.evict(version.version_id)
    store.flip(7)
    assert await fetcher.read(version, ByteRange(0, STEP), witness) == RIGHT[:STEP]
    assert await read_through(reader, STEP) == RIGHT
    assert await digests_of(cache, version)


async def test_what_has_come_is_remembered_in_a_bit_a_block(
    fetcher: BlockFetcher,
) -> None:
    huge = ObjectVersion(ObjectPath("bucket", "huge"), "huge", 1 << 40, 1, sha1="0" * 40)
    witness, numbers = Witness(), range(1_000_000, 1_050_000)
    await fetcher.begin(huge, witness)
    check = witness.check
    assert check is not None
    tracemalloc.start()
    for number in numbers:  # the first block is never read, so none of them is hashed
        fetcher._integrity.note(huge, number)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers[0] in check.passed
    assert taken < 300_000


async def test_a_block_that_comes_during_the_look_at_the_disk_is_hashed(
    fetcher: BlockFetcher, cache: BlockCache, version: ObjectVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found to be gone there, and has come again when that is known."""
    looks, hands = [0], [cache.at_hand]

    async def peek(block: BlockId) -> object:
        looks[0] += 1
        monkeypatch.setattr(BlockCache, "at_hand", lambda self, block: hands[0](block))
        return None

    monkeypatch.setattr(BlockCache, "at_hand", lambda self, block: None)
    monkeypatch.setattr(BlockCache, "peek", lambda self, block: peek(block))
    witness = Witness()
    await fetcher.begin(version, witness)
    fetcher.want(version, range(COUNT), object())
    await until(lambda: witness.check is not None and witness.check.is_verified)
    assert looks[0] > 0


@pytest.mark.parametrize("waiting", [0, 1])
async def test_who_has_fallen_behind_yields_to_what_is_still_coming(
    fetcher: BlockFetcher, version: ObjectVersion, cache: BlockCache,
    tmp_path: Path, store: FaultyStore, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, waiting: int,
) -> None:  # fmt: skip
    await read_through(ObjectReader(version, fetcher), STEP)
    await until(lambda: not cache.backlog_size)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(integrity, "trio", SimpleNamespace(sleep=pause, Event=trio.Event))
    check = VersionCheck(version, Marks(range(COUNT - 1)))  # the last block is still to come
    after = BlockCache(tmp_path / "blocks", 256 * MIB, cache.lane)
    await after.load()
    after.backlog_size = waiting
    behind = Integrity(after, fetcher._fetch_apart, lambda work, check: None, lambda version: None)
    blocks = await behind._next_blocks(check)
    assert b"".join(blocks) == RIGHT[: sum(map(len, blocks))] != b""
    assert len(pauses) == waiting
    assert await behind._next_blocks(VersionCheck(version)) == []  # it has not fallen behind at all
    assert len(pauses) == waiting
    check.passed.add(COUNT - 1)  # nothing is to come: somebody may be held back
    after._reread.discard_version(version.version_id)
    assert await behind._next_blocks(check)
    assert len(pauses) == waiting

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import CorruptData, NotFound, StoreFailure, Unavailable
from b2mount.model import BlockId, ByteRange, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE, HEADER
from b2mount.reading.fetcher import AHEAD, BlockFetcher
from b2mount.reading.line_speed import LONG, SHORT
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.reading.conftest import MIB, bytes_of, read_block, seed, until
from tests.reading.line import version_of

BIG = 6 * MIB + 4321


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def spans(store: FaultyStore) -> list[ByteRange]:
    return [call.arguments[1] for call in store.log if call.verb == "read_range"]  # type: ignore[misc]  # the log has objects


@pytest.fixture
def big(store: FaultyStore) -> ObjectVersion:
    return seed(store, BIG)


async def test_any_span_has_the_right_bytes(fetcher: BlockFetcher, big: ObjectVersion) -> None:
    data = bytes_of(BIG)
    pick = random.Random(3)
    edges = [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, BIG - 1, BIG]
    cuts = [sorted(pick.choices([*edges, pick.randrange(BIG)], k=2)) for _ in range(60)]
    for start, stop in cuts:
        assert await fetcher.read(big, ByteRange(start, stop)) == data[start:stop]


async def test_what_came_as_one_piece_is_given_without_a_copy(
    fetcher: BlockFetcher, store: FaultyStore, big: ObjectVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = bytes_of(BIG)[:MIB]

    async def read_range(version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]) -> None:
        deliver(piece)

    monkeypatch.setattr(store, "read_range", read_range)
    for span in (ByteRange(0, MIB), ByteRange(10, MIB - 10)):
        data = await fetcher.read(big, span)
        assert isinstance(data, memoryview)
        assert data.obj is piece
        assert data == piece[span.start : span.stop]


async def test_nothing_needs_no_request(fetcher: BlockFetcher, store: FaultyStore) -> None:
    empty = seed(store, 0)
    assert await fetcher.read(empty, ByteRange(0, 0)) == b""
    assert store.calls["read_range"] == 0


async def test_two_readers_of_one_block_are_one_request(
    fetcher: BlockFetcher, store: FaultyStore, big: ObjectVersion
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read_block, fetcher, big, 3)
    assert store.calls["read_range"] == 1
    await read_block(fetcher, big, 3)
    assert store.calls["read_range"] == 1


async def test_neighbours_are_one_request_and_only_what_is_missing(
    fetcher: BlockFetcher, store: FaultyStore, big: ObjectVersion
) -> None:
    await read_block(fetcher, big, 2)
    await fetcher.read(big, ByteRange(0, 5 * BLOCK_SIZE))
    assert sorted(spans(store)[1:]) == [
        ByteRange(0, 2 * BLOCK_SIZE),
        ByteRange(3 * BLOCK_SIZE, 5 * BLOCK_SIZE),
    ]


async def test_what_is_on_disk_needs_no_request_and_what_is_damaged_one_for_itself(
    fetcher: BlockFetcher, store: FaultyStore, big: ObjectVersion, cache: BlockCache, tmp_path: Path
) -> None:
    data = bytes_of(BIG)
    assert await fetcher.read(big, ByteRange(0, BIG)) == data
    await until(lambda: not cache.backlog_size)
    after = BlockCache(tmp_path / "blocks", 256 * MIB, cache.lane)
    await after.load()
    async with trio.open_nursery() as nursery:
        second = BlockFetcher(store, after, parallel=8)
        nursery.start_soon(second.run)
        before = len(spans(store))
        for start, stop in ((0, BIG), (5, 3 * MIB), (4 * MIB - 7, BIG - 1), (MIB, 2 * MIB)):
            assert await second.read(big, ByteRange(start, stop)) == data[start:stop]
        assert len(spans(store)) == before
        (path,) = (tmp_path / "blocks").rglob("1.blocks")
        with path.open("r+b") as file:
            file.seek(HEADER + 5 * BLOCK_SIZE + 1)
            file.write(b"damaged")
        assert await second.read(big, ByteRange(3 * MIB, 6 * MIB)) == data[3 * MIB : 6 * MIB]
        assert spans(store)[before:] == [ByteRange(37 * BLOCK_SIZE, 38 * BLOCK_SIZE)]
        nursery.cancel_scope.cancel()


async def test_a_random_read_fetches_its_blocks_only(
    fetcher: BlockFetcher, store: FaultyStore, big: ObjectVersion
) -> None:
    await fetcher.read(big, ByteRange(MIB + 100_000, MIB + 165_536))
    assert spans(store) == [ByteRange(MIB, MIB + 2 * BLOCK_SIZE)]


async def test_blocks_are_handed_over_before_the_flight_is_whole(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    hold = store.hold("read_range", after=True)
    fetcher.want(big, range(8), object())
    assert await read_block(fetcher, big, 0) == bytes_of(BIG)[:BLOCK_SIZE]
    assert not hold.release.is_set()
    hold.release.set()
    assert store.calls["read_range"] == 1


async def test_a_failed_flight_fails_its_waiters_and_leaves_no_trace(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    other = store.hold("read_range")
    store.fail("read_range", Unavailable("no network"), at=2)
    errors = []

    async def get() -> None:
        try:
            await read_block(fetcher, big, 1)
        except Unavailable as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_block, fetcher, big, 9)  # another flight, which is well
        await other.reached.wait()
        nursery.start_soon(get)
        nursery.start_soon(get)
        await settle()
        other.release.set()
    assert len(errors) == 2
    assert errors[0] is not errors[1]
    assert not fetcher._flights
    assert await read_block(fetcher, big, 1) == bytes_of(BIG)[BLOCK_SIZE : 2 * BLOCK_SIZE]


async def test_readahead_that_fails_tells_nobody(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    store.fail("read_range", Unavailable("no network"))
    fetcher.want(big, range(4), object())
    await settle()
    assert fetcher._ahead_size == 0
    await read_block(fetcher, big, 2)


async def test_a_version_that_is_gone_is_not_found(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    await store.delete_version(big)
    with pytest.raises(NotFound):
        await read_block(fetcher, big, 0)


async def test_a_bug_in_a_flight_is_a_failure_of_its_readers_alone(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion, expect_warning
) -> None:
    expect_warning("a bug while fetching")
    store.fail("read_range", KeyError("bug"))
    with pytest.raises(StoreFailure):
        await read_block(fetcher, big, 0)
    await read_block(fetcher, big, 0)


async def test_a_cancelled_waiter_leaves_the_flight_to_the_others(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    hold = store.hold("read_range")
    got = []

    async def get() -> None:
        got.append(await read_block(fetcher, big, 0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        with trio.move_on_after(0.01):
            await read_block(fetcher, big, 0)
        hold.release.set()
    assert got == [bytes_of(BIG)[:BLOCK_SIZE]]
    assert store.calls["read_range"] == 1


async def test_a_released_reader_takes_its_readahead_along(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    store.hold("read_range")
    owner = object()
    fetcher.want(big, range(8), owner)
    await settle()
    assert store.running["read_range"] == 1
    fetcher.release(owner)
    await settle()
    assert store.running["read_range"] == 0
    assert not fetcher._flights
    assert fetcher._ahead_size == 0
    await read_block(fetcher, big, 0)


async def test_but_not_what_others_wait_for_or_want(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    waited, shared = store.hold("read_range"), store.hold("read_range", at=2)
    first, second = object(), object()
    fetcher.want(big, range(8), first)
    fetcher.want(big, range(8, 16), first)
    fetcher.want(big, range(8, 16), second)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_block, fetcher, big, 5)
        await settle()
        fetcher.release(first)
        waited.release.set()
        shared.release.set()
    await read_block(fetcher, big, 15)
    assert store.calls["read_range"] == 2


async def test_queued_readahead_of_a_released_reader_goes_to_the_other_who_wants_it(
    store: FaultyStore, cache: BlockCache, big: ObjectVersion, nursery: trio.Nursery
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=1)
    first, second = object(), object()
    fetcher.want(big, range(4), first)
    fetcher.want(big, range(4), second)
    fetcher.release(first)
    nursery.start_soon(fetcher.run)
    await settle()
    assert len(spans(store)) == 1
    assert fetcher.lost(big, range(4)) is None


async def test_one_who_waits_goes_before_all_readahead(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    holds = [store.hold("read_range", at=at) for at in range(1, 9)]
    for first in range(0, 32, 2):
        fetcher.want(big, range(first, first + 2), object())
    await settle()
    assert store.running["read_range"] == 4  # of 8, four are kept for those who wait
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_block, fetcher, big, 40)
        nursery.start_soon(read_block, fetcher, big, 30)  # was queued as readahead
        await settle()
        begun = {span.start // BLOCK_SIZE for span in spans(store)}
        assert {40, 30} < begun
        assert len(begun) == 6
        for hold in holds:
            hold.release.set()


async def test_readahead_takes_turns_by_reader(
    store: FaultyStore, cache: BlockCache, nursery: trio.Nursery
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=1)
    versions = [seed(store, BIG, f"file{number}", number) for number in range(3)]
    for version in versions:
        for first in range(0, 8, 2):
            fetcher.want(version, range(first, first + 2), version.version_id)
    nursery.start_soon(fetcher.run)
    await settle()
    order = [call.arguments[0] for call in store.log]
    assert order == versions * 4


async def test_readahead_is_bounded_over_all_readers(
    store: FaultyStore, cache: BlockCache, nursery: trio.Nursery
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=8)
    taken = 0
    for number in range(40):
        taken += fetcher.want(version_of(100 * MIB, str(number)), range(32), number) * BLOCK_SIZE
    assert AHEAD - 4 * MIB < taken <= AHEAD


@pytest.mark.parametrize(("size", "expected"), [(3 * MIB, SHORT), (6 * MIB, LONG)])
@pytest.mark.usefixtures("mock_clock")  # it stands: whatever the machine does, this takes no time
async def test_only_what_was_one_request_tells_how_fast_the_line_is(
    fetcher: BlockFetcher, store: FaultyStore, size: int, expected: int
) -> None:
    version = seed(store, size)  # the smaller one comes whole, in as many requests as it takes, and is hashed
    assert fetcher.takes_whole(version) == (expected == SHORT)
    assert fetcher.flight_size == SHORT
    await fetcher.read(version, ByteRange(0, 2 * MIB))
    await settle()
    assert fetcher.flight_size == expected


async def test_readahead_goes_on_when_what_waits_for_the_disk_is_evicted(
    store: FaultyStore, fetcher: BlockFetcher, cache: BlockCache, big: ObjectVersion
) -> None:
    for index in range(65 * MIB // BLOCK_SIZE):
        cache.add(BlockId("another", index), bytes(BLOCK_SIZE))
    fetcher.want(big, range(8), object())
    await settle()
    assert store.calls["read_range"] == 0
    cache.evict("another")  # before any of it has been written
    await until(lambda: store.calls["read_range"] == 1)


async def test_no_readahead_while_the_disk_is_behind(
    store: FaultyStore, fetcher: BlockFetcher, cache: BlockCache, big: ObjectVersion
) -> None:
    cache.backlog_size += 100 * MIB
    fetcher.want(big, range(8), object())
    fetcher.want(big, range(32, 40), object())
    await settle()
    assert store.calls["read_range"] == 0
    await read_block(fetcher, big, 0)  # but who waits is served
    await settle()
    cache.backlog_size -= 100 * MIB
    cache.add(BlockId("another", 0), b"the last one that the disk was behind with")
    with trio.fail_after(3):
        await fetcher.arrival(big, 39)  # also when nobody has asked for anything meanwhile


async def test_at_most_so_many_requests_at_once(
    store: FaultyStore, cache: BlockCache, nursery: trio.Nursery
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=3)
    nursery.start_soon(fetcher.run)
    version = seed(store, BIG)
    async with trio.open_nursery() as readers:
        for index in range(0, 40, 2):
            readers.start_soon(read_block, fetcher, version, index)
    assert store.most_running["read_range"] == 3


async def test_at_the_end_those_who_wait_are_told(
    store: FaultyStore, cache: BlockCache, big: ObjectVersion
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=4)
    store.hold("read_range")
    async with trio.open_nursery() as readers, trio.open_nursery() as service:
        service.start_soon(fetcher.run)

        async def get() -> None:
            with pytest.raises(Unavailable):
                await read_block(fetcher, big, 0)

        readers.start_soon(get)
        await settle()
        service.cancel_scope.cancel()
    with pytest.raises(Unavailable):
        await read_block(fetcher, big, 0)


async def test_what_is_evicted_is_fetched_again(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    await fetcher.read(big, ByteRange(0, MIB))
    await until(lambda: fetcher.status().blocks == 8)
    assert fetcher.evict(big.version_id) >= MIB
    await fetcher.read(big, ByteRange(0, MIB))
    assert store.calls["read_range"] == 2


async def test_status_counts_hits_and_misses(fetcher: BlockFetcher, big: ObjectVersion) -> None:
    await read_block(fetcher, big, 0)
    await read_block(fetcher, big, 0)
    status = fetcher.status()
    assert (status.hits, status.misses) == (1, 1)


async def test_a_store_that_sends_too_little_is_a_failure(
    store: FaultyStore, fetcher: BlockFetcher, big: ObjectVersion
) -> None:
    longer = ObjectVersion(big.path, big.version_id, BIG + 1000, 1)
    with pytest.raises(StoreFailure):
        await fetcher.read(longer, ByteRange(BIG, BIG + 1000))


async def test_a_small_version_comes_whole_and_checked(store: FaultyStore, fetcher: BlockFetcher) -> None:
    small = seed(store, 3 * BLOCK_SIZE + 5)
    hold = store.hold("read_range", after=True)
    async with trio.open_nursery() as nursery:

        async def get() -> None:
            await read_block(fetcher, small, 0)
            assert hold.release.is_set()  # not before the SHA-1 was known

        nursery.start_soon(get)
        await settle()
        hold.release.set()
    assert await fetcher.read(small, ByteRange(0, small.size)) == bytes_of(small.size)
    assert spans(store) == [ByteRange(0, small.size)]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_wrong_bytes_of_a_small_version_never_show(
    store: FaultyStore, fetcher: BlockFetcher, times: int
) -> None:
    small = seed(store, 300_000)
    for at in range(1, times + 1):
        store.flip(1000 * at, at=at)
    assert await fetcher.read(small, ByteRange(0, small.size)) == bytes_of(small.size)
    assert store.calls["read_range"] == times + 1


async def test_a_small_version_that_stays_wrong_is_corrupt(
    store: FaultyStore, fetcher: BlockFetcher, expect_warning
) -> None:
    expect_warning("wrong bytes")
    small = seed(store, 300_000)
    store.inner.corrupt(small, 5)  # type: ignore[attr-defined]  # a fake, or an object of the log
    with pytest.raises(CorruptData):
        await fetcher.read(small, ByteRange(0, 10))
    assert store.calls["read_range"] == 4
    assert fetcher.status().blocks == 0


async def test_a_small_version_is_checked_against_what_its_writer_said_too(
    cache: BlockCache, nursery: trio.Nursery, expect_warning
) -> None:
    class KnowsNoSha1(FaultyStore):
        async def read_range(
            self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
        ) -> None:
            await super().read_range(attrs.evolve(version, sha1=None), span, deliver)

    expect_warning("wrong bytes")
    store = KnowsNoSha1(MemoryStore())
    fetcher = BlockFetcher(store, cache, parallel=2)
    nursery.start_soon(fetcher.run)
    small = seed(store, 1000)
    with pytest.raises(CorruptData):
        await read_block(fetcher, attrs.evolve(small, sha1="0" * 40), 0)


async def test_a_small_version_that_was_trimmed_in_part_is_one_request(
    store: FaultyStore, fetcher: BlockFetcher, cache: BlockCache
) -> None:
    small = seed(store, 8 * BLOCK_SIZE)
    await read_block(fetcher, small, 0)
    for index in (1, 3, 5):
        cache.drop(BlockId(small.version_id, index))
    assert await fetcher.read(small, ByteRange(0, small.size)) == bytes_of(small.size)
    assert store.calls["read_range"] == 2


async def test_short_flights_have_places_of_their_own(
    store: FaultyStore, cache: BlockCache, big: ObjectVersion, nursery: trio.Nursery
) -> None:
    fetcher = BlockFetcher(store, cache, parallel=1, short=20)
    nursery.start_soon(fetcher.run)
    small = [seed(store, 1000, f"small{number}", number) for number in range(30)]
    holds = [store.hold("read_range", at=at) for at in range(1, 18)]
    fetcher.want(big, range(16), "reader")
    await settle()
    for version in small:
        fetcher.want(version, range(1), "walk")
    await settle()
    assert store.running["read_range"] == 1 + 16  # four of twenty are kept for those who wait
    for hold in holds:
        hold.release.set()
    await settle()
    assert all(fetcher.lost(version, range(1)) is None for version in small)

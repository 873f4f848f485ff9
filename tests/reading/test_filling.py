from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import CorruptData, Unavailable
from b2mount.model import ByteRange, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.fetcher import AHEAD, BlockFetcher
from b2mount.reading.filling import LIMIT, Filler
from b2mount.reading.flight import count_of
from b2mount.reading.integrity import Witness
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.reading.conftest import MIB, bytes_of, read_block, seed
from tests.reading.line import Line, SlowHash, version_of


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("size", [1, BLOCK_SIZE, 4 * MIB, 4 * MIB + 1, 9 * MIB + 77])
async def test_all_of_it_is_here_and_right(fetcher: BlockFetcher, store: FaultyStore, size: int) -> None:
    version = seed(store, size)
    arrived: list[int] = []
    filler = Filler(fetcher)
    await filler.fill(version, arrived.append)
    filler.close()
    assert sum(arrived) == size
    assert fetcher.lost(version, range(count_of(version))) is None
    requests = store.calls["read_range"]
    assert requests == -(-size // (4 * MIB))
    assert await fetcher.read(version, ByteRange(0, size)) == bytes_of(size)
    await filler.fill(version, arrived.append)
    assert store.calls["read_range"] == requests
    assert sum(arrived) == 2 * size


async def test_who_waits_goes_first(store: FaultyStore, cache: BlockCache, nursery: trio.Nursery) -> None:
    fetcher = BlockFetcher(store, cache, parallel=1)
    nursery.start_soon(fetcher.run)
    versions = [seed(store, 1000, f"file{number}", number) for number in range(10)]
    hold = store.hold("read_range")
    filler = Filler(fetcher)
    for version in versions:
        nursery.start_soon(filler.fill, version, lambda size: None)
    await hold.reached.wait()
    await settle()
    waited = seed(store, 1000, "waited", 99)
    async with trio.open_nursery() as readers:
        readers.start_soon(read_block, fetcher, waited, 0)
        await settle()
        hold.release.set()
    order = [call.arguments[0] for call in store.log if call.verb == "read_range"]
    assert order[1] == waited


async def test_it_takes_no_more_than_its_share(
    store: FaultyStore, fetcher: BlockFetcher, nursery: trio.Nursery
) -> None:
    filler = Filler(fetcher)
    for at in range(1, 20):
        store.hold("read_range", at=at)
    nursery.start_soon(filler.fill, version_of(1000 * MIB), lambda size: None)
    await settle()
    assert LIMIT - 4 * MIB < fetcher._ahead_size <= LIMIT


async def test_it_waits_while_readers_need_the_room(
    store: FaultyStore, fetcher: BlockFetcher, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    for at in range(1, 5):  # of eight places four are for readahead
        store.hold("read_range", at=at)
    for number in range(AHEAD // (4 * MIB)):
        fetcher.want(version_of(100 * MIB, f"read{number}"), range(32), number)
    filler = Filler(fetcher)
    done = trio.Event()

    async def fill() -> None:
        await filler.fill(version, lambda size: None)
        done.set()

    version = seed(store, 1000)
    nursery.start_soon(fill)
    await trio.sleep(10)
    assert not done.is_set()
    for number in range(AHEAD // (4 * MIB)):
        fetcher.release(number)
    await done.wait()


async def test_what_fails_is_told_when_all_has_ended(fetcher: BlockFetcher, store: FaultyStore) -> None:
    version = seed(store, 13 * MIB)
    store.fail("read_range", Unavailable("no network"), at=2)
    filler, arrived = Filler(fetcher), list[int]()
    with pytest.raises(Unavailable):
        await filler.fill(version, arrived.append)
    assert sum(arrived) in (9 * MIB, 12 * MIB)
    await filler.fill(version, arrived.append)  # and leaves no trace


async def test_wrong_bytes_of_a_small_file_are_fetched_again(
    fetcher: BlockFetcher, store: FaultyStore
) -> None:
    version = seed(store, 1000)
    store.flip(10)
    await Filler(fetcher).fill(version, lambda size: None)
    assert store.calls["read_range"] == 2
    for at in range(1, 9):
        store.flip(10, at=at)
    with pytest.raises(CorruptData):
        await Filler(fetcher).fill(seed(store, 1000, "other", 5), lambda size: None)


async def test_the_sha1_of_a_big_file_has_been_checked(
    fetcher: BlockFetcher, store: FaultyStore, expect_warning: WarningLog
) -> None:
    expect_warning("came with wrong bytes")
    version = seed(store, 9 * MIB)
    store.flip(10, at=2)
    await Filler(fetcher).fill(version, lambda size: None)
    assert await fetcher.read(version, ByteRange(0, version.size)) == bytes_of(9 * MIB)


async def test_a_big_file_that_stays_wrong_is_an_error(
    fetcher: BlockFetcher, store: FaultyStore, expect_warning: WarningLog
) -> None:
    expect_warning("came with wrong bytes")
    expect_warning("stays unreadable")
    version = attrs.evolve(seed(store, 9 * MIB), sha1="0" * 40)
    with pytest.raises(CorruptData):
        await Filler(fetcher).fill(version, lambda size: None)


def test_it_ends_when_all_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        cache = BlockCache(tmp_path / "blocks", 0, SlowHash("hash", 1, speed=50e6), memory=512 * MIB)
        fetcher = BlockFetcher(Line(), cache, parallel=16)
        version, witness = version_of(256 * MIB, sha1="0" * 40), Witness()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetcher.run)
            await fetcher.begin(version, witness)
            await Filler(fetcher).fill(version, lambda size: None)
            assert witness.check is not None
            assert witness.check.is_verified
            nursery.cancel_scope.cancel()

    SlowHash.install(monkeypatch)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_nothing_goes_on_when_it_is_given_up(
    store: FaultyStore, fetcher: BlockFetcher, nursery: trio.Nursery
) -> None:
    for at in range(1, 20):
        store.hold("read_range", at=at)
    filler = Filler(fetcher)
    async with trio.open_nursery() as working:
        working.start_soon(filler.fill, version_of(1000 * MIB), lambda size: None)
        await settle()
        working.cancel_scope.cancel()
    filler.close()
    await settle()
    assert fetcher._ahead_size == 0
    assert store.running["read_range"] == 0


async def test_the_second_request_for_a_piece_may_fail_first(
    fetcher: BlockFetcher, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = seed(store, 8 * MIB)
    await fetcher.read(version, ByteRange(4 * MIB, 8 * MIB))
    await read_block(fetcher, version, 10)  # between the two
    read_range, failed = store.read_range, trio.Event()

    async def second_fails(version: ObjectVersion, span: ByteRange, take: Callable[[bytes], None]) -> None:
        if span.start == 0:
            await failed.wait()
            await settle()
        elif not failed.is_set():
            failed.set()
            raise Unavailable("no network")
        await read_range(version, span, take)

    monkeypatch.setattr(FaultyStore, "read_range", staticmethod(second_fails))
    await Filler(fetcher).fill(version, lambda size: None)
    assert failed.is_set()
    assert fetcher.lost(version, range(count_of(version))) is None

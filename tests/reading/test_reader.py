from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import Stale
from b2mount.model import ByteRange, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.integrity import Witness
from b2mount.reading.reader import ObjectReader
from b2mount.threads import ThreadLane
from tests.fakes.faulty_store import FaultyStore
from tests.reading.conftest import MIB, bytes_of, seed, until
from tests.reading.line import CONNECTION, FIRST_BYTE, TOTAL, Line, SlowHash, version_of

GIB = 1 << 30
KIB = 1 << 10


async def read_through(reader: ObjectReader, step: int, start: int = 0, stop: int | None = None) -> bytes:
    stop = reader.version.size if stop is None else stop
    pieces = [await reader.read(ByteRange(at, min(stop, at + step))) for at in range(start, stop, step)]
    return b"".join(pieces)


@pytest.mark.parametrize("step", [1000, 128 * KIB, MIB])
async def test_every_byte_is_right(store: FaultyStore, fetcher: BlockFetcher, step: int) -> None:
    size = (6 if step > 1000 else 1) * MIB + 777
    reader = ObjectReader(seed(store, size), fetcher)
    assert await read_through(reader, step) == bytes_of(size)
    reader.close()


async def test_readers_of_one_version_share_its_flights(store: FaultyStore, fetcher: BlockFetcher) -> None:
    version = seed(store, 8 * MIB)
    got: list[bytes] = []

    async def read() -> None:
        reader = ObjectReader(version, fetcher)
        got.append(await read_through(reader, 128 * KIB))
        reader.close()

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(read)
    assert got == [bytes_of(8 * MIB)] * 4
    spans: list[ByteRange] = [call.arguments[1] for call in store.log]  # type: ignore[misc]  # the log has objects
    assert sum(span.size for span in spans) == 8 * MIB


async def test_again_from_the_cache_without_a_request(store: FaultyStore, fetcher: BlockFetcher) -> None:
    version = seed(store, 8 * MIB)
    await read_through(ObjectReader(version, fetcher), MIB)
    requests = store.calls["read_range"]
    assert await read_through(ObjectReader(version, fetcher), 128 * KIB) == bytes_of(8 * MIB)
    assert store.calls["read_range"] == requests


async def test_a_version_that_is_deleted_is_stale(store: FaultyStore, fetcher: BlockFetcher) -> None:
    version = seed(store, 5)
    reader = ObjectReader(version, fetcher)
    await store.delete_version(version)
    with pytest.raises(Stale):
        await reader.read(ByteRange(0, 5))
    reader.close()


async def test_a_closed_reader_fetches_nothing_more(store: FaultyStore, fetcher: BlockFetcher) -> None:
    reader = ObjectReader(seed(store, 40 * MIB), fetcher)
    await read_through(reader, 128 * KIB, stop=MIB)
    reader.close()
    await trio.testing.wait_all_tasks_blocked()
    assert fetcher._ahead_size == 0
    assert not fetcher._flights
    assert store.running["read_range"] == 0


async def test_readahead_that_was_trimmed_is_read_ahead_again(
    store: FaultyStore, fetcher: BlockFetcher, cache: BlockCache
) -> None:
    version = seed(store, 40 * MIB)
    reader = ObjectReader(version, fetcher)
    await read_through(reader, 128 * KIB, stop=4 * MIB)
    await until(lambda: not fetcher._flights)
    fetcher.evict(version.version_id)
    requests = store.calls["read_range"]
    assert await read_through(reader, 128 * KIB, start=4 * MIB) == bytes_of(40 * MIB)[4 * MIB :]
    assert store.calls["read_range"] - requests <= 20


# -- on a simulated line, in simulated time ------------------------------------------------------------


def on_the_line(
    tmp_path: Path, test: Callable[[Line, BlockFetcher], Awaitable[None]], *, parallel: int = 16
) -> None:
    async def main() -> None:
        line = Line()
        lane = ThreadLane("disk", 4)
        cache = BlockCache(tmp_path / "blocks", 0, lane)  # in memory alone: a thread takes real time
        fetcher = BlockFetcher(line, cache, parallel=parallel)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetcher.run)
            await test(line, fetcher)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("step", [128 * KIB, MIB])
def test_reading_in_order_fills_the_line(tmp_path: Path, step: int) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        began = trio.current_time()
        await read_through(ObjectReader(version_of(512 * MIB), fetcher), step)
        assert trio.current_time() - began <= 1.05 * (FIRST_BYTE + 512 * MIB / TOTAL)
        assert len(line.requests) <= 160
        assert line.sent == 512 * MIB

    on_the_line(tmp_path, test)


@pytest.mark.parametrize("step", [128 * KIB, MIB])
def test_a_line_faster_than_any_is_filled_by_few_requests(tmp_path: Path, step: int) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        line.first_byte, line.connection, line.total = 0.001, 2e9, 1e9
        began = trio.current_time()
        await read_through(ObjectReader(version_of(512 * MIB), fetcher), step)
        assert trio.current_time() - began <= 1.05 * 512 * MIB / line.total
        assert len(line.requests) <= 60
        assert line.sent == 512 * MIB

    on_the_line(tmp_path, test)


def test_a_line_that_becomes_slow_is_filled_again(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        reader = ObjectReader(version_of(GIB), fetcher)
        line.first_byte, line.connection, line.total = 0.001, 2e9, 1e9
        await read_through(reader, MIB, stop=256 * MIB)
        line.first_byte, line.connection, line.total = FIRST_BYTE, CONNECTION, TOTAL
        await read_through(reader, MIB, start=256 * MIB, stop=512 * MIB)
        began = trio.current_time()
        await read_through(reader, MIB, start=512 * MIB, stop=768 * MIB)
        assert trio.current_time() - began <= 1.05 * (FIRST_BYTE + 256 * MIB / TOTAL)

    on_the_line(tmp_path, test)


def test_the_first_bytes_come_after_one_round_trip(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        began = trio.current_time()
        await ObjectReader(version_of(GIB), fetcher).read(ByteRange(0, 64 * KIB))
        assert trio.current_time() - began <= FIRST_BYTE + 64 * KIB / CONNECTION + 0.001
        assert line.sent <= 128 * KIB

    on_the_line(tmp_path, test)


def test_closing_ends_the_readahead(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        reader = ObjectReader(version_of(GIB), fetcher)
        await read_through(reader, 128 * KIB, stop=MIB)
        assert fetcher._ahead_size > MIB
        reader.close()
        sent = line.sent
        await trio.sleep(5)
        assert line.sent == sent
        assert fetcher._ahead_size == 0

    on_the_line(tmp_path, test)


def test_random_reads_fetch_little_more_than_they_ask_for(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        reader = ObjectReader(version_of(GIB), fetcher)
        pick = random.Random(11)
        for _ in range(100):
            at = pick.randrange(GIB - 64 * KIB)
            await reader.read(ByteRange(at, at + 64 * KIB))
        await trio.sleep(5)
        assert line.sent <= 25e6
        assert len(line.requests) <= 110

    on_the_line(tmp_path, test)


def test_the_head_of_many_big_files_is_cheap(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        for number in range(100):
            reader = ObjectReader(version_of(GIB, f"file{number}"), fetcher)
            await reader.read(ByteRange(0, 128 * KIB))  # what the kernel makes of 64 KiB
            reader.close()
        await trio.sleep(5)
        assert line.sent <= 40e6
        assert len(line.requests) == 100

    on_the_line(tmp_path, test)


def test_two_places_in_turns_are_read_at_the_pace_of_the_line(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        reader = ObjectReader(version_of(GIB), fetcher)
        began = trio.current_time()
        for at in range(0, 96 * MIB, 128 * KIB):
            await reader.read(ByteRange(at, at + 128 * KIB))
            await reader.read(ByteRange(512 * MIB + at, 512 * MIB + at + 128 * KIB))
        assert trio.current_time() - began <= 1.25 * (192 * MIB / TOTAL)

    on_the_line(tmp_path, test)


def test_a_zip_is_read_from_its_end_and_then_from_the_front(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        reader = ObjectReader(version_of(GIB), fetcher)
        await reader.read(ByteRange(GIB - 22, GIB))
        await reader.read(ByteRange(GIB - 64 * KIB, GIB))
        await reader.read(ByteRange(GIB - 300 * KIB, GIB - 64 * KIB))
        await reader.read(ByteRange(0, 4 * KIB))
        await trio.sleep(5)
        assert line.sent <= 512 * KIB

    on_the_line(tmp_path, test)


def test_many_readers_share_the_line_fairly(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        ends: list[float] = []
        began = trio.current_time()

        async def read(version: ObjectVersion) -> None:
            await read_through(ObjectReader(version, fetcher), 128 * KIB)
            ends.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(read, version_of(32 * MIB, f"file{number}"))
        assert max(ends) <= 1.1 * 512 * MIB / TOTAL
        assert min(ends) >= 0.8 * max(ends)
        assert line.sent <= 1.02 * 512 * MIB

    on_the_line(tmp_path, test)


def test_a_random_read_passes_a_sequential_reader(tmp_path: Path) -> None:
    async def test(line: Line, fetcher: BlockFetcher) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_through, ObjectReader(version_of(GIB), fetcher), 128 * KIB)
            await trio.sleep(2)
            began = trio.current_time()
            await ObjectReader(version_of(GIB, "other"), fetcher).read(ByteRange(MIB, MIB + 4096))
            assert trio.current_time() - began <= 3 * FIRST_BYTE
            nursery.cancel_scope.cancel()

    on_the_line(tmp_path, test)


@pytest.mark.parametrize("speed", [500e6, 100e6])
@pytest.mark.parametrize("at_once", [1, 8])
def test_all_is_checked_where_the_cache_takes_nothing_and_hashing_is_slower_than_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, at_once: int
) -> None:
    async def reading(reader: ObjectReader, starts: Iterator[int]) -> None:
        for start in starts:
            await reader.read(ByteRange(start, start + MIB))
            await trio.sleep(MIB / 3e9)

    async def main() -> None:
        line, cache = Line(), BlockCache(tmp_path / "blocks", 0, SlowHash("hash", 1, speed=speed))
        line.first_byte, line.connection, line.total = 0.001, 2e9, 1e9
        fetcher = BlockFetcher(line, cache, parallel=16, short=64)
        version = version_of(256 * MIB, sha1="0" * 40)
        witness, reader = Witness(), ObjectReader(version, fetcher)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetcher.run)
            await fetcher.begin(version, witness)
            starts = iter(range(0, version.size, MIB))
            async with trio.open_nursery() as kernel:  # which asks for more before it has what it asked for
                for _ in range(at_once):
                    kernel.start_soon(reading, reader, starts)
            assert witness.check is not None
            assert witness.check.is_verified
            nursery.cancel_scope.cancel()

    SlowHash.install(monkeypatch)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

"""Bytes are given as they arrive, before their block is whole, unless the block is compared first."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import CorruptData, Unavailable
from b2mount.model import BlockId, ByteRange, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.integrity import Witness
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.reading.conftest import MIB, bytes_of, seed, until

SIZE = 5 * MIB
RIGHT = bytes_of(SIZE)
WRONG = bytes(100)
KIB = 1 << 10


class Dribble(FaultyStore):
    """Sends the next chunk of what it was asked for when a test says so; while `flows`, at once."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.send, self._chunks = trio.open_memory_channel[bytes](math.inf)
        self.flows = False
        self.asked = 0

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        self.asked += 1
        at = span.start
        while at < span.stop:
            chunk = RIGHT[at : span.stop] if self.flows else await self._chunks.receive()
            if not chunk:
                raise Unavailable("no more")
            deliver(chunk)
            at += len(chunk)


@pytest.fixture
def store() -> Dribble:
    return Dribble()


@pytest.fixture
def version(store: Dribble) -> ObjectVersion:
    return seed(store, SIZE)


class Reads:
    """What reads in the background have got."""

    def __init__(self, fetcher: BlockFetcher, nursery: trio.Nursery) -> None:
        self.fetcher, self.nursery = fetcher, nursery
        self.got: dict[tuple[int, int], bytes] = {}

    async def begin(self, version: ObjectVersion, start: int, stop: int, witness: Witness) -> None:
        self.nursery.start_soon(self._read, version, start, stop, witness)
        await trio.testing.wait_all_tasks_blocked()

    async def _read(self, version: ObjectVersion, start: int, stop: int, witness: Witness) -> None:
        data = await self.fetcher.read(version, ByteRange(start, stop), witness)
        self.got[start, stop] = bytes(data)


async def tell(store: Dribble, chunk: bytes) -> None:
    store.send.send_nowait(chunk)
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def reads(fetcher: BlockFetcher, nursery: trio.Nursery) -> Reads:
    return Reads(fetcher, nursery)


async def test_each_reader_has_its_bytes_when_they_are_here(
    store: Dribble, version: ObjectVersion, reads: Reads
) -> None:
    witness = Witness()
    for start, stop in ((0, 16 * KIB), (8 * KIB, 48 * KIB), (0, BLOCK_SIZE), (100 * KIB, 120 * KIB)):
        await reads.begin(version, start, stop, witness)
    await tell(store, RIGHT[: 16 * KIB - 1])
    assert reads.got == {}
    await tell(store, RIGHT[16 * KIB - 1 : 40 * KIB])
    assert list(reads.got) == [(0, 16 * KIB)]
    await reads.begin(version, 10, 40 * KIB, witness)  # here already
    await tell(store, RIGHT[40 * KIB : 50 * KIB])
    assert list(reads.got) == [(0, 16 * KIB), (10, 40 * KIB), (8 * KIB, 48 * KIB)]
    store.flows = True
    await tell(store, RIGHT[50 * KIB : BLOCK_SIZE])
    await until(lambda: len(reads.got) == 5)
    assert all(data == RIGHT[start:stop] for (start, stop), data in reads.got.items())


async def test_a_part_is_not_taken_for_the_block(
    store: Dribble, version: ObjectVersion, reads: Reads, cache: BlockCache
) -> None:
    await reads.begin(version, 0, 1000, Witness())
    await tell(store, RIGHT[:2000])
    assert reads.got == {(0, 1000): RIGHT[:1000]}
    assert BlockId(version.version_id, 0) not in cache
    await tell(store, b"")  # the rest never comes
    store.flows = True
    assert await reads.fetcher.read(version, ByteRange(500, 90_000)) == RIGHT[500:90_000]
    assert store.asked == 2


async def test_who_had_a_wrong_part_is_told(
    store: Dribble, version: ObjectVersion, reads: Reads, expect_warning
) -> None:
    expect_warning("came with wrong bytes")
    witness, other = Witness(), Witness()
    await reads.begin(version, 0, 100, witness)
    await tell(store, WRONG)
    assert reads.got == {(0, 100): WRONG}
    store.flows = True
    await tell(store, RIGHT[100:BLOCK_SIZE])
    with pytest.raises(CorruptData):
        await reads.fetcher.read(version, ByteRange(0, SIZE), witness)
    assert await reads.fetcher.read(version, ByteRange(0, SIZE), other) == RIGHT


async def test_a_block_that_is_known_is_compared_first(
    store: Dribble, version: ObjectVersion, reads: Reads, cache: BlockCache
) -> None:
    store.flows = True
    await reads.fetcher.read(version, ByteRange(0, SIZE), Witness())
    for _ in range(2500):
        if await cache.digests(version.version_id) is not None:
            break
        await trio.sleep(0.002)
    cache.drop(BlockId(version.version_id, 3))
    store.flows = False
    at = 3 * BLOCK_SIZE
    await reads.begin(version, at, at + 100, Witness())
    await tell(store, WRONG + RIGHT[at + 100 : at + BLOCK_SIZE - 1])
    assert reads.got == {}
    store.flows = True
    await tell(store, RIGHT[at + BLOCK_SIZE - 1 : at + BLOCK_SIZE])
    await until(lambda: bool(reads.got))
    assert reads.got == {(at, at + 100): RIGHT[at : at + 100]}


async def test_what_is_checked_whole_is_given_whole(store: Dribble, reads: Reads) -> None:
    small = seed(store, 100_000)
    await reads.begin(small, 0, 1000, Witness())
    await tell(store, RIGHT[:99_999])
    assert reads.got == {}
    store.flows = True
    await tell(store, RIGHT[99_999:100_000])
    await until(lambda: bool(reads.got))
    assert reads.got == {(0, 1000): RIGHT[:1000]}


async def test_without_a_sha1_a_small_one_comes_as_it_arrives(store: Dribble, reads: Reads) -> None:
    small = attrs.evolve(seed(store, 100_000), sha1=None)
    await reads.begin(small, 0, 1000, Witness())
    await tell(store, RIGHT[:1000])
    assert reads.got == {(0, 1000): RIGHT[:1000]}

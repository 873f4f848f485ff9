"""A cache in a directory of its own, a store that counts, and a fetcher at work."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import Data
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.flight import span_of
from b2mount.threads import ThreadLane
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore

MIB = 1 << 20


def bytes_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def seed(store: FaultyStore, size: int, name: str = "file", number: int = 1) -> ObjectVersion:
    assert isinstance(store.inner, MemoryStore)
    return store.inner.seed(ObjectPath("bucket", name), bytes_of(size, number))


async def read_block(fetcher: BlockFetcher, version: ObjectVersion, index: int) -> Data:
    return await fetcher.read(version, span_of(version, range(index, index + 1)))


async def until(condition: Callable[[], bool]) -> None:
    """Return when it has become true behind our backs."""
    for _ in range(5000):
        if condition():
            return
        await trio.sleep(0.001)
    raise AssertionError("it never became true")


@pytest.fixture
def lane() -> ThreadLane:
    return ThreadLane("disk", 4)


@pytest.fixture
async def cache(tmp_path: Path, lane: ThreadLane) -> BlockCache:
    cache = BlockCache(tmp_path / "blocks", 256 * MIB, lane)
    await cache.load()
    return cache


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
async def fetcher(store: FaultyStore, cache: BlockCache, nursery: trio.Nursery) -> BlockFetcher:
    fetcher = BlockFetcher(store, cache, parallel=8)
    nursery.start_soon(fetcher.run)
    return fetcher

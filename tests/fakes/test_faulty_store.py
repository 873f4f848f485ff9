"""The fake that fails on demand does so, and only then."""

from __future__ import annotations

import pytest
import trio

from b2mount.errors import CorruptData, NotFound, Unavailable
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal

PATH = ObjectPath("bucket", "file")


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


async def put(store: FaultyStore) -> ObjectVersion:
    return await store.put(PATH, literal(b"data"), ObjectMetadata())


async def test_the_call_that_was_named_fails(store: FaultyStore) -> None:
    await put(store)
    store.fail("put", Unavailable("x"), at=2, times=2)
    await put(store)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await put(store)
    await put(store)
    assert store.calls["put"] == len(store.log) == 5


async def test_before_and_after_the_work(store: FaultyStore) -> None:
    store.fail("put", Unavailable("x"))
    with pytest.raises(Unavailable):
        await put(store)
    with pytest.raises(NotFound):
        await store.stat(PATH)
    store.fail("put", Unavailable("x"), after=True)
    with pytest.raises(Unavailable):
        await put(store)
    assert (await store.stat(PATH)).size == 4


async def test_a_verb_that_waits(store: FaultyStore, autojump_clock: trio.testing.MockClock) -> None:
    hold = store.hold("put")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, store)
        await hold.reached.wait()
        await trio.sleep(100)
        with pytest.raises(NotFound):
            await store.stat(PATH)
        assert store.running["put"] == 1
        hold.release.set()
    assert (await store.stat(PATH)).size == 4
    assert (store.running["put"], store.most_running["put"]) == (0, 1)


async def test_a_wrong_byte(store: FaultyStore) -> None:
    version = await put(store)
    for span, expected in ((ByteRange(1, 4), b"at\x9e"), (ByteRange(0, 4), None)):
        pieces: list[bytes] = []
        store.flip(2)
        if expected is None:
            with pytest.raises(CorruptData):
                await store.read_range(version, span, pieces.append)
        else:
            await store.read_range(version, span, pieces.append)
            assert b"".join(pieces) == expected
    pieces = []
    await store.read_range(version, ByteRange(0, 4), pieces.append)
    assert b"".join(pieces) == b"data"


def test_a_verb_that_is_none(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="upload"):
        store.fail("upload", Unavailable("x"))

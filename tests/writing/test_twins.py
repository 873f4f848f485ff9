"""Bytes that B2 has under another name are copied there instead of being sent."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import AccessDenied, B2MountError, NotFound, Unavailable
from b2mount.model import AUTOMATIC, ObjectMetadata, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.twins import MOST, SMALLEST, Twins
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import World, at, attributes, metadata, open_world

DATA = random.Random(5).randbytes(SMALLEST)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def send(world: World, key: str, data: bytes, said: ObjectMetadata | None = None) -> ObjectVersion:
    sealed = world.new(data).seal(at(key), said or metadata(key), attributes(len(data)))
    return await world.uploader.upload(sealed, lambda sent: None)


def sendings(store: FaultyStore) -> int:
    return store.calls["put"] + store.calls["start_multipart"]


async def test_the_same_bytes_are_copied(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await send(world, "a", DATA)
        made = await send(world, "b", DATA)
        again = await send(world, "a", DATA)
    assert (sendings(store), store.calls["copy"]) == (1, 2)
    assert memory.contents() == {"a": DATA, "b": DATA}
    assert made == memory.newest("b")
    assert made.sha1 == hashlib.sha1(DATA).hexdigest()
    assert made.info["src_last_modified_millis"] == "b"
    assert again.version_id == memory.newest("a").version_id


async def test_other_and_smaller_files_are_sent(tmp_path: Path, store: FaultyStore) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        for data in (DATA, DATA[:-1] + b"?", DATA[1:], DATA[1:]):
            await send(world, "a", data)
    assert (sendings(store), store.calls["copy"]) == (4, 0)


async def test_one_sha1_is_not_enough(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    """Two files may be made to have one SHA-1: then they begin differently."""
    async with open_world(tmp_path, store, running=False) as world:
        first = await send(world, "a", DATA)
        kept = world.uploader._checksums.kept  # type: ignore[attr-defined]  # a fake, or an object of the log
        kept[first.version_id][7] ^= 1
        await send(world, "b", DATA)
        kept.clear()
        row = memory._row(memory.newest("b").version_id)
        row.data[0] ^= 1
        await send(world, "c", DATA)
        assert (sendings(store), store.calls["copy"]) == (3, 0)
        await send(world, "d", DATA)
        assert store.calls["copy"] == 1
    assert memory.contents()["d"] == DATA


async def test_what_a_listing_has_shown(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    """B2's own SHA-1 and the first block will do; what others say in the object info will not."""
    async with open_world(tmp_path, store, running=False) as world:
        world.uploader.twins.note(memory.seed(at("a"), DATA))
        await send(world, "b", DATA)
        assert (sendings(store), store.calls["copy"], sum(span.size for span in world.fetched)) == (
            0,
            1,
            128 << 10,
        )
        other = DATA[:-1] + b"?"
        said = {"large_file_sha1": hashlib.sha1(other).hexdigest()}
        world.uploader.twins.note(
            attrs.evolve(memory.seed(at("c"), DATA, said), sha1=said["large_file_sha1"])
        )
        await send(world, "d", other)
        assert (sendings(store), store.calls["copy"]) == (1, 1)
    assert memory.contents() == {"a": DATA, "b": DATA, "c": DATA, "d": other}


async def test_they_are_remembered_across_mounts(tmp_path: Path) -> None:
    versions = [
        ObjectVersion(at(name), f"id of {name}", SMALLEST, 0, sha1=name, info={"key": "value"})
        for name in ("a", "b")
    ]
    lane = ThreadLane("disk", 1)
    twins = Twins.kept_in(tmp_path / "twins.sqlite3", lane)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(twins.run)
        for version in versions:
            twins.note(version)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    later = Twins.kept_in(tmp_path / "twins.sqlite3", lane)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run)
        with trio.fail_after(10):
            while await later.of("a", SMALLEST) is None:  # noqa: ASYNC110  # it is being opened
                await trio.sleep(0.001)
        assert await later.of("a", SMALLEST) == versions[0]
        await later.forget(versions[0])
        assert await later.of("a", SMALLEST) is None
        assert await later.of("b", SMALLEST) == versions[1]
        assert await later.of("b", SMALLEST + 1) is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [NotFound("gone"), AccessDenied("no")])
async def test_what_cant_be_copied_is_sent(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, error: B2MountError
) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await send(world, "a", DATA)
        store.fail("copy", error)
        await send(world, "b", DATA)
    assert (sendings(store), store.calls["copy"]) == (2, 1)
    assert memory.contents()["b"] == DATA


async def test_trouble_that_passes_is_no_reason_to_send(tmp_path: Path, store: FaultyStore) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await send(world, "a", DATA)
        store.fail("copy", Unavailable("later"))
        with pytest.raises(Unavailable):
            await send(world, "b", DATA)
    assert sendings(store) == 1


@pytest.mark.parametrize(("name", "copies"), [("b.txt", 1), ("B.TXT", 1), ("b.jpg", 0), ("b", 0)])
async def test_the_type_that_a_name_stands_for(
    tmp_path: Path, store: FaultyStore, name: str, copies: int
) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await send(world, "a.txt", DATA)
        await send(world, name, DATA, ObjectMetadata(AUTOMATIC))
    assert store.calls["copy"] == copies


async def test_so_many_are_remembered() -> None:
    twins = Twins()
    for number in range(MOST + 1):
        twins.note(ObjectVersion(at("a"), str(number), SMALLEST + number, 0, sha1="x"))
        if number % 1000 == 0:
            await trio.lowlevel.checkpoint()
    assert await twins.of("x", SMALLEST) is None
    assert await twins.of("x", SMALLEST + 1) is not None

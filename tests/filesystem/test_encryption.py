"""Files whose key the mount has not got: they are there, nothing opens them, nothing is lost. No kernel."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from b2mount.errors import KeyMissing
from b2mount.model import AttributeChange, Encryption, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.times import CountedStore, times
from tests.filesystem.world import World, world

DATA = b"some bytes" * 100


@pytest.fixture
def memory() -> MemoryStore:
    """With files of another key, and one that is not encrypted."""
    memory = MemoryStore()
    memory.use_key(Encryption.SSE_C, "another")
    for key in ("file", "dir/a", "dir/b"):
        memory.seed(ObjectPath("bucket", key), DATA)
    memory.use_key(Encryption.NONE)
    memory.seed(ObjectPath("bucket", "plain"), DATA)
    return memory


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


KEYS = pytest.mark.parametrize("key", ["", "wrong"], ids=["no key", "another key"])


def use(memory: MemoryStore, key: str) -> None:
    if key:
        memory.use_key(Encryption.SSE_C, key)


async def chmod(w: World) -> None:
    number = (await w.node("file")).number
    await w.fs.setattr(number, AttributeChange(mode=0o600), size=None, fh=None)


async def cut(w: World) -> None:
    await w.fs.setattr((await w.node("file")).number, AttributeChange(), size=5, fh=None)


async def set_attribute(w: World) -> None:
    await w.fs.setxattr((await w.node("file")).number, b"user.x", b"y")


async def append(w: World) -> None:
    await w.open("file", os.O_WRONLY | os.O_APPEND)


async def move(w: World) -> None:
    await w.rename("file", "other")


async def move_over(w: World) -> None:
    await w.rename("file", "plain")


CHANGES = [chmod, cut, set_attribute, append, move, move_over]


@KEYS
@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
async def test_what_needs_the_bytes_is_refused_and_nothing_is_left_behind(
    memory: MemoryStore,
    store: FaultyStore,
    tmp_path: Path,
    key: str,
    change: Callable[[World], Awaitable[None]],
) -> None:
    use(memory, key)
    before = await memory.list_versions("bucket", "")
    async with world(store, tmp_path) as w:
        attributes = (await w.node("file")).attributes
        for _ in range(2):
            with pytest.raises(KeyMissing):
                await change(w)
        assert (await w.node("file")).attributes == attributes
        assert w.fs.pending() == ()
        assert w.fs.open_files == 0
        assert await w.names() == ["dir", "file", "plain"]
        assert await w.read("plain") == DATA
    assert (await memory.list_versions("bucket", "")).versions == before.versions


async def test_without_a_key_it_cannot_be_opened_and_b2_is_not_asked(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path) as w:
        for _ in range(3):
            with pytest.raises(KeyMissing, match="file"):
                await w.open("file")
        assert w.fs.open_files == 0
        node = await w.node("file")
        assert node.attributes.size == len(DATA)
        assert await w.fs.getxattr(node.number, b"user.b2.encryption") == b"SSE-C"
        assert await w.fs.getxattr((await w.node("plain")).number, b"user.b2.encryption") == b"none"
        assert store.calls["read_range"] == 0


async def test_with_another_key_it_cannot_be_read(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path
) -> None:
    memory.use_key(Encryption.SSE_C, "wrong")
    async with world(store, tmp_path) as w:
        with pytest.raises(KeyMissing):
            await w.read("file")
        with pytest.raises(KeyMissing):  # known by now
            await w.open("file")
        assert store.calls["read_range"] == 1


@KEYS
async def test_a_directory_stays_together(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, key: str
) -> None:
    memory.seed(ObjectPath("bucket", "dir/0"), DATA)
    memory.seed(ObjectPath("bucket", "other/file"), DATA)
    use(memory, key)
    async with world(store, tmp_path) as w:
        with pytest.raises(KeyMissing):
            await w.rename("dir", "new")
        with pytest.raises(KeyMissing):
            await w.fs.exchange(await w.split("dir"), await w.split("other"))
        with pytest.raises(KeyMissing):
            await w.fs.exchange(await w.split("plain"), await w.split("file"))
        assert await w.names("dir") == ["0", "a", "b"]
        assert await w.names("other") == ["file"]
        assert await w.read("plain") == DATA
        assert store.calls["copy"] == 0


@KEYS
async def test_it_can_be_replaced_and_removed(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path, key: str
) -> None:
    use(memory, key)
    async with world(store, tmp_path) as w:
        await w.write("file", b"new")
        assert await w.read("file") == b"new"
        await w.rename("plain", "dir/a")
        assert await w.read("dir/a") == DATA
        await w.unlink("dir/b")
        assert await w.names("dir") == ["a"]


@KEYS
async def test_a_fetch_into_the_cache_names_them_and_asks_once(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path, key: str
) -> None:
    use(memory, key)
    async with world(store, tmp_path) as w:
        for _ in range(3):
            result = await w.fs.by_path.warm("", lambda status: None)
            assert {each.path for each in result.failed} == {"file", "dir/a", "dir/b"}
            assert result.files_done == 1


async def test_with_the_key_all_is_as_ever(memory: MemoryStore, store: FaultyStore, tmp_path: Path) -> None:
    memory.use_key(Encryption.SSE_C, "another")
    async with world(store, tmp_path) as w:
        await chmod(w)
        await cut(w)
        await set_attribute(w)
        assert await w.read("file") == DATA[:5]
        await w.rename("dir", "moved")
        await w.rename("plain", "file")
        assert await w.read("moved/a") == DATA
        number = (await w.node("file")).number
        assert await w.fs.getxattr(number, b"user.b2.encryption") == b"SSE-C"
        await w.write("new", b"new")
    page = await memory.list_objects("bucket", "")
    assert {each.encryption for each in page.objects} == {Encryption.SSE_C}


async def test_below_dot_b2_it_cannot_be_opened_either(tmp_path: Path) -> None:
    store = CountedStore()
    store.use_key(Encryption.SSE_C, "another")
    store.seed(ObjectPath("bucket", "file"), DATA)
    async with times(store, tmp_path) as time:
        (name,) = await time.names(".b2/versions/file")
        assert await time.read(f".b2/versions/file/{name}") == DATA  # in the cache from now on
        store.use_key(Encryption.NONE)
        for path in (f".b2/versions/file/{name}", "file"):
            with pytest.raises(KeyMissing):
                await time.read(path)
            number = (await time.node(path)).number
            assert await time.areas.getxattr(number, b"user.b2.encryption") == b"SSE-C"

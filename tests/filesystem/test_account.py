"""The whole account: buckets as top directories. No kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from b2mount.errors import (
    AlreadyExists,
    BadName,
    NameTooLong,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from b2mount.model import AttributeChange, ObjectPath
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, ROOT, World, world

ACCOUNT = ObjectPath("", "")


@pytest.fixture
def memory() -> MemoryStore:
    memory = MemoryStore("photos", "photos-2", "texts")
    memory.seed(ObjectPath("photos", "a/b/one"), b"1")
    memory.seed(ObjectPath("photos", "two"), b"22")
    memory.seed(ObjectPath("texts", "three"), b"333")
    return memory


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


@pytest.fixture
async def w(store: FaultyStore, tmp_path: Path) -> AsyncIterator[World]:
    async with world(store, tmp_path, root=ACCOUNT) as w:
        yield w


async def test_buckets_are_directories_at_the_top(w: World, store: FaultyStore) -> None:
    assert await w.names() == ["photos", "photos-2", "texts"]
    assert await w.names("photos") == ["a", "two"]
    assert await w.names("photos-2") == []
    assert await w.read("photos/a/b/one") == b"1"
    assert await w.read("texts/three") == b"333"
    assert store.calls["list_buckets"] == 1
    with pytest.raises(NotFound):
        await w.node("others")
    assert store.calls["list_buckets"] == 1, "the listing told that"


async def test_the_parent_of_a_bucket_is_the_account(w: World) -> None:
    bucket = (await w.node("photos")).number
    assert (await w.fs.lookup(bucket, "..")).number == ROOT
    assert (await w.fs.lookup((await w.node("photos/a")).number, "..")).number == bucket


async def test_files_go_to_their_bucket(w: World, memory: MemoryStore) -> None:
    await w.write("texts/d", b"new")
    await w.mkdir("texts/deep")
    await w.write("texts/deep/file", b"deep")
    assert memory.contents("texts") == {
        "d": b"new",
        "deep/.bzEmpty": b"",
        "deep/file": b"deep",
        "three": b"333",
    }
    await w.unlink("texts/three")
    assert "three" not in memory.contents("texts")
    assert await w.names("texts") == ["d", "deep"]


async def test_mkdir_makes_a_private_bucket(w: World, memory: MemoryStore) -> None:
    node = await w.mkdir("new-bucket")
    assert node.attributes.uid == ME.uid
    assert await w.names("new-bucket") == []
    await w.write("new-bucket/file", b"x")
    assert memory.contents("new-bucket") == {"file": b"x"}
    assert "new-bucket" in await w.names()
    assert [b.is_public for b in await memory.list_buckets() if b.name == "new-bucket"] == [False]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("short", BadName),
        ("under_score", BadName),
        ("b2-reserved", BadName),
        ("B2-Reserved", BadName),
        ("späti-shop", BadName),
        ("a" * 64, NameTooLong),
        ("photos", AlreadyExists),
    ],
)
async def test_names_that_no_bucket_can_have_are_refused(
    w: World, store: FaultyStore, name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await w.mkdir(name)
    assert await w.names() == ["photos", "photos-2", "texts"]


async def test_rmdir_deletes_an_empty_bucket(
    w: World, memory: MemoryStore, expect_warning: WarningLog
) -> None:
    expect_warning("texts/ stays")
    await w.rmdir("photos-2")
    assert await w.names() == ["photos", "texts"]
    assert [bucket.name for bucket in await memory.list_buckets()] == ["photos", "texts"]
    with pytest.raises(NotEmpty):
        await w.rmdir("photos")
    await w.unlink("texts/three")
    with pytest.raises(NotEmpty):
        await w.rmdir("texts")  # its old version is still there
    assert await w.names() == ["photos", "texts"]


async def test_with_delete_a_bucket_can_be_emptied_and_removed(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, root=ACCOUNT, deletes=True) as w:
        await w.unlink("texts/three")
        await w.mkdir("texts/d")
        await w.rmdir("texts/d")
        await w.rmdir("texts")
    assert [bucket.name for bucket in await memory.list_buckets()] == ["photos", "photos-2"]


async def test_only_buckets_stand_at_the_top(w: World) -> None:
    with pytest.raises(NotPermitted):
        await w.write("file", b"x")
    with pytest.raises(NotPermitted):
        await w.fs.symlink(ROOT, "link-to", "photos", ME)
    for old, new in (("photos", "pictures"), ("photos/a", "a-directory"), ("photos/two", "two-two")):
        with pytest.raises(NotPermitted):
            await w.rename(old, new)
    assert await w.names() == ["photos", "photos-2", "texts"]
    assert await w.names("photos") == ["a", "two"]


async def test_between_buckets_a_rename_copies_inside_b2(
    w: World, memory: MemoryStore, store: FaultyStore
) -> None:
    await w.rename("photos/two", "texts/2")
    await w.rename("photos/a", "photos-2/a")
    assert memory.contents("photos") == {}
    assert memory.contents("texts") == {"2": b"22", "three": b"333"}
    assert memory.contents("photos-2") == {"a/b/one": b"1"}
    assert (store.calls["read_range"], store.calls["put"]) == (0, 0)
    assert await w.names("photos") == []
    assert await w.read("photos-2/a/b/one") == b"1"


async def test_a_bucket_keeps_attributes_for_the_mount_only(
    w: World, memory: MemoryStore, store: FaultyStore
) -> None:
    number = (await w.node("photos")).number
    await w.fs.setattr(number, AttributeChange(mode=0o700), size=None, fh=None)
    assert (await w.node("photos")).attributes.mode == 0o700
    assert store.calls["put"] == 0
    await w.unlink("photos/two")
    await w.rename("photos/a/b/one", "texts/one")
    await w.rmdir("photos/a/b")
    await w.rmdir("photos/a")
    assert memory.contents("photos") == {}, "the empty bucket stays by itself"
    assert await w.names("photos") == []


async def test_what_is_pending_is_named_with_its_bucket(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, root=ACCOUNT, waits=False, delay=1000) as w:
        await w.write("texts/later", b"x")
        assert [one.path for one in w.fs.pending()] == ["texts/later"]
        assert await w.names("texts") == ["later", "three"]
    async with world(memory, tmp_path, root=ACCOUNT, waits=False) as w:
        await w.fs.flush_path("texts")
        assert memory.contents("texts")["later"] == b"x"
        assert await w.names() == ["photos", "photos-2", "texts"]


async def test_a_walk_of_all_buckets_asks_each_once(w: World, store: FaultyStore) -> None:
    for bucket in await w.names():
        for name in await w.names(bucket):
            if name == "a":
                assert await w.names(f"{bucket}/a/b") == ["one"]
    assert store.calls["list_objects"] == 3

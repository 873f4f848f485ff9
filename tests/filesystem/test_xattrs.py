"""Extended attributes: what can be asked, what can be set, and on which way it goes to B2. No kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from b2mount import errors
from b2mount.filesystem.status import PendingFile
from b2mount.model import AttributeChange, ByteSource, Literal, ObjectMetadata, ObjectPath, ObjectVersion
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ROOT, World, world

DATA = b"some bytes" * 100


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


async def put(store: FaultyStore, key: str, data: bytes = DATA, **info: str) -> ObjectVersion:
    """An object that somebody else has put there."""
    metadata = ObjectMetadata("text/plain", info)
    return await store.put(ObjectPath("bucket", key), ByteSource((Literal(data),)), metadata)


async def newest(store: FaultyStore, key: str) -> ObjectVersion:
    return await store.stat(ObjectPath("bucket", key))


async def get(w: World, path: str, name: str) -> bytes:
    return await w.fs.getxattr((await w.node(path)).number, name.encode())


async def listed(w: World, path: str) -> list[str]:
    number = (await w.node(path)).number
    names = w.fs.listxattr(number)
    for name in names:
        await w.fs.getxattr(number, name)  # whatever is listed can be read
    return [name.decode() for name in names]


async def change(w: World, path: str, name: str, value: bytes | None) -> None:
    number = (await w.node(path)).number
    if value is None:
        await w.fs.removexattr(number, name.encode())
    else:
        await w.fs.setxattr(number, name.encode(), value)


async def test_what_b2_says_of_a_file_can_be_read_and_is_not_listed(
    store: FaultyStore, tmp_path: Path
) -> None:
    version = await put(store, "a", author="Ana")
    async with world(store, tmp_path) as w:
        await w.node("a")
        before = dict(store.calls)
        facts = {
            "file_id": version.version_id,
            "sha1": version.sha1,
            "content_type": "text/plain",
            "action": "upload",
            "state": "clean",
            "url": store.url(version.path),
            "info.author": "Ana",
        }
        for name, value in facts.items():
            assert value is not None
            assert await get(w, "a", f"user.b2.{name}") == value.encode()
        assert (await get(w, "a", "user.b2.uploaded")).endswith(b"Z")
        assert await listed(w, "a") == ["user.b2.info.author"]
        assert store.calls == before


@pytest.mark.parametrize("name", ["security.capability", "system.posix_acl_access", "trusted.x", "x"])
async def test_other_namespaces_are_refused_before_anything_is_looked_at(
    store: FaultyStore, tmp_path: Path, name: str
) -> None:
    """Not NoAttribute: that would double the calls of `ls -l`."""
    async with world(store, tmp_path) as w:
        nobody = 12345
        with pytest.raises(errors.NotSupported):
            await w.fs.getxattr(nobody, name.encode())
        with pytest.raises(errors.NotSupported):
            await w.fs.setxattr(nobody, name.encode(), b"x")
        with pytest.raises(errors.NotSupported):
            await w.fs.removexattr(nobody, name.encode())


@pytest.mark.parametrize(
    "name", ["user.x", "user.b2.x", "user.b2.info.x", "user.b2.retention", "user.b2.info."]
)
async def test_what_is_not_there(store: FaultyStore, tmp_path: Path, name: str) -> None:
    await put(store, "a")
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.NoAttribute):
            await get(w, "a", name)
        with pytest.raises(errors.NoAttribute):
            await change(w, "a", name, None)
        assert await listed(w, "a") == []


async def test_any_attribute_of_a_file_is_kept_with_it(store: FaultyStore, tmp_path: Path) -> None:
    await put(store, "a", author="Ana")
    values = {"user.comment": b"hello & goodbye", "user.Binary": bytes(range(256)), "user.empty": b""}
    async with world(store, tmp_path) as w:
        for name, value in values.items():
            await change(w, "a", name, value)
        assert store.calls["copy"] == 0
        await w.fs.flush_path("a")
        assert store.calls["copy"] == 1  # for all of them; no bytes were sent
        assert await listed(w, "a") == sorted([*values, "user.b2.info.author"])
        await w.fs.setattr((await w.node("a")).number, AttributeChange(mode=0o600), size=None, fh=None)
        await w.rename("a", "b")
        fh = await w.open("b", os.O_WRONLY)
        await w.fs.write(fh, 5, b"edited")
        await w.close(fh)
    async with world(store, tmp_path / "elsewhere") as w:
        for name, value in values.items():
            assert await get(w, "b", name) == value
        await change(w, "b", "user.Binary", None)
        assert await listed(w, "b") == ["user.b2.info.author", "user.comment", "user.empty"]
        assert await w.read("b") == DATA[:5] + b"edited" + DATA[11:]


async def test_content_type_and_info_change_without_a_byte_sent(store: FaultyStore, tmp_path: Path) -> None:
    before = await put(store, "a", author="Ana", place="Rome")
    async with world(store, tmp_path) as w:
        await change(w, "a", "user.b2.content_type", b"text/html; charset=utf-8")
        await change(w, "a", "user.b2.info.Author", "José".encode())
        await change(w, "a", "user.b2.info.place", None)
        after = await newest(store, "a")
        assert (after.content_type, after.sha1) == ("text/html; charset=utf-8", before.sha1)
        assert (after.info["author"], "place" in after.info) == ("José", False)
        assert await get(w, "a", "user.b2.info.author") == "José".encode()
        assert await get(w, "a", "user.b2.content_type") == b"text/html; charset=utf-8"
        assert (store.calls["put"], store.calls["copy"]) == (1, 3)
        await change(w, "a", "user.b2.info.author", "José".encode())
        assert store.calls["copy"] == 3  # nothing to change


async def test_what_is_set_on_a_file_being_written_goes_with_its_bytes(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await change(w, "a", "user.comment", b"new")
        await change(w, "a", "user.b2.content_type", b"image/png")
        await w.fs.write(fh, 0, DATA)
        assert await get(w, "a", "user.comment") == b"new"
        assert await get(w, "a", "user.b2.state") == b"staged"
        for fact in ("file_id", "sha1", "url", "uploaded"):
            with pytest.raises(errors.NoAttribute):
                await get(w, "a", f"user.b2.{fact}")
        assert not store.calls["copy"]
        await w.close(fh)
        assert (store.calls["put"], store.calls["copy"]) == (1, 0)
        version = await newest(store, "a")
        assert version.content_type == "image/png"
        assert await get(w, "a", "user.comment") == b"new"
        assert await get(w, "a", "user.b2.sha1") == (version.sha1 or "").encode()
        assert await get(w, "a", "user.b2.state") == b"clean"


async def test_what_is_set_on_a_queued_file_goes_with_its_upload(
    store: FaultyStore, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with world(store, tmp_path, waits=False, delay=60) as w:
        await w.write("a", DATA)
        assert await get(w, "a", "user.b2.state") == b"queued"
        await change(w, "a", "user.comment", b"one")
        await change(w, "a", "user.b2.info.author", b"Ana")
        assert not store.calls["put"]
        assert await listed(w, "a") == ["user.b2.info.author", "user.comment"]
        assert b"mode=100644" in await get(w, "a", "user.b2.info.posix")  # as it will be
    async with world(store, tmp_path) as w:  # the next mount: what was acknowledged is still so
        assert await get(w, "a", "user.comment") == b"one"
        await change(w, "a", "user.other", b"two")
        await w.fs.flush_path()
        assert await get(w, "a", "user.b2.state") == b"clean"
        version = await newest(store, "a")
        assert version.info["author"] == "Ana"
        assert await listed(w, "a") == ["user.b2.info.author", "user.comment", "user.other"]


async def test_an_upload_that_fails_shows_in_the_state(
    store: FaultyStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("the cap is reached")
    await put(store, "a")
    async with world(store, tmp_path) as w:
        store.fail("copy", errors.OverQuota("the cap is reached"))
        with pytest.raises(errors.OverQuota):
            await change(w, "a", "user.b2.info.comment", b"x")
        assert await get(w, "a", "user.b2.state") == b"failed: the cap is reached"
        with pytest.raises(errors.NoAttribute):
            await get(w, "a", "user.b2.sha1")
        await w.fs.flush_path("a")
        assert await get(w, "a", "user.b2.state") == b"clean"
        assert await get(w, "a", "user.b2.info.comment") == b"x"


async def test_directories_have_attributes_too(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d", 0o700)
        assert await listed(w, "d") == []
        assert await get(w, "d", "user.b2.state") == b"clean"
        await change(w, "d", "user.comment", b"mine")
        await change(w, "d", "user.b2.info.team", b"blue")
        assert await listed(w, "d") == ["user.b2.info.team", "user.comment"]
        with pytest.raises(errors.NoAttribute):
            await get(w, "d", "user.b2.url")
        await w.rename("d", "e")
        assert await get(w, "e", "user.comment") == b"mine"
    async with world(store, tmp_path / "elsewhere") as w:
        await w.names("e")  # a directory's own attributes come with its listing
        assert await get(w, "e", "user.comment") == b"mine"
        assert (await w.node("e")).attributes.mode == 0o700
        await change(w, "e", "user.comment", None)
        assert await listed(w, "e") == ["user.b2.info.team"]


async def test_the_root_keeps_none(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        assert w.fs.listxattr(ROOT) == []
        with pytest.raises(errors.NotSupported):
            await w.fs.setxattr(ROOT, b"user.comment", b"x")


async def test_symlinks_keep_none(store: FaultyStore, tmp_path: Path) -> None:
    await put(store, "link", b"", symlink="target")
    async with world(store, tmp_path) as w:
        assert await listed(w, "link") == []
        with pytest.raises(errors.NotSupported):
            await change(w, "link", "user.comment", b"x")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("file_id", b"x", errors.FixedAttribute),
        ("state", b"clean", errors.FixedAttribute),
        ("url", b"x", errors.FixedAttribute),
        ("info.posix", b"mode=0", errors.FixedAttribute),
        ("info.src_last_modified_millis", b"1", errors.FixedAttribute),
        ("info.xattr", b"a=b", errors.FixedAttribute),
        ("unheard-of", b"x", errors.NotSupported),
        ("unheard_of", b"x", errors.NotSupported),
        ("content_type", b"nonsense", errors.InvalidArgument),
        ("content_type", b"b2/x-auto", errors.InvalidArgument),
        ("info.two words", b"x", errors.InvalidArgument),
        ("info." + 51 * "k", b"x", errors.InvalidArgument),
        ("info.", b"x", errors.InvalidArgument),
        ("info.b2-secret", b"x", errors.InvalidArgument),
        ("info.key", b"\xff", errors.InvalidArgument),
        ("info.key", b"", errors.InvalidArgument),
        ("info.key", b"x" * 3000, errors.NoRoom),
    ],
)
async def test_what_can_not_be_set(
    store: FaultyStore, tmp_path: Path, name: str, value: bytes, error: type[Exception]
) -> None:
    await put(store, "a")
    async with world(store, tmp_path) as w:
        with pytest.raises(error):
            await change(w, "a", f"user.b2.{name}", value)
        assert store.calls["put"] == 1
        assert not store.calls["copy"]
        assert await listed(w, "a") == []


@pytest.mark.parametrize("name", ["content_type", "state", "info.posix"])
async def test_what_can_not_be_removed(store: FaultyStore, tmp_path: Path, name: str) -> None:
    await put(store, "a", posix="mode=100600")
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.FixedAttribute):
            await change(w, "a", f"user.b2.{name}", None)


async def test_a_file_keeps_as_many_as_b2_has_room_for(store: FaultyStore, tmp_path: Path) -> None:
    await put(store, "a")
    async with world(store, tmp_path) as w:
        for number in range(7):  # of ten pairs, two are the file's own, and one is for a large file's SHA-1
            await change(w, "a", f"user.b2.info.key{number}", b"x")
        with pytest.raises(errors.NoRoom):
            await change(w, "a", "user.b2.info.one-more", b"x")
        with pytest.raises(errors.NoRoom):
            await change(w, "a", "user.one-more", b"x")
        await change(w, "a", "user.b2.info.key0", b"another")
        await change(w, "a", "user.b2.info.key1", None)
        await change(w, "a", "user.one-more", b"x" * 1000)
        with pytest.raises(errors.NoRoom):
            await change(w, "a", "user.and-more", b"x" * 1000)
        assert (await newest(store, "a")).info["posix"]  # nothing had to give way


async def test_a_file_that_was_unlinked_keeps_its_attributes_for_its_handles(
    store: FaultyStore, tmp_path: Path
) -> None:
    await put(store, "a")
    async with world(store, tmp_path) as w:
        number = (await w.node("a")).number
        fh = await w.open("a")
        await w.unlink("a")
        await w.fs.setxattr(number, b"user.comment", b"x")
        assert await w.fs.getxattr(number, b"user.comment") == b"x"
        assert not store.calls["copy"]
        await w.close(fh)


@pytest.mark.parametrize(
    ("state", "sent", "reason", "words"),
    [
        ("staged", 0, None, "staged"),
        ("queued", 0, None, "queued"),
        ("queued", 0, "B2 can't be reached", "queued: B2 can't be reached"),
        ("uploading", 43, None, "uploading 43%"),
        ("uploading", 140, None, "uploading 100%"),
        ("failed", 0, "the cap is reached", "failed: the cap is reached"),
    ],
)
def test_states_in_words(state: str, sent: int, reason: str | None, words: str) -> None:
    assert PendingFile("a", 100, sent, state, reason, 0.0).words == words

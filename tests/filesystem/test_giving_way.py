"""Attributes are changed here of a file that others have replaced, or removed, within the time to live."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from b2mount import errors
from b2mount.model import AttributeChange, ObjectMetadata, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.test_bursts import until
from tests.filesystem.world import World, world

F = ObjectPath("bucket", "f")
DROPPED = "the change of attributes that was made here before is dropped"


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore("bucket"))


def inner(store: FaultyStore) -> MemoryStore:
    assert isinstance(store.inner, MemoryStore)
    return store.inner


async def change(w: World, mode: int = 0o600) -> None:
    await w.fs.setattr((await w.node("f")).number, AttributeChange(mode=mode), size=None, fh=None)


async def set_attribute(w: World) -> None:
    await w.fs.setxattr((await w.node("f")).number, b"user.b2.content_type", b"text/plain")


@pytest.mark.parametrize("deed", [change, set_attribute])
@pytest.mark.parametrize("old", [b"old", b""])
@pytest.mark.parametrize("waits", [True, False])
async def test_their_bytes_stay(
    store: FaultyStore,
    tmp_path: Path,
    expect_warning: Callable[[str], None],
    *,
    deed: Callable[[World], Awaitable[None]],
    old: bytes,
    waits: bool,
) -> None:
    expect_warning(DROPPED)
    async with world(store, tmp_path, waits=waits) as w:
        await w.write("f", old)
        await w.fs.flush_path()
        await inner(store).put(F, literal(b"theirs"), ObjectMetadata())
        await deed(w)
        await w.fs.flush_path()
        assert inner(store).contents() == {"f": b"theirs"}
        assert await w.read("f") == b"theirs"
        assert not w.fs.pending()
        await change(w, 0o640)
        await w.fs.flush_path()
        assert await w.read("f") == b"theirs"
        assert (await w.node("f")).attributes.mode == 0o640


async def test_what_they_have_removed_stays_removed(
    store: FaultyStore, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning(DROPPED)
    async with world(store, tmp_path) as w:
        await w.write("f", b"old")
        await inner(store).hide(F)
        await change(w)
        await w.fs.flush_path()
        assert inner(store).contents() == {}
        with pytest.raises(errors.NotFound):
            await w.node("f")


async def test_so_it_is_after_a_crash(
    store: FaultyStore, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning(DROPPED)
    async with world(store, tmp_path) as w:
        await w.write("f", b"old")
        await change(w)
        await inner(store).put(F, literal(b"theirs"), ObjectMetadata())
    async with world(store, tmp_path) as w:
        await w.fs.flush_path()
        assert await w.read("f") == b"theirs"
        assert not w.fs.pending()


async def test_a_copy_whose_reply_was_lost_is_known_again(
    store: FaultyStore, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning("trying again")
    async with world(store, tmp_path) as w:
        await w.write("f", b"old")
        store.fail("copy", errors.Unavailable("lost"), after=True)
        await change(w)
        await w.fs.flush_path()
        assert store.calls["copy"] == 1
        assert (await w.node("f")).attributes.mode == 0o600
        assert not w.fs.pending()
    async with world(store, tmp_path / "other") as w:
        assert (await w.node("f")).attributes.mode == 0o600


async def test_a_copy_whose_reply_was_lost_is_no_copy_of_others(
    store: FaultyStore, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning("trying again")
    async with world(store, tmp_path) as w:
        await w.write("f", b"old")
        store.fail("copy", errors.Unavailable("lost"), after=True)
        await change(w, 0o600)
        await until(lambda: store.calls["copy"] == 1)
        await change(w, 0o640)
        await w.fs.flush_path()
        assert store.calls["copy"] == 2
        assert (await w.node("f")).attributes.mode == 0o640
    async with world(store, tmp_path / "other") as w:
        assert (await w.node("f")).attributes.mode == 0o640


async def test_whoever_writes_to_it_after_the_change_closes_last(
    store: FaultyStore, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    """What is written stands on the version that was opened, whatever becomes of the change before it."""
    expect_warning(DROPPED)
    expect_warning("was changed by others while it was open here")
    async with world(store, tmp_path) as w:
        await w.write("f", b"old")
        await inner(store).put(F, literal(b"theirs"), ObjectMetadata())
        fh = await w.open("f", 2)
        hold = store.hold("stat")
        await change(w)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.flush_path, None)
            await hold.reached.wait()
            await w.fs.write(fh, 3, b"er")
            hold.release.set()
        await w.close(fh)
        assert await w.read("f") == b"older"
        assert inner(store).contents() == {"f": b"older"}

"""A directory's attributes are on its placeholder, which only its own listing shows: whoever does something
with a directory that nobody has listed yet must not lose them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.model import AttributeChange, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world

Deed = Callable[[World, int], Awaitable[object]]


MANY = 2500
"""Names beside it: so many that a look at it is no look at all of them, and at what is in it."""


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def seed(store: FaultyStore, key: str) -> None:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    inner.seed(ObjectPath("bucket", key))


async def furnish(store: FaultyStore, directory: Path) -> None:
    """d/e with a mode, an owner, an old time and an attribute, by a mount that is gone."""
    for number in range(MANY):
        seed(store, f"d/{number:04}")
    async with world(store, directory) as w:
        number = (await w.mkdir("d/e", 0o700)).number
        await w.write("d/e/f", b"f")
        await w.fs.setxattr(number, b"user.mark", b"marked")
        await change(w, number, AttributeChange(uid=7, modified_ns=10**18))
        await w.write_back.flush()


async def change(w: World, number: int, what: AttributeChange) -> None:
    await w.fs.setattr(number, what, size=None, fh=None)


async def look(w: World, path: str) -> tuple[object, ...]:
    node = await w.node(path)
    found = node.attributes
    return found.mode, found.uid, found.gid, found.modified_ns, w.fs.listxattr(node.number)


async def chgrp(w: World, number: int) -> None:
    await change(w, number, AttributeChange(gid=8))


async def mark(w: World, number: int) -> None:
    await w.fs.setxattr(number, b"user.other", b"x")


async def unmark(w: World, number: int) -> None:
    await w.fs.removexattr(number, b"user.mark")


@pytest.mark.parametrize(
    ("deed", "gid", "names"),
    [
        (chgrp, 8, [b"user.mark"]),
        (mark, 1000, [b"user.mark", b"user.other"]),
        (unmark, 1000, []),
    ],
)
async def test_a_change_of_one_keeps_the_others(
    store: FaultyStore, tmp_path: Path, deed: Deed, gid: int, names: list[bytes]
) -> None:
    await furnish(store, tmp_path / "before")
    async with world(store, tmp_path / "here") as w:
        await deed(w, (await w.node("d/e")).number)
        assert await look(w, "d/e") == (0o700, 7, gid, 10**18, names)
        await w.write_back.flush()
    async with world(store, tmp_path / "after") as w:
        await w.names("d/e")
        assert await look(w, "d/e") == (0o700, 7, gid, 10**18, names)


async def test_one_that_was_moved_shows_them_once_it_is_listed(store: FaultyStore, tmp_path: Path) -> None:
    await furnish(store, tmp_path / "before")
    async with world(store, tmp_path / "here") as w:
        node = await w.node("d/e")
        w.namespace.looked_up(w.namespace.inode(node.number))
        await w.rename("d", "x")
        await w.names("x/e")
        assert await look(w, "x/e") == (0o700, 7, 1000, 10**18, [b"user.mark"])


async def test_of_two_placeholders_at_a_time_the_last_word_stays(store: FaultyStore, tmp_path: Path) -> None:
    """One keeps the directory that has just lost its last file, the other has its new mode."""
    seed(store, "d/f")
    async with world(store, tmp_path / "here") as w:
        await w.names("d")
        number = (await w.node("d")).number
        hold = store.hold("put")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.unlink, "d/f")
            await hold.reached.wait()
            nursery.start_soon(change, w, number, AttributeChange(mode=0o700))
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(w.write_back.flush)
            await trio.testing.wait_all_tasks_blocked(0.01)
            hold.release.set()
        assert (await w.node("d")).attributes.mode == 0o700
    async with world(store, tmp_path / "after") as w:
        await w.names("d")
        assert (await w.node("d")).attributes.mode == 0o700

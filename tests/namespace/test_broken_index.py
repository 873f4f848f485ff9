"""A broken index of names is a slower mount, never an error and never a wrong name; long listings in it."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import NotFound
from b2mount.namespace import name_index
from b2mount.namespace.change_log import ChangeLog
from b2mount.namespace.index_file import IndexFile
from b2mount.namespace.name_index import DATABASE, LOG
from tests.namespace.lives import Lives
from tests.namespace.world import WatchedStore, a_file, listed, path

LONG = [f"{number:03}" for number in range(0, 600, 2)]
KEYS = ["a", "d/a", "d/b", "e/f/a", *(f"long/{name}" for name in LONG)]


@pytest.fixture
async def lives(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lives]:
    """A mount that has seen everything, with listings that are long from 40 names on."""
    monkeypatch.setattr(name_index, "PART", 40)
    monkeypatch.setattr(name_index, "TURN", 10)
    store = WatchedStore()
    for key in KEYS:
        store.add(key)
    one = Lives(tmp_path / "index", store)
    one.directory.mkdir()
    await one.mount()
    await one.walk()
    await one.index.store()
    yield one
    await one.index.close()


async def names_in(lives: Lives, name: str) -> list[str]:
    return await listed(lives.names, await lives.names.lookup(lives.names.root, name))


# -- long listings ---------------------------------------------------------------------------


async def test_a_long_listing_is_read_part_by_part(lives: Lives) -> None:
    await lives.remount()
    assert await lives.walk_costs() == 0
    assert await names_in(lives, "long") == LONG


async def test_one_name_of_a_long_listing(lives: Lives) -> None:
    """Without the others, be it there or not."""
    await lives.remount(max_names=20)
    calls, long = len(lives.store.calls), await lives.names.lookup(lives.names.root, "long")
    for number in (0, 1, 41, 42, 300, 599, 598):
        name = f"{number:03}"
        if name in LONG:
            inode = await lives.names.lookup(long, name)
            assert inode.version == await lives.store.stat(inode.path)
        else:
            with pytest.raises(NotFound):
                await lives.names.lookup(long, name)
    assert len(lives.store.calls) == calls
    assert lives.names._cache.names <= 20


async def test_a_long_listing_that_goes_while_it_is_read(lives: Lives) -> None:
    """What was given stays given, and the rest comes from B2, with what is new there."""
    await lives.remount()
    long = await lives.names.lookup(lives.names.root, "long")
    stream = lives.names.children(long)
    found = [await stream.get(0)]
    lives.index.changed(path("long/"))
    await lives.index.store()
    lives.store.add("long/599")
    await lives.store.remove("long/598")
    while (inode := await stream.get(len(found))) is not None:
        found.append(inode)
    names = [inode.path.name for inode in found if inode is not None]
    assert names == [*LONG[:-1], "599"]
    assert lives.names._cache.listing(path("long/")) is None
    assert await names_in(lives, "long") == names, "and such a mixture is not kept"


async def test_an_error_while_a_long_listing_is_read(lives: Lives) -> None:
    await lives.index.close()
    with sqlite3.connect(lives.directory / DATABASE) as connection:
        connection.execute("UPDATE parts SET body = zeroblob(100) WHERE number = 3")
    connection.close()
    await lives.mount()
    assert await names_in(lives, "long") == LONG
    assert not lives.index.is_open
    await lives.mount()
    assert await lives.walk_costs() > 0


# -- broken files ----------------------------------------------------------------------------


def truncated(file: Path, generator: random.Random) -> None:
    os.truncate(file, generator.randrange(file.stat().st_size))


def flipped(file: Path, generator: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(generator.randrange(1, 200)):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    file.write_bytes(data)


def zeroed(file: Path, generator: random.Random) -> None:
    data = bytearray(file.read_bytes())
    first = generator.randrange(len(data))
    data[first : first + 8192] = bytes(len(data[first : first + 8192]))
    file.write_bytes(data)


def foreign(file: Path, _generator: random.Random) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE listings (id INTEGER PRIMARY KEY, key TEXT, sequence INTEGER)")
    connection.commit()
    connection.close()


def a_directory(file: Path, _generator: random.Random) -> None:
    file.unlink()
    (file / "x").mkdir(parents=True)


def gone(file: Path, _generator: random.Random) -> None:
    file.unlink()


@pytest.mark.parametrize("name", [DATABASE, LOG])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damage", [truncated, flipped, zeroed, foreign, gone])
async def test_a_broken_file(
    lives: Lives,
    name: str,
    seed: int,
    damage: Callable[[Path, random.Random], None],
) -> None:
    await lives.index.close()
    damage(lives.directory / name, random.Random(seed))
    await lives.mount()
    seen = await lives.walk()
    assert seen == sorted([*KEYS, "d/", "e/", "e/f/", "long/"])
    await lives.index.store()
    await lives.mount()
    assert await lives.walk() == seen


async def test_no_index_can_be_made(lives: Lives) -> None:
    await lives.index.close()
    shutil.rmtree(lives.directory)
    lives.directory.write_bytes(b"a file")
    await lives.mount()
    assert await lives.walk_costs() > 0
    await lives.index.close()
    lives.directory.unlink()
    lives.directory.mkdir()


@pytest.mark.parametrize("column", ["key", "asked_ns", "sequence", "body"])
async def test_a_listing_of_something_else(lives: Lives, column: str) -> None:
    """Whole, and in the wrong place."""
    await lives.index.close()
    with sqlite3.connect(lives.directory / DATABASE) as connection:
        other = "(SELECT body FROM listings WHERE key = 'bucket/e/f/')"
        if column == "key":
            connection.execute("DELETE FROM listings WHERE key = 'bucket/d/'")
            connection.execute("UPDATE listings SET key = 'bucket/d/' WHERE key = 'bucket/e/f/'")
        elif column == "body":
            connection.execute(f"UPDATE listings SET body = {other} WHERE key = 'bucket/d/'")
        else:
            connection.execute(f"UPDATE listings SET {column} = {column} - 1")
    connection.close()
    await lives.mount()
    assert await names_in(lives, "d") == ["a", "b"]
    assert not lives.index.is_open


# -- a disk with errors ----------------------------------------------------------------------


async def test_an_index_that_can_not_be_removed(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: object) -> None:
        raise OSError("read-only")

    d = await lives.names.lookup(lives.names.root, "d")
    with monkeypatch.context() as patch:
        patch.setattr(name_index, "remove_index", fails)
        patch.setattr(ChangeLog, "append", fails)
        lives.names.created(d, "new", a_file(), None)
        lives.names.adopted(path("d/new"), lives.store.add("d/new"))
    await lives.mount()
    assert "new" in await names_in(lives, "d")


@pytest.mark.parametrize("broken", [(IndexFile, "write"), (IndexFile, "read"), (ChangeLog, "append")])
async def test_an_error_in_the_middle(
    lives: Lives, broken: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed, and no later mount believes what could not be doubted."""
    await lives.remount()

    def fails(*_arguments: object) -> None:
        raise OSError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(*broken, fails)
        d = await lives.names.lookup(lives.names.root, "d")
        lives.names.created(d, "new", a_file(), None)
        lives.names.adopted(path("d/new"), lives.store.add("d/new"))
        assert "new" in await names_in(lives, "d")
        await lives.walk()
        await lives.index.store()
    assert not lives.index.is_open
    await lives.mount()
    assert "new" in await names_in(lives, "d")


async def test_a_full_disk_while_the_last_is_stored(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing says then that it was a clean end."""

    def fails(*_arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(IndexFile, "close", fails)
    await lives.index.close()
    lives.machine.boot = "second"
    monkeypatch.undo()
    lives.store.add("b")
    await lives.mount()
    assert "b" in await lives.walk()

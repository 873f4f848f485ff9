from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from b2mount.errors import StoreFailure
from b2mount.model import ByteRange, Encryption, ObjectVersion
from b2mount.writing import journal as journal_module
from b2mount.writing.leftovers import leftovers
from b2mount.writing.records import version_from_json, version_to_json
from b2mount.writing.reserve import SIZE, Reserve
from b2mount.writing.sealed_file import SealedFile
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import at, attributes, metadata, open_world

VERSION = ObjectVersion(at("a"), "v1", 10, 5, "text/html", "ab", {"k": "v"}, encryption=Encryption.SSE_C)


async def test_a_record_comes_back_as_it_was(tmp_path):
    async with open_world(tmp_path, MemoryStore()) as world:
        staged = world.new(base=VERSION, size=10)
        staged.write(3, b"xyz")
        staged.truncate(20)
        sealed = staged.seal(at("dir/ä\n"), metadata(), attributes(20))
        await world.journal.append(sealed, "sealed")
    async with open_world(tmp_path, MemoryStore()) as world:
        [found] = await world.journal.replay()
    assert found.extents.all() == sealed.extents.all()
    for field in ("staging_id", "path", "metadata", "attributes", "local_path", "base", "since"):
        assert getattr(found, field) == getattr(sealed, field)
    assert found.base == VERSION
    assert isinstance(found.base, ObjectVersion)
    assert found.base.info == VERSION.info


def test_a_version_of_before_there_was_encryption_can_be_read() -> None:
    record = json.loads(version_to_json(VERSION))
    del record["encryption"]
    assert version_from_json(json.dumps(record)) == attrs.evolve(VERSION, encryption=Encryption.NONE)


BROKEN: list[object] = [
    "[" * 3000,
    {"staging_id": "../../outside"},
    {"staging_id": "/etc/passwd"},
    {"staging_id": 7},
    {"path": ["bucket"]},
    {"path": ["bucket", 7]},
    {"path": ["bucket", "\ud800"]},
    {"content_type": None},
    {"info": {"k": 1}},
    {"info": []},
    {"since": float("inf")},
    {"since": "soon"},
    {"extents": "[5,0,[3]]"},
    {"extents": "[5,0,[3,2]]"},
    {"extents": "[5,-1,[]]"},
    {"extents": '["5",0,[]]'},
    {"version": {"path": ["bucket", "a"], "size": -1}},
]


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: repr(change)[:40])
async def test_a_record_that_says_nonsense_stays_and_is_told(tmp_path, change, expect_warning):
    """Whatever a failing disk made of it: nothing but the record itself is lost."""
    expect_warning("can't be read; it stays")
    place = tmp_path / "mount"
    place.mkdir()
    async with open_world(place, MemoryStore()) as world:
        for name in ("good", "broken"):
            staged = world.new()
            staged.write(0, b"xyz")
            await world.journal.append(staged.seal(at(name), metadata(), attributes(3)), "sealed")
    with sqlite3.connect(place / "journal.db") as connection:
        (text,) = connection.execute("SELECT record FROM files WHERE sequence = 2").fetchone()
        said = change if isinstance(change, str) else json.dumps({**json.loads(text), **change})
        connection.execute("UPDATE files SET record = ? WHERE sequence = 2", (said,))
    connection.close()
    shutil.copy(place / "journal.db", place / "journal.sqlite3")
    [left] = leftovers(tmp_path)
    assert at("good") in [file.path for file in left.files]
    async with open_world(place, MemoryStore()) as world:
        assert [sealed.path for sealed in await world.journal.replay()] == [at("good")]
        assert world.journal.has_unreadable
        assert len(await world.journal.read("SELECT record FROM files")) == 2


async def test_records_come_in_the_order_of_their_last_change(tmp_path):
    async with open_world(tmp_path, MemoryStore()) as world:
        one, two, three = (world.sealed(key, b"x") for key in "123")
        for sealed in (one, two, three, one):
            await world.journal.append(sealed, "sealed")
        assert [s.path.key for s in await world.journal.replay()] == ["2", "3", "1"]
        await world.journal.rename([two], above=[three.staging_id])
        assert [s.path.key for s in await world.journal.replay()] == ["1", "2", "3"]


async def test_a_retired_base_is_a_version_for_what_stands_on_it(tmp_path):
    async with open_world(tmp_path, MemoryStore()) as world:
        low = world.sealed("a", b"0123456789")
        middle = world.new(base=low, size=10).seal(at("a"), metadata(), attributes())
        high = world.new(base=middle, size=10).seal(at("a"), metadata(), attributes())
        for sealed in (low, middle, high):
            await world.journal.append(sealed, "sealed")
        low.fate.version = VERSION
        await world.journal.retire(low)
        found = await world.journal.replay()
    assert [s.staging_id for s in found] == [middle.staging_id, high.staging_id]
    assert found[0].base == VERSION
    below = found[1].base
    assert isinstance(below, SealedFile)
    assert below.staging_id == middle.staging_id
    assert below.base == VERSION
    assert below.fate is found[0].fate


async def test_a_later_record_takes_the_place_of_others_at_once(tmp_path):
    async with open_world(tmp_path, MemoryStore()) as world:
        old, new = world.sealed("a", b"old"), world.sealed("a", b"new")
        await world.journal.append(old, "sealed")
        await world.journal.append(new, "sealed", replaces=[old])
        assert [s.staging_id for s in await world.journal.replay()] == [new.staging_id]


async def test_a_full_disk_is_an_oserror_with_its_errno(tmp_path, monkeypatch):
    async with open_world(tmp_path, MemoryStore()) as world:
        sealed = world.sealed("a", b"x" * 10)
        connection = world.journal._opened()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for number in range(1000):
                await world.journal.append(world.sealed(f"{number}" * 50, b"x"), "sealed")

        with pytest.raises(OSError) as caught:
            await fill()
        assert caught.value.errno == 28
        before = len(await world.journal.replay())
        connection.execute("PRAGMA max_page_count = 100000")
        await world.journal.append(sealed, "sealed")
        assert len(await world.journal.replay()) == before + 1


async def test_a_broken_file_is_told(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"not a database, but long enough to look like something" * 100)
    with pytest.raises(StoreFailure, match="can't be used"):
        async with open_world(tmp_path, MemoryStore()):
            pass


async def test_a_failed_transaction_changes_nothing(tmp_path, monkeypatch):
    async with open_world(tmp_path, MemoryStore()) as world:
        sealed = world.sealed("a", b"x")
        await world.journal.append(sealed, "sealed")
        statements = [("DELETE FROM files", ()), ("NOT SQL", ())]
        with pytest.raises(StoreFailure):
            journal_module._transaction(world.journal._opened(), statements)
        assert len(await world.journal.replay()) == 1


def test_a_change_is_synced_when_it_returns():
    connection, _ = journal_module._open(":memory:")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()
    assert sqlite3.SQLITE_FULL


async def test_bytes_are_read_through_recovered_generations(tmp_path):
    async def read_base(_version: ObjectVersion, span: ByteRange) -> bytes:
        return b"0123456789"[span.start : span.stop]

    async with open_world(tmp_path, MemoryStore()) as world:
        staged = world.new(base=VERSION, size=10)
        staged.write(0, b"L")
        low = staged.seal(at("a"), metadata(), attributes())
        high = world.new(base=low, size=10)
        high.write(9, b"H")
        await world.journal.append(high.seal(at("a"), metadata(), attributes()), "editing")
        [found] = await world.journal.replay()
        assert await found.read(ByteRange(0, 10), read_base) == b"L12345678H"


def on_a_full_disk(monkeypatch: pytest.MonkeyPatch, name: str, reserve: Path) -> None:
    """What the journal does with SQLite works only once the reserve has made room."""
    real = getattr(journal_module, name)

    def work(*arguments: object) -> object:
        if reserve.exists():
            raise OSError(28, "full")
        return real(*arguments)

    def posix_fallocate(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(journal_module, name, work)
    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)


async def test_a_full_disk_takes_the_journals_reserve(tmp_path, monkeypatch):
    """What B2 has must be struck off, else its bytes would keep the disk full for ever."""
    reserve = tmp_path / "journal.db.reserve"
    async with open_world(tmp_path, MemoryStore()) as world:
        assert reserve.stat().st_blocks * 512 >= SIZE
        with monkeypatch.context() as full:
            on_a_full_disk(full, "_transaction", reserve)
            sealed = world.sealed("a", b"x")
            await world.journal.append(sealed, "sealed")
            await world.journal.retire(sealed)
            assert not reserve.exists()
        await world.journal.append(sealed, "sealed")
        assert reserve.exists(), "there is room again"


async def test_what_gives_way_saves_the_journals_reserve(tmp_path, monkeypatch):
    given = [SIZE, SIZE]
    refused = [True] * 2
    real = journal_module._transaction

    async def make_room(needed: int) -> bool:
        return bool(given) and given.pop() == needed

    def transaction(*arguments):
        if refused and refused.pop():
            raise OSError(28, "full")
        return real(*arguments)

    async with open_world(tmp_path, MemoryStore()) as world:
        world.staging._make_room = make_room
        monkeypatch.setattr(journal_module, "_transaction", transaction)
        monkeypatch.setattr(Reserve, "give_up", lambda _: pytest.fail("it was not needed"))
        await world.journal.append(world.sealed("a", b"x"), "sealed")
        assert not given
        assert len(await world.journal.replay()) == 1


async def test_a_mount_begins_on_a_full_disk(tmp_path, monkeypatch):
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        await world.journal.append(world.sealed("a", b"x"), "sealed")
    on_a_full_disk(monkeypatch, "_open", tmp_path / "journal.db.reserve")
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        assert len(await world.journal.replay()) == 1


async def test_renames_that_an_earlier_release_has_left_are_known(tmp_path: Path) -> None:
    memory = MemoryStore()
    version = memory.seed(at("old"), b"data")
    async with open_world(tmp_path, memory, running=False) as world:
        await world.journal.begin_moves([(version, at("new"))], 7, over={at("new"): "an id"})
        assert [record.over for record in await world.journal.moves()] == ["an id"]
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("ALTER TABLE moves DROP COLUMN shown")
    async with open_world(tmp_path, memory, running=False) as world:
        assert [(record.destination, record.over) for record in await world.journal.moves()] == [
            (at("new"), None)
        ]

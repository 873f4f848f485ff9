"""What the journal could not write: the records are as before, and what is written later knows that."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import StoreFailure
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.writing import journal as journal_module
from b2mount.writing.journal_change import Statement
from b2mount.writing.reserve import Reserve
from b2mount.writing.sealed_file import SealedFile
from tests.fakes.memory_store import MemoryStore
from tests.writing.sent_ahead import PART, use_small_parts
from tests.writing.world import InlineLane, World, at, attributes, metadata, open_world

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

VERSION = ObjectVersion(at("a"), "v1", 10, 5, "text/plain", "ab", {})


@contextmanager
def broken(error: Exception | None = None) -> Iterator[list[int]]:
    """No transaction succeeds inside; the list gets longer with each."""
    tried: list[int] = []

    def transaction(*_arguments: object) -> None:
        tried.append(1)
        raise error or StoreFailure("the journal can't be used")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "_transaction", transaction)
        yield tried


async def stacked(world: World) -> tuple[SealedFile, SealedFile]:
    """Two recorded generations, one on the other."""
    low = world.sealed("a", b"0123456789")
    high = world.new(base=low, size=10).seal(at("a"), metadata(), attributes(10))
    for sealed in (low, high):
        await world.journal.append(sealed, "sealed")
    return low, high


async def records(world: World) -> list[tuple[ObjectPath, str, object]]:
    return [(s.path, s.staging_id, s.base) for s in await world.journal.replay()]


async def test_what_stands_on_what_could_not_be_struck_off_follows_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        low, high = await stacked(world)
        low.fate.version = VERSION
        with broken(), pytest.raises(StoreFailure):
            await world.journal.retire(low)
        await world.journal.retire(low)
        assert await records(world) == [(at("a"), high.staging_id, VERSION)]


async def test_what_was_not_replaced_after_all_follows_what_it_stands_on(tmp_path: Path) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        low, high = await stacked(world)
        with broken(), pytest.raises(StoreFailure):
            await world.journal.append(world.sealed("a", b"new"), "sealed", replaces=[high])
        low.fate.version = VERSION
        await world.journal.retire(low)
        assert await records(world) == [(at("a"), high.staging_id, VERSION)]


async def test_a_name_that_could_not_be_recorded_is_not_recorded_later(tmp_path: Path) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        low, high = await stacked(world)
        with broken(), pytest.raises(StoreFailure):
            await world.journal.rename([attrs.evolve(high, path=at("new"))])
        low.fate.version = VERSION
        await world.journal.retire(low)
        assert await records(world) == [(at("a"), high.staging_id, VERSION)]


class HeldLane(InlineLane):
    """Its next call waits, as one in a thread that takes long."""

    held: trio.Event | None = None

    async def run_uncancelled(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        event, HeldLane.held = HeldLane.held, None
        with trio.CancelScope(shield=True):
            if event is not None:
                await event.wait()
        return await super().run_uncancelled(func, *args)


@pytest.mark.parametrize("renamed", [False, True])
async def test_records_that_wait_for_their_transaction_follow_what_lands_meanwhile(
    tmp_path: Path, renamed: bool
) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False, lane=HeldLane("disk", 4)) as world:
        low = world.sealed("a", b"0123456789")
        high = world.new(base=low, size=10).seal(at("a"), metadata(), attributes(10))
        await world.journal.append(low, "sealed")
        event = HeldLane.held = trio.Event()
        async with trio.open_nursery() as nursery:
            if renamed:
                nursery.start_soon(world.journal.append, high, "sealed")
                await trio.testing.wait_all_tasks_blocked()
                high = attrs.evolve(high, path=at("new"))
                nursery.start_soon(world.journal.rename, [high])
            else:
                nursery.start_soon(world.journal.append, world.sealed("b", b""), "sealed")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(world.journal.append, high, "sealed")
            await trio.testing.wait_all_tasks_blocked()
            low.fate.version = VERSION
            nursery.start_soon(world.journal.retire, low)
            await trio.testing.wait_all_tasks_blocked()
            event.set()
        assert (await records(world))[-1] == (high.path, high.staging_id, VERSION)


async def test_the_next_mount_has_what_stands_on_what_was_struck_off_late(
    autojump_clock: object, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning("the journal still lists")
    store = MemoryStore()
    async with open_world(tmp_path, store, delay=10) as world:
        low = world.sealed("a", b"0123456789")
        await world.write_back.submit(low)
        high = world.new(base=low, size=10)
        high.write(0, b"x")
        await world.write_back.checkpoint(high.seal(at("a"), metadata(), attributes(10)))
        with broken():
            await world.write_back.flush()
        await world.write_back.submit(world.sealed("other", b"bytes"))
        await world.write_back.flush()
        assert not Path(low.local_path).exists()
    async with open_world(tmp_path, store) as world:
        [found] = await world.write_back.recover()
        await world.write_back.settle(found.staging_id)
    assert store.contents()["a"] == b"x123456789"


@pytest.mark.parametrize("error", [OSError(28, "full"), StoreFailure("the journal can't be used")])
@pytest.mark.parametrize("edited", [False, True])
async def test_what_was_forgotten_is_not_sent_when_the_journal_still_lists_it(
    autojump_clock: object,
    tmp_path: Path,
    expect_warning: Callable[[str], None],
    error: Exception,
    edited: bool,
) -> None:
    expect_warning("the journal still lists")
    store = MemoryStore()
    async with open_world(tmp_path, store, delay=5) as world:
        sealed = world.sealed("a", b"hello")
        await world.write_back.submit(sealed)
        assert not edited or world.write_back.withdraw(sealed.staging_id)
        with broken(error), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reserve, "give_up", lambda _: False)
            assert await world.write_back.forget(sealed.staging_id) is None
        await trio.sleep(100)
        assert store.contents() == {}
        assert world.write_back.pending() == []
        await world.write_back.flush()
        assert await world.journal.replay() == []
        assert world.local_files() == ([sealed.staging_id] if edited else []), (
            "whoever edits it still sees it"
        )
        if edited:
            world.staging.reopen(sealed).discard()
            assert world.local_files() == []


async def test_the_next_record_takes_along_what_the_journal_could_not_drop(
    autojump_clock: object, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    expect_warning("the journal still lists")
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        sealed, other = world.sealed("a", b"hello"), world.sealed("b", b"other")
        await world.write_back.submit(sealed)
        with broken():
            await world.write_back.forget(sealed.staging_id)
        await world.write_back.submit(other)
        assert [found.path for found in await world.journal.replay()] == [at("b")]
        assert world.local_files() == [other.staging_id]


async def test_no_transaction_leaves_it_there(
    autojump_clock: object, tmp_path: Path, expect_warning: Callable[[str], None]
) -> None:
    """Were the next one for a rename to its name, and the mount to die behind it, the next mount would send
    what was removed over what was renamed."""
    expect_warning("the journal still lists")
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        sealed = world.sealed("a", b"hello")
        await world.write_back.submit(sealed)
        with broken():
            await world.write_back.forget(sealed.staging_id)
        await world.journal.begin_moves([(VERSION, at("a"))], 5)
        assert await world.journal.replay() == []


async def test_what_is_owed_of_a_big_file_goes_as_a_whole(
    autojump_clock: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expect_warning: Callable[[str], None],
) -> None:
    """The record of the large file that it was sent as goes with its own: else the next mount would take it
    for one that nobody finishes."""
    expect_warning("the journal still lists")
    use_small_parts(monkeypatch)
    async with open_world(tmp_path, MemoryStore(minimum_part_size=16)) as world:
        sealed = world.sealed("a", bytes(20 * PART))
        await world.write_back.submit(sealed)
        real = journal_module._transaction

        def transaction(connection: sqlite3.Connection, statements: list[Statement]) -> None:
            if any("DELETE FROM files" in text for text, _ in statements):
                raise StoreFailure("no")
            real(connection, statements)

        with monkeypatch.context() as failing:
            failing.setattr(journal_module, "_transaction", transaction)
            await world.write_back.settle(sealed.staging_id)
            large = "SELECT staging_id FROM large_files"
            assert await world.journal.read(large) == [(sealed.staging_id,)]
        await world.journal.begin_moves([(VERSION, at("b"))], 5)
        assert await world.journal.replay() == []
        assert await world.journal.read(large) == []


async def test_all_records_of_what_was_removed_go_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between would leave the older bytes."""
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        low = world.sealed("a", b"0123456789")
        await world.write_back.submit(low)
        high = world.new(base=low, size=10).seal(at("a"), metadata(), attributes(10))
        await world.write_back.checkpoint(high)
        real, done = journal_module._transaction, list[int]()

        def transaction(connection: sqlite3.Connection, statements: list[Statement]) -> None:
            done.append(1)
            real(connection, statements)

        monkeypatch.setattr(journal_module, "_transaction", transaction)
        await world.write_back.forget(high.staging_id)
        assert done == [1]
        assert await world.journal.replay() == []


async def test_the_journal_is_closed_after_what_it_is_writing(tmp_path: Path) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False, lane=HeldLane("disk", 4)) as world:
        event = HeldLane.held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.journal.append, world.sealed("a", b"hello"), "sealed")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(world.journal.close)
            await trio.testing.wait_all_tasks_blocked()
            event.set()
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        assert [found.path for found in await world.journal.replay()] == [at("a")]


class Refusing:
    """A connection whose writes fail as SQLite's do when the system says anything but ENOSPC."""

    def __init__(self, real: sqlite3.Connection, code: int, works: Callable[[], bool]) -> None:
        self.real, self.code, self.works = real, code, works

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def execute(self, sql: str, values: tuple[str | int | None, ...] = ()) -> object:
        if sql == "COMMIT" and not self.works():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        return self.real.execute(sql, values)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC])
@pytest.mark.parametrize(("errno", "is_full"), [(122, True), (28, True), (5, False)])
async def test_a_full_quota_is_a_full_disk_for_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, errno: int, is_full: bool
) -> None:
    reserve = tmp_path / "journal.db.reserve"
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if reserve.exists() or not room:
            raise OSError(errno, "refused")
        return real(fd, data, offset)

    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        room = [True]
        sealed, other = world.sealed("a", b""), world.sealed("b", b"")
        connection = Refusing(world.journal._opened(), code, lambda: bool(room) and not reserve.exists())
        monkeypatch.setattr(world.journal, "_connection", connection)
        monkeypatch.setattr(os, "pwrite", pwrite)
        if not is_full:
            with pytest.raises(StoreFailure):
                await world.journal.append(sealed, "sealed")
            assert reserve.exists()
            return
        await world.journal.append(sealed, "sealed")
        room.clear()
        with pytest.raises(OSError, match="refused") as caught:
            await world.journal.append(other, "sealed")
        assert caught.value.errno == errno
        assert sorted(path.name for path in tmp_path.glob("*probe*")) == []
        room.append(True)
        assert [found.path for found in await world.journal.replay()] == [at("a")]

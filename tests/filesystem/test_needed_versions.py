"""Versions that unsent files stand on outlast every way of deleting for good. No kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from b2mount.errors import NotPermitted, OverQuota, StoreFailure, Unavailable
from b2mount.model import Action, AttributeChange, ObjectMetadata, ObjectPath
from b2mount.writing import mover
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.times import times
from tests.filesystem.world import World, world


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def renamed_on_the_way(w: World) -> None:
    """`new` is to be a copy of what `old` was, which B2 has not made yet."""
    await w.write("old", b"bytes")
    await w.fs.flush_path()
    await w.fs.setattr((await w.node("old")).number, AttributeChange(mode=0o600), size=None, fh=None)
    await w.rename("old", "new")


@pytest.mark.parametrize("is_open", [False, True])
async def test_who_deletes_a_new_file_of_the_old_name(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, *, is_open: bool
) -> None:
    async with world(store, tmp_path, waits=False, deletes=True) as w:
        await renamed_on_the_way(w)
        await w.write("old", b"another")
        await w.fs.flush_path("old")
        fh = await w.open("old") if is_open else None
        await w.unlink("old")
        if fh is not None:
            await w.close(fh)
        await w.fs.flush_path()
        assert memory.contents() == {"new": b"bytes"}
        assert await w.read("new") == b"bytes"


async def test_who_empties_the_trash(memory: MemoryStore, tmp_path: Path) -> None:
    async with times(memory, tmp_path, waits=False) as time:
        await renamed_on_the_way(time.live)
        with pytest.raises(NotPermitted, match="unsent"):
            await time.rm(".b2/trash/old")
        await time.live.fs.flush_path()
        assert memory.contents() == {"new": b"bytes"}
        await time.rm(".b2/trash/old")
        assert await time.read("new") == b"bytes"
        assert await time.names(".b2/trash") == []


async def test_what_a_crash_left_unsent_is_known_before_anything_superseded_goes(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path, waits=False, keep=1) as w:
        store.hold("copy")
        await renamed_on_the_way(w)
        await w.write("old", b"another")
        await w.fs.flush_path("old")
    later = FaultyStore(memory)
    hold = later.hold("copy")
    async with world(later, tmp_path, waits=False, keep=1) as w:
        await hold.reached.wait()
        await trio.sleep(0.1)
        hold.release.set()
        await w.fs.flush_path()
        assert memory.contents() == {"old": b"another", "new": b"bytes"}


async def test_what_is_there_again_is_not_removed_from_the_trash(memory: MemoryStore, tmp_path: Path) -> None:
    async with times(memory, tmp_path, waits=False) as time:
        await time.live.write("old", b"bytes")
        await time.live.fs.flush_path()
        await time.rm("old")
        assert await time.names(".b2/trash") == ["old"]
        await memory.put(ObjectPath("bucket", "old"), literal(b"another"), ObjectMetadata())
        with pytest.raises(NotPermitted, match="again"):
            await time.rm(".b2/trash/old")
        assert memory.contents() == {"old": b"another"}
        assert await time.names(".b2/trash") == []


@pytest.mark.parametrize("then", ["exchange", "rename a directory", "rename a file"])
async def test_what_an_exchange_could_not_take_back_is_not_carried_on(
    store: FaultyStore,
    memory: MemoryStore,
    tmp_path: Path,
    expect_warning: WarningLog,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 1e6)  # nobody else takes it back
    expect_warning("could not be taken back yet")
    async with world(store, tmp_path) as w:
        for name in ("d", "e"):
            await w.mkdir(name)
            await w.write(f"{name}/x", name.encode())
        store.fail("copy", OverQuota("cap"), at=4)
        store.fail("delete_version", Unavailable("no network"))
        with pytest.raises(OverQuota):
            await w.fs.exchange(await w.split("d"), await w.split("e"))
        await w.read("d/x")
        await w.read("e/x")
        if then == "exchange":
            await w.fs.exchange(await w.split("d"), await w.split("e"))
            expected = {"d/x": b"e", "e/x": b"d"}
        elif then == "rename a directory":
            await w.rename("d", "f")
            expected = {"f/x": b"d", "e/x": b"e"}
        else:
            await w.rename("d/x", "y")
            await w.rename("e/x", "z")
            expected = {"y": b"d", "z": b"e"}
        assert {name: await w.read(name) for name in expected} == expected
        assert {key: data for key, data in memory.contents().items() if data} == expected


async def until_taken_back(w: World) -> None:
    moving = w.fs._mover
    with trio.fail_after(10):
        while moving._exchanger.owes or moving._strays.are_owed:  # noqa: ASYNC110  # nobody says so
            await trio.sleep(0.001)


async def test_a_failed_exchange_is_taken_back_without_being_asked(
    store: FaultyStore,
    memory: MemoryStore,
    tmp_path: Path,
    expect_warning: WarningLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 0.001)
    expect_warning("could not be taken back yet")
    async with world(store, tmp_path) as w:
        await w.write("a", b"one")
        await w.write("b", b"other")
        store.fail("copy", OverQuota("cap"), at=2)
        store.fail("delete_version", Unavailable("no network"), times=3)
        with pytest.raises(OverQuota):
            await w.fs.exchange(await w.split("a"), await w.split("b"))
        await until_taken_back(w)
        assert memory.contents() == {"a": b"one", "b": b"other"}
        assert (await w.read("a"), await w.read("b")) == (b"one", b"other")


@pytest.mark.parametrize("case", ["a reply is lost", "hiding is refused"])
async def test_a_rename_that_failed_leaves_no_copy(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 0.001)
    async with world(store, tmp_path) as w:
        await w.write("old", b"bytes")
        await w.write("new", b"another")
        if case == "a reply is lost":
            store.fail("copy", Unavailable("lost"), after=True)
        else:
            store.fail("hide", OverQuota("cap"))
            store.fail("delete_version", Unavailable("no network"))
        store.fail("stat", Unavailable("no network"))
        with pytest.raises((OverQuota, Unavailable)):
            await w.rename("old", "new")
        await until_taken_back(w)
        assert memory.contents() == {"old": b"bytes", "new": b"another"}
        assert (await w.read("old"), await w.read("new")) == (b"bytes", b"another")


@pytest.mark.parametrize("case", ["done again", "there before", "there unseen", "removed by others"])
async def test_what_is_no_stray_stays(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 1e6)
    async with world(store, tmp_path) as w:
        await w.write("old", b"bytes")
        if case.startswith("there"):
            await memory.copy(memory.newest("old"), ObjectPath("bucket", "new"))
            await trio.sleep(0.002)
        if case == "there before":
            w.fs.by_path.refresh("")
        store.fail("copy", Unavailable("lost"), after=not case.startswith("there"))
        with pytest.raises(Unavailable):
            await w.rename("old", "new")
        strays = w.fs._mover._strays
        (stray,) = strays._owed
        if case == "done again":
            await w.rename("old", "new")
            assert not strays.are_owed
            strays.owe(stray)  # as if it had been done elsewhere
        elif case == "removed by others":
            await memory.hide(ObjectPath("bucket", "old"))
        await strays.pay()
        assert not strays.are_owed
        expected = {"old", "new"} if case.startswith("there") else {"new"}
        assert set(memory.contents()) == expected


@pytest.mark.parametrize("copies", [False, True])
async def test_what_is_made_after_a_rename_that_failed_stays(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 1e6)
    async with world(store, tmp_path) as w:
        await w.write("old", b"bytes")
        store.fail("copy", Unavailable("lost"))
        with pytest.raises(Unavailable):
            await w.rename("old", "new")
        await trio.sleep(0.002)
        if copies:
            await w.fs._mover.copy(memory.newest("old"), ObjectPath("bucket", "new"))
        else:  # cp -p
            attributes = (await w.node("old")).attributes
            await w.write("new", b"bytes")
            change = AttributeChange(modified_ns=attributes.modified_ns, mode=attributes.mode)
            await w.fs.setattr((await w.node("new")).number, change, size=None, fh=None)
            await w.fs.flush_path()
        made = memory.newest("new")
        await w.fs._mover._strays.pay()
        assert memory.newest("new") == made


async def all_of(memory: MemoryStore) -> list[tuple[str, Action]]:
    page = await memory.list_versions("bucket", "")
    return [(version.path.key, version.action) for version in page.versions]


async def test_what_is_moved_away_leaves_nothing_where_removing_deletes(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path, deletes=True) as w:
        for name in ("d", "d/empty", "e"):
            await w.mkdir(name)
        for name in ("f", "f", "fg", "d/1", "d/1", "d/2", "e/2"):
            await w.write(name, os.urandom(8))
        await memory.hide(ObjectPath("bucket", "fg"))
        await memory.put(ObjectPath("bucket", "d/gone"), literal(b"others'"), ObjectMetadata())
        await memory.hide(ObjectPath("bucket", "d/gone"))
        w.fs.by_path.refresh("")
        await w.rename("f", "new")
        fh, asked = await w.create("unsent"), store.calls["list_versions"]
        await w.rename("unsent", "new too")
        assert store.calls["list_versions"] == asked
        await w.close(fh)
        await w.unlink("new too")
        asked = store.calls["list_versions"]
        await w.rename("d", "dir")
        assert store.calls["list_versions"] == asked + 1
        await w.fs.exchange(await w.split("dir"), await w.split("e"))
        left = [key for key, action in await all_of(memory) if action is Action.HIDE]
        assert left == ["d/gone", "fg"]  # nobody moved these
        names = ["d/gone", "dir/2", "e/1", "e/2", "e/empty/.bzEmpty", "fg", "new"]
        assert sorted({key for key, _ in await all_of(memory)} - {"dir/.bzEmpty", "e/.bzEmpty"}) == names


@pytest.mark.parametrize("case", ["written again", "brought back", "protected", "in use", "refused"])
async def test_what_was_moved_away_stays_hidden(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, expect_warning: WarningLog, case: str
) -> None:
    async with world(store, tmp_path, deletes=True) as w:
        await w.write("old", b"bytes")
        path = ObjectPath("bucket", "old")
        if case == "protected":
            memory.protect(memory.newest("old"))
        fh = await w.open("old", os.O_WRONLY)
        if case == "in use":
            await w.fs.write(fh, 0, b"B")
        look = store.hold("list_versions")
        if case == "refused":
            expect_warning("under its old name, hidden")
            store.fail("list_versions", StoreFailure("no"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "old", "new")
            await look.reached.wait()
            if case == "written again":
                await memory.put(path, literal(b"another"), ObjectMetadata())
            if case == "brought back":
                (marker, *_) = (await memory.list_versions("bucket", "old")).versions
                await memory.delete_version(marker)
            look.release.set()
        await w.close(fh)
        uploads = (
            [Action.UPLOAD] if case in {"written again", "brought back"} else [Action.HIDE, Action.UPLOAD]
        )
        assert [action for key, action in await all_of(memory) if key == "old"] == uploads
        shown = {"written again": b"another", "brought back": b"bytes"}
        new = {"new": b"Bytes" if case == "in use" else b"bytes"}
        assert memory.contents() == new | ({"old": shown[case]} if case in shown else {})


async def test_what_is_not_sent_yet_is_renamed_while_b2_is_out_of_reach(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "FIRST_PAUSE", 1e6)
    async with world(store, tmp_path, waits=False, delay=60) as w:
        await w.write("old", b"bytes")
        await w.fs.flush_path()
        await w.names()
        store.fail("copy", Unavailable("no network"))
        store.fail("stat", Unavailable("no network"), times=1000)
        with pytest.raises(Unavailable):
            await w.rename("old", "new")
        await w.write("unsent", b"bytes")
        await w.rename("unsent", "renamed")
        assert await w.read("renamed") == b"bytes"

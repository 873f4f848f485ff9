"""A file of which more than one state is unsent takes all of them along to its new name, and a rename that
fails leaves it and what it was to replace as safe as they were."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import Unavailable
from b2mount.model import AttributeChange, ObjectPath
from b2mount.writing.journal import Journal
from b2mount.writing.journal_change import Change
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.test_crash_of_unsent import LATER, after_a_crash, bucket, mounted
from tests.filesystem.world import World


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


async def synced_over_closed(w: World, path: str) -> int:
    """A file that is closed and unsent, and has been written anew from its start and fsynced since."""
    await w.write(path, b"closed")
    fh = await w.open(path, os.O_WRONLY | os.O_TRUNC)
    await w.fs.write(fh, 0, b"synced, and longer")
    await w.fs.fsync(fh)
    return fh


def files(found: dict[str, bytes]) -> dict[str, bytes]:
    return {key: data for key, data in found.items() if not key.endswith(".bzEmpty")}


@pytest.mark.parametrize("below", ["", "d/"])
async def test_what_was_synced_over_what_was_closed(store, tmp_path, autojump_clock, below):
    """A crash after a rename of it, or of its directory, leaves what was synced under the new name."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        if below:
            await w.mkdir("d")
        fh = await synced_over_closed(w, f"{below}a")
        await (w.rename("d", "e") if below else w.rename("a", "b"))
        new = "e/a" if below else "b"
        assert files(await after_a_crash(store, tmp_path / "here")) == {new: b"synced, and longer"}
        await w.write_back.flush()
        assert await w.read(new) == b"synced, and longer"
        await w.close(fh)


@pytest.mark.parametrize("below", ["", "d/"])
async def test_what_was_synced_over_what_was_closed_when_the_rename_fails(
    store, tmp_path, autojump_clock, below
):
    """It has its old name again, and a crash leaves what was synced there."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        if below:
            await w.mkdir("d")
        store.inner.seed(ObjectPath("bucket", f"{below}a"), b"in B2")
        fh = await synced_over_closed(w, f"{below}a")
        store.fail("copy" if below else "hide", Unavailable("no network"), times=9)
        with pytest.raises(Unavailable):
            await (w.rename("d", "e") if below else w.rename("a", "b"))
        assert files(await after_a_crash(FaultyStore(store.inner), tmp_path / "here")) == {
            f"{below}a": b"synced, and longer"
        }
        await w.close(fh)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_crash_at_any_moment_of_a_rename_over_an_unsent_file(
    store, tmp_path, autojump_clock, monkeypatch, fails
):
    """What was synced has one of the two names; what it was to replace is there until it has the other."""
    inner, write = store.inner, Journal.make
    moments: list[tuple[Path, FaultyStore]] = []

    async def noted(journal: Journal, change: Change) -> None:
        await write(journal, change)
        place = tmp_path / f"moment {len(moments)}"
        shutil.copytree(tmp_path / "here", place / "here")
        moments.append((place / "here", FaultyStore(copy.deepcopy(inner))))

    inner.seed(ObjectPath("bucket", "a"), b"in B2")
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        closed = await synced_over_closed(w, "b")
        fh = await synced_over_closed(w, "a")
        if fails:
            store.fail("hide", Unavailable("no network"))
        await w.fs.write(closed, 0, b"other!")
        await w.fs.fsync(closed)
        monkeypatch.setattr(Journal, "make", noted)
        if fails:
            with pytest.raises(Unavailable):
                await w.rename("a", "b")
        else:
            await w.rename("a", "b")
        monkeypatch.undo()
        await w.close(closed)
        await w.close(fh)
    new, old = b"synced, and longer", b"other!, and longer"
    assert moments
    for directory, left in moments:
        found = await after_a_crash(left, directory)
        assert found in ({"a": new, "b": old}, {"b": new}, {"a": b"in B2", "b": new})


@pytest.mark.parametrize("closed", [True, False])
async def test_a_rename_that_fails_over_what_somebody_waits_for(
    store, tmp_path, autojump_clock, expect_warning, closed
):
    """The local bytes of what it was to replace are there, and whoever waits for them does so until B2 has
    them."""
    expect_warning("trying again")
    store.inner.seed(ObjectPath("bucket", "a"), b"in B2")
    seen: list[dict[str, bytes]] = []

    async with (
        mounted(store, tmp_path / "here", waits=False, delay=LATER) as w,
        trio.open_nursery() as nursery,
    ):

        async def flush() -> None:
            await w.write_back.flush(ObjectPath("bucket", "b"))
            seen.append(bucket(store))

        await w.write("b", b"old")
        store.fail("put", Unavailable("no network"))
        nursery.start_soon(flush)
        await trio.testing.wait_all_tasks_blocked()
        fh = await w.open("a", os.O_WRONLY | os.O_TRUNC)
        await w.fs.write(fh, 0, b"new")
        await (w.fs.flush(fh) if closed else w.fs.fsync(fh))
        store.fail("hide" if closed else "copy", Unavailable("no network"))
        with pytest.raises(Unavailable):
            await w.rename("a", "b")
        assert await w.read("b") == b"old"
        shutil.copytree(tmp_path / "here", tmp_path / "copy" / "here")
        left = FaultyStore(copy.deepcopy(store.inner))
        await w.fs.write(fh, 0, b"NEW")  # nobody waits for this one: it is not sent before its close
        await trio.sleep(LATER + 10)
        assert seen == [{"a": b"in B2", "b": b"old"}]
        await w.close(fh)
        await w.write_back.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert not list((tmp_path / "here" / "staging").iterdir())
    assert await after_a_crash(left, tmp_path / "copy" / "here") == {"a": b"new", "b": b"old"}


async def test_an_open_file_that_is_replaced_while_somebody_waits_for_it(
    store, tmp_path, autojump_clock, expect_warning
):
    """Who has it open goes on seeing its bytes, and nothing of them stays on the local disk after that."""
    expect_warning("trying again")
    async with (
        mounted(store, tmp_path / "here", waits=False, delay=LATER) as w,
        trio.open_nursery() as nursery,
    ):
        await w.write("b", b"old")
        store.fail("put", Unavailable("no network"))
        nursery.start_soon(w.write_back.flush, ObjectPath("bucket", "b"))
        await trio.testing.wait_all_tasks_blocked()
        await w.write("a", b"new")
        fh = await w.open("b")
        await w.rename("a", "b")
        assert await w.fs.read(fh, 0, 100) == b"old"
        await w.close(fh)
        await w.write_back.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert files(bucket(store)) == {"b": b"new"}
        assert not list((tmp_path / "here" / "staging").iterdir())


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("how", ["cut", "cut and synced", "closed again"])
async def test_an_older_upload_that_fails_during_the_rename(
    store, tmp_path, autojump_clock, expect_warning, how, heard
):
    """What was closed before does not come in under the old name, nor stay there when its reply was lost."""
    expect_warning("trying again")
    hold = store.hold("put", after=heard)
    store.fail("put", Unavailable("no network"), after=heard)
    async with mounted(store, tmp_path / "here", waits=False) as w:
        await w.write("a", b"closed")
        await hold.reached.wait()
        if how == "closed again":
            await w.write("a", b"closed again")
        fh = await w.open("a", os.O_WRONLY)
        await w.fs.write(fh, 0, b"written")
        await w.fs.fsync(fh)
        if how.startswith("cut"):
            await w.fs.setattr((await w.node("a")).number, AttributeChange(), size=0, fh=fh)
            await w.fs.write(fh, 0, b"new")
        if how.endswith("synced"):
            await w.fs.fsync(fh)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "a", "b")
            await trio.testing.wait_all_tasks_blocked()
            hold.release.set()
        await trio.sleep(100)
        assert files(bucket(store)) in ({}, {"b": b"closed"})
        await w.close(fh)
        await w.write_back.flush()
        assert files(bucket(store)) == {"b": b"writtenagain" if how == "closed again" else b"new"}
        await trio.testing.wait_all_tasks_blocked()
        assert not list((tmp_path / "here" / "staging").iterdir())


async def test_a_close_does_not_wait_for_the_writer_of_what_has_taken_its_name(
    store, tmp_path, autojump_clock, expect_warning
):
    """Bytes that were durable have replaced its own; when those are in B2 is for their close to say."""
    expect_warning("trying again")
    store.fail("put", Unavailable("no network"))
    async with mounted(store, tmp_path / "here", waits=True, delay=LATER) as w:
        with trio.fail_after(LATER / 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.write, "b", b"old")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(w.write_back.flush, ObjectPath("bucket", "b"))
                await trio.testing.wait_all_tasks_blocked()
                fh = await w.create("a")
                await w.fs.write(fh, 0, b"new")
                await w.fs.fsync(fh)
                await w.rename("a", "b")
        assert await after_a_crash(store, tmp_path / "here") == {"b": b"new"}
        await w.close(fh)
        assert bucket(store) == {"b": b"new"}

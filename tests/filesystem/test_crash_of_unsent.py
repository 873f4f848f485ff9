"""What is unsent when the mount dies, or when a reply was lost, is neither lost nor brought back."""

from __future__ import annotations

import copy
import os
import shutil
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import OverQuota, Unavailable
from b2mount.model import AttributeChange, ObjectPath
from b2mount.writing.journal import Journal
from b2mount.writing.journal_change import Change
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world
from tests.writing.world import InlineLane

LATER = 1000.0
"""Seconds before an upload begins: nothing is sent by itself."""


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def mounted(
    store: FaultyStore, directory: Path, *, waits: bool = True, delay: float = 0, deletes: bool = False
) -> AbstractAsyncContextManager[World]:
    """Without threads, so that the clock jumps only when there is nothing to do."""
    lane = InlineLane("disk", 4)
    return world(store, directory, waits=waits, delay=delay, deletes=deletes, lane=lane)


def bucket(store: FaultyStore) -> dict[str, bytes]:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    return inner.contents()


async def after_a_crash(store: FaultyStore, directory: Path) -> dict[str, bytes]:
    """What is in B2 when a mount that finds the directory as it is now has sent everything."""
    found = directory.with_name("found")
    shutil.copytree(directory, found)
    async with mounted(store, found) as w:
        await w.write_back.flush()
    return bucket(store)


@pytest.mark.parametrize("synced", [False, True])
async def test_a_rename_over_an_unsent_file(store, tmp_path, autojump_clock, synced):
    """The unsent file that a rename replaces does not come in over what was renamed."""
    inner = store.inner
    inner.seed(ObjectPath("bucket", "new"), b"new")
    async with (
        mounted(store, tmp_path / "here", waits=False, delay=LATER) as w,
        trio.open_nursery() as nursery,
    ):
        if synced:
            fh = await w.create("file")
            await w.fs.write(fh, 0, b"old")
            await w.fs.fsync(fh)
        else:
            await w.write("file", b"old")
        hold = store.hold("copy")
        nursery.start_soon(w.rename, "new", "file")
        await hold.reached.wait()
        assert await after_a_crash(store, tmp_path / "here") == {"file": b"new"}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("synced", [False, True])
async def test_a_rename_over_an_unsent_file_that_fails(store, tmp_path, autojump_clock, synced):
    """The unsent file is as safe as it was."""
    store.inner.seed(ObjectPath("bucket", "new"), b"new")
    store.fail("copy", Unavailable("no network"))
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        fh = await w.create("file")
        await w.fs.write(fh, 0, b"old")
        await w.fs.fsync(fh)
        if not synced:
            await w.close(fh)
        with pytest.raises(Unavailable):
            await w.rename("new", "file")
        assert await after_a_crash(store, tmp_path / "here") == {"file": b"old", "new": b"new"}


@pytest.mark.parametrize("edited", [False, True])
async def test_a_crash_while_a_rename_over_an_unsent_file_fails(
    store, tmp_path, autojump_clock, monkeypatch, edited
):
    """At whatever moment: both files are there, or the new one has taken the name, which was asked for; then
    what B2 had of it before may still have the old name."""
    inner, write = store.inner, Journal.make
    moments: list[tuple[Path, FaultyStore]] = []

    async def noted(journal: Journal, change: Change) -> None:
        await write(journal, change)
        place = tmp_path / f"moment {len(moments)}"
        shutil.copytree(tmp_path / "here", place / "here")
        moments.append((place / "here", FaultyStore(copy.deepcopy(inner))))

    inner.seed(ObjectPath("bucket", "new"), b"new")
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        await w.write("file", b"old")
        if edited:  # its new bytes only take the name; what B2 has is hidden
            fh = await w.open("new", os.O_WRONLY)
            await w.fs.write(fh, 0, b"N")
            await w.close(fh)
        store.fail("hide" if edited else "copy", Unavailable("no network"))
        monkeypatch.setattr(Journal, "make", noted)
        with pytest.raises(Unavailable):
            await w.rename("new", "file")
        monkeypatch.undo()
    new = b"New" if edited else b"new"
    assert len(moments) > 2
    for directory, left in moments:
        found = await after_a_crash(left, directory)
        assert found in ({"file": b"old", "new": new}, {"file": new}, {"file": new, "new": b"new"})


@pytest.mark.parametrize("how", ["unlink", "rename"])
async def test_a_lost_reply_to_an_upload(store, tmp_path, autojump_clock, expect_warning, how):
    """What B2 has taken without our knowing does not stay when the name goes."""
    expect_warning("trying again")
    store.fail("put", Unavailable("the reply was lost"), after=True)
    store.fail("put", Unavailable("no network"), at=2, times=2)
    async with mounted(store, tmp_path, waits=False) as w:
        await w.write("file", b"bytes")
        await trio.testing.wait_all_tasks_blocked()
        assert bucket(store) == {"file": b"bytes"}
        if how == "unlink":
            await w.unlink("file")
        else:
            await w.rename("file", "renamed")
        await w.write_back.flush()
    found = {key: data for key, data in bucket(store).items() if not key.endswith(".bzEmpty")}
    assert found == ({} if how == "unlink" else {"renamed": b"bytes"})


async def removed_while_sent(
    w: World, store: FaultyStore, error: Exception, path: str, *, rmdir: bool = False
) -> None:
    """A name goes while something of it is on its way; B2 hears that after it has hidden the name, and the
    reply is lost."""
    hold = store.hold("put")
    store.fail("put", error, after=True)
    async with trio.open_nursery() as nursery:
        if rmdir:
            node = await w.node(path)
            await w.fs.setattr(node.number, AttributeChange(mode=0o700), size=None, fh=None)
        else:
            await w.write(path, b"bytes")
        await hold.reached.wait()
        nursery.start_soon(w.rmdir if rmdir else w.unlink, path)
        await trio.testing.wait_all_tasks_blocked()
        hold.release.set()


@pytest.mark.parametrize("deletes", [False, True])
@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("error", [Unavailable("the reply was lost"), OverQuota("the 2nd time")], ids=type)
async def test_a_lost_reply_to_what_is_removed_meanwhile(
    store, tmp_path, autojump_clock, expect_warning, error, before, deletes
):
    expect_warning("trying again" if isinstance(error, Unavailable) else "stays staged")
    if before is not None:
        store.inner.seed(ObjectPath("bucket", "d/file"), before)
    async with mounted(store, tmp_path, waits=False, deletes=deletes) as w:
        if before is None:
            await w.mkdir("d")
        await removed_while_sent(w, store, error, "d/file")
        assert "d/file" not in bucket(store)
        assert await w.names("d") == []


async def test_nothing_of_a_file_begins_to_be_sent_while_its_name_goes(store, tmp_path, autojump_clock):
    store.inner.seed(ObjectPath("bucket", "file"), b"before")
    async with mounted(store, tmp_path, waits=False, delay=10) as w, trio.open_nursery() as nursery:
        await w.write("file", b"bytes")
        hold = store.hold("hide", after=True)
        nursery.start_soon(w.unlink, "file")
        await hold.reached.wait()
        await trio.sleep(60)
        hold.release.set()
    assert store.calls["put"] == 0, "it would come in after it"
    assert bucket(store) == {}


async def test_a_lost_reply_to_what_a_directory_that_goes_has_sent(
    store, tmp_path, autojump_clock, expect_warning
):
    expect_warning("trying again")
    async with mounted(store, tmp_path, waits=False) as w:
        await w.mkdir("d")
        await removed_while_sent(w, store, Unavailable("the reply was lost"), "d", rmdir=True)
        assert "d/.bzEmpty" not in bucket(store)


@pytest.mark.parametrize("synced", [False, True])
async def test_a_file_that_is_written_anew(store, tmp_path, autojump_clock, synced):
    """A crash before the close leaves what was durable, not new bytes inside of it."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        fh = await w.create("file")
        await w.fs.write(fh, 0, b"long and old")
        await w.fs.fsync(fh)
        if synced:
            await w.fs.setattr((await w.node("file")).number, AttributeChange(), size=0, fh=fh)
        else:
            await w.close(fh)
            fh = await w.open("file", os.O_WRONLY | os.O_TRUNC)
        await w.fs.write(fh, 0, b"new")
        assert await after_a_crash(store, tmp_path / "here") == {"file": b"long and old"}
        await w.close(fh)
        await w.write_back.flush()
        assert bucket(store) == {"file": b"new"}
        await trio.testing.wait_all_tasks_blocked()
    assert not list((tmp_path / "here" / "staging").iterdir())


@pytest.mark.parametrize("before", [None, b"closed before"])
async def test_attributes_of_a_file_that_is_written_to(store, tmp_path, autojump_clock, before):
    """What was changed after an fsync is durable when that returns, with the bytes that were; and what was
    closed before is sent all the same."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        if before:
            await w.write("file", before)
        fh = await w.create("file", flags=os.O_WRONLY | os.O_TRUNC)
        await w.fs.write(fh, 0, b"durable")
        await w.fs.fsync(fh)
        await w.fs.write(fh, 7, b" and not")
        number = (await w.node("file")).number
        await w.fs.setattr(number, AttributeChange(mode=0o600), size=None, fh=None)
        await w.fs.setxattr(number, b"user.mark", b"marked")
        if before:
            await w.write_back.flush()
            assert bucket(store) == {"file": before}
        assert await after_a_crash(store, tmp_path / "here") == {"file": b"durable"}
        info = store.inner.newest("file").info
        assert "mode=100600" in info["posix"]
        assert info["xattr"] == "mark=marked"
        await w.close(fh)


@pytest.mark.parametrize("again", ["fsync", "unlink"])
async def test_what_was_cut_to_nothing_leaves_nothing(store, tmp_path, autojump_clock, again):
    """Its record and its local file go with the next fsync, or with the name."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        fh = await w.create("file")
        await w.fs.write(fh, 0, b"long and old")
        await w.fs.fsync(fh)
        await w.fs.setattr((await w.node("file")).number, AttributeChange(), size=0, fh=fh)
        await w.fs.write(fh, 0, b"new")
        if again == "fsync":
            await w.fs.fsync(fh)
        else:
            await w.unlink("file")
        assert len(list((tmp_path / "here" / "staging").iterdir())) == 1
        left = {"file": b"new"} if again == "fsync" else {}
        found = await after_a_crash(store, tmp_path / "here")
        assert {key: data for key, data in found.items() if key == "file"} == left


@pytest.mark.parametrize(
    ("how", "left"), [("unlink", {}), ("rename", {"renamed": b"two"}), ("replace", {"file": b"new"})]
)
async def test_an_older_upload_that_is_under_way(store, tmp_path, autojump_clock, how, left):
    """What was written before the last close, and is still being sent, does not come in later."""
    store.inner.seed(ObjectPath("bucket", "new"), b"new")
    hold = store.hold("put")
    async with mounted(store, tmp_path, waits=False) as w:
        await w.write("file", b"one")
        await hold.reached.wait()
        await w.write("file", b"two")
        async with trio.open_nursery() as nursery:
            if how == "unlink":
                nursery.start_soon(w.unlink, "file")
            elif how == "rename":
                nursery.start_soon(w.rename, "file", "renamed")
            else:
                nursery.start_soon(w.rename, "new", "file")
            await trio.testing.wait_all_tasks_blocked()
            hold.release.set()
        await w.write_back.flush()
    found = {key: data for key, data in bucket(store).items() if not key.endswith(".bzEmpty")}
    assert found == left | ({} if how == "replace" else {"new": b"new"})


async def test_a_rename_that_fails_over_a_file_whose_close_waits(
    store, tmp_path, autojump_clock, expect_warning
):
    """Its record was gone for the time of the rename; it is there again."""
    expect_warning("trying again")
    store.inner.seed(ObjectPath("bucket", "new"), b"new")
    store.fail("put", Unavailable("no network"))
    store.fail("copy", Unavailable("no network"))
    async with mounted(store, tmp_path / "here") as w, trio.open_nursery() as nursery:
        nursery.start_soon(w.write, "file", b"old")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable):
            await w.rename("new", "file")
        shutil.copytree(tmp_path / "here", tmp_path / "copy")
    assert await after_a_crash(store, tmp_path / "copy") == {"file": b"old", "new": b"new"}


@pytest.mark.parametrize("heard", [False, True])
async def test_a_rename_over_an_unsent_file_of_which_nobody_knows(store, tmp_path, autojump_clock, heard):
    """The copy was made, and whether the old name was hidden can't be known: the program sees an error, and
    after a crash both files are there."""
    store.inner.seed(ObjectPath("bucket", "new"), b"new")
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        await w.write("file", b"old")
        store.fail("hide", Unavailable("no network"), after=heard)
        store.fail("stat", Unavailable("no network"))
        with pytest.raises(Unavailable):
            await w.rename("new", "file")
        assert ("new" in bucket(store)) is not heard
        assert await after_a_crash(store, tmp_path / "here") == {"file": b"old", "new": b"new"}


@pytest.mark.parametrize("synced", [False, True])
async def test_a_file_that_is_cut_and_grows_again(store, tmp_path, autojump_clock, synced):
    """No crash shows new bytes in the midst of those that were cut off."""
    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        fh = await w.create("file", flags=os.O_RDWR)
        await w.fs.write(fh, 0, b"a" * 100)
        if synced:
            await w.fs.fsync(fh)
        else:
            await w.fs.flush(fh)
        number = (await w.node("file")).number
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(w.fs.setattr, number, AttributeChange(), size=50, fh=fh))
            await trio.lowlevel.checkpoint()
            nursery.start_soon(w.fs.write, fh, 50, b"b" * 20)
        possible = (b"a" * 100, b"a" * 50, b"a" * 50 + b"b" * 20)
        assert (await after_a_crash(store, tmp_path / "here"))["file"] in possible
        await w.close(fh)
        assert await w.read("file") == b"a" * 50 + b"b" * 20


async def test_a_cut_that_can_not_be_recorded_is_none(store, tmp_path, autojump_clock, monkeypatch):
    async def fails(*_: object) -> None:
        raise OSError(5, "no")

    async with mounted(store, tmp_path / "here", waits=False, delay=LATER) as w:
        fh = await w.create("file", flags=os.O_RDWR)
        await w.fs.write(fh, 0, b"a" * 100)
        await w.fs.fsync(fh)
        number = (await w.node("file")).number
        with monkeypatch.context() as broken:
            broken.setattr(Journal, "append", fails)
            with pytest.raises(OSError, match="no"):
                await w.fs.setattr(number, AttributeChange(), size=50, fh=fh)
        assert (await w.node("file")).attributes.size == 100
        assert await w.fs.read(fh, 0, 200) == b"a" * 100
        await w.close(fh)

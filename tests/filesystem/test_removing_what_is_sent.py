"""rm of a file of which something is on its way to B2: it waits, and either all of it goes or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from b2mount.errors import Unavailable
from b2mount.model import Action, AttributeChange, ObjectPath
from b2mount.writing.journal import Journal
from b2mount.writing.sealed_file import SealedFile
from tests.fakes.faulty_store import FaultyStore, Hold
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.test_crash_of_unsent import after_a_crash, bucket, mounted
from tests.filesystem.world import World


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


async def two_generations(w: World, store: FaultyStore, *, synced: bool = False) -> Hold:
    """The older one is being sent, the newer one is closed."""
    sending = store.hold("put")
    await w.write("file", b"older")
    await sending.reached.wait()
    fh = await w.create("file", flags=os.O_WRONLY | os.O_TRUNC)
    await w.fs.write(fh, 0, b"newer")
    if synced:
        await w.fs.fsync(fh)
    await w.close(fh)
    return sending


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("synced", [False, True])
async def test_a_crash_leaves_no_older_bytes(store, tmp_path, autojump_clock, synced, closes):
    """Older bytes that arrive while the name goes have to be hidden, too; until then the newer ones stay on
    record, for the next mount to send, whoever closes the file meanwhile."""
    async with mounted(store, tmp_path / "here", waits=False) as w, trio.open_nursery() as nursery:
        sending = await two_generations(w, store, synced=synced)
        reading = await w.open("file")
        hiding = store.hold("hide")
        nursery.start_soon(w.unlink, "file")
        await trio.sleep(1)
        sending.release.set()
        await hiding.reached.wait()
        assert bucket(store) == {"file": b"older"}
        if closes:
            await w.close(reading)
        shutil.copytree(tmp_path / "here", tmp_path / "crashed")
        hiding.release.set()
    assert bucket(store) == {}
    store.inner.seed(ObjectPath("bucket", "file"), b"older")
    assert await after_a_crash(store, tmp_path / "crashed") == {"file": b"newer"}


@pytest.mark.parametrize("closes", [False, True])
async def test_local_bytes_go_after_their_record(store, tmp_path, autojump_clock, monkeypatch, closes):
    """A crash in between would leave a record of bytes that are gone."""
    retire, held, release = Journal.retire, trio.Event(), trio.Event()

    async def slowly(journal: Journal, *gone: SealedFile) -> None:
        held.set()
        await release.wait()
        await retire(journal, *gone)

    async with mounted(store, tmp_path, waits=False, delay=1000) as w, trio.open_nursery() as nursery:
        await w.write("file", b"closed")
        reading = await w.open("file")
        monkeypatch.setattr(Journal, "retire", slowly)
        nursery.start_soon(w.unlink, "file")
        await held.wait()
        if closes:
            await w.close(reading)
        assert [path.read_bytes() for path in (tmp_path / "staging").iterdir()] == [b"closed"]
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        if not closes:
            assert await w.fs.read(reading, 0, 100) == b"closed"
            await w.close(reading)
        assert not list((tmp_path / "staging").iterdir())


Fails = Callable[[FaultyStore], None]


def _hide_fails(store: FaultyStore) -> None:
    store.fail("hide", Unavailable("no network"))


def _delete_fails(store: FaultyStore) -> None:
    store.fail("delete_version", Unavailable("no network"))


@pytest.mark.parametrize(
    ("fails", "deletes", "is_open"),
    [
        (_hide_fails, False, False),
        (_hide_fails, False, True),
        (_hide_fails, True, True),
        (_delete_fails, True, False),
    ],
)
async def test_one_that_fails_changes_nothing(
    store, tmp_path, autojump_clock, fails: Fails, deletes, is_open
):
    """The file is still there, also after a crash, and its last bytes are sent."""
    async with mounted(store, tmp_path / "here", waits=False, deletes=deletes) as w:
        sending = await two_generations(w, store)
        reading = await w.open("file") if is_open else None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, lambda: w.unlink("file"))
            await trio.sleep(1)
            fails(store)
            shutil.copytree(tmp_path / "here", tmp_path / "crashed")
            sending.release.set()
        assert await w.names() == ["file"]
        assert await w.read("file") == b"newer"
        if reading is not None:
            assert await w.fs.read(reading, 0, 100) == b"newer"
            await w.close(reading)
        await w.write_back.flush()
        assert bucket(store) == {"file": b"newer"}
        await w.unlink("file")
        assert (bucket(store), await w.names()) == ({}, [])
        assert not list((tmp_path / "here" / "staging").iterdir())
    store.inner.seed(ObjectPath("bucket", "file"), b"older")
    assert await after_a_crash(store, tmp_path / "crashed") == {"file": b"newer"}


async def _fails(work: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(Unavailable):
        await work()


async def test_a_listing_meanwhile_does_not_bring_it_back(store, tmp_path, autojump_clock):
    store.inner.seed(ObjectPath("bucket", "other"), b"other")
    async with mounted(store, tmp_path, waits=False) as w:
        sending = await two_generations(w, store)
        hiding = store.hold("hide")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.unlink, "file")
            await trio.sleep(1)
            sending.release.set()
            await hiding.reached.wait()
            await trio.sleep(100)  # what was listed before has expired
            assert await w.names() == ["file", "other"]
            hiding.release.set()
        assert await w.names() == ["other"]
        await trio.sleep(100)
        assert await w.names() == ["other"]


@pytest.mark.parametrize("deletes", [False, True])
async def test_what_is_closed_meanwhile_goes_too(store, tmp_path, autojump_clock, deletes):
    """Until rm is done the name is there to be opened."""
    async with mounted(store, tmp_path, waits=False, deletes=deletes) as w:
        sending = await two_generations(w, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.unlink, "file")
            await trio.sleep(1)
            await w.write("file", b"the latest")
            sending.release.set()
        assert await w.names() == []
        await w.write_back.flush()
        assert bucket(store) == {}
        assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize("is_open", [False, True])
async def test_every_version_goes_whoever_closes_it_when(store, tmp_path, autojump_clock, is_open):
    """--unlink=delete, and the last handle is closed while rm is asking B2, or afterwards."""
    store.inner.seed(ObjectPath("bucket", "file"), b"one")
    async with mounted(store, tmp_path, waits=False, deletes=True) as w:
        reading = await w.open("file")
        hiding = store.hold("hide")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.unlink, "file")
            await hiding.reached.wait()
            if not is_open:
                await w.close(reading)
            hiding.release.set()
        if is_open:
            assert await w.fs.read(reading, 0, 100) == b"one"
            await w.close(reading)
        versions = await store.list_versions("bucket", "file")
        assert not [each for each in versions.versions if each.path == FILE and each.action is Action.UPLOAD]


FILE = ObjectPath("bucket", "file")


async def removed_before_it_is_heard(w: World, store: FaultyStore) -> None:
    """B2 hears of an upload that was cut off when it has hidden its name."""
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    sending, hiding = store.hold("put"), store.hold("hide", after=True)
    store.fail("put", Unavailable("no network"))
    await w.write("file", b"bytes")
    await sending.reached.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.unlink, "file")
        await trio.testing.wait_all_tasks_blocked()
        sending.release.set()
        await hiding.reached.wait()
        inner.seed(FILE, b"bytes")
        hiding.release.set()


@pytest.mark.parametrize("theirs", [None, "before", "after"])
async def test_what_cannot_be_removed_again_goes_when_b2_answers(
    store, tmp_path, autojump_clock, expect_warning, theirs
):
    """Unless others have written the name since."""
    expect_warning("trying again")
    expect_warning("may be back")
    store.inner.seed(FILE, b"at first")
    async with mounted(store, tmp_path, waits=False) as w:
        store.fail("hide", Unavailable("no network"), at=2, times=3)
        if theirs == "before":
            store.fail("stat", Unavailable("no network"))
        await removed_before_it_is_heard(w, store)
        assert bucket(store)["file"] == b"bytes"
        if theirs is not None:
            store.inner.seed(FILE, b"theirs")
        await trio.sleep(600)
        assert bucket(store).get("file") == (b"theirs" if theirs else None)
        asked = sum(store.calls.values())
        await trio.sleep(3600)
        assert sum(store.calls.values()) == asked, "it is done"


async def test_what_has_the_name_again_stays(store, tmp_path, autojump_clock, expect_warning):
    """Be it the same, to the time of the last change."""
    expect_warning("trying again")
    expect_warning("may be back")
    store.inner.seed(FILE, b"at first")
    async with mounted(store, tmp_path, waits=False) as w:
        store.fail("hide", Unavailable("no network"), at=2, times=3)
        await removed_before_it_is_heard(w, store)
        again = store.inner.newest("file")
        await w.write("file", b"again")
        await w.write_back.flush()
        await trio.sleep(600)
        assert bucket(store)["file"] == b"again"
        assert again.size == 5


async def test_a_version_that_can_not_be_deleted_when_nobody_reads_it_any_more(
    store, tmp_path, autojump_clock, expect_warning
):
    """The name has gone: rm is done, and the directory stays."""
    expect_warning("stays, hidden")
    store.inner.seed(ObjectPath("bucket", "d/file"), b"one")
    async with mounted(store, tmp_path, waits=False, deletes=True) as w:
        reading = await w.open("d/file")
        hiding = store.hold("hide")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.unlink, "d/file")
            await hiding.reached.wait()
            await w.close(reading)
            store.fail("delete_version", Unavailable("no network"))
            hiding.release.set()
        assert await w.names("d") == []
        assert list(bucket(store)) == ["d/.bzEmpty"]


async def test_a_placeholder_of_which_nobody_knows_goes_with_its_directory(
    store, tmp_path, autojump_clock, expect_warning
):
    """The reply to its upload was lost."""
    expect_warning("trying again")
    store.inner.seed(ObjectPath("bucket", "d/file"), b"bytes")
    async with mounted(store, tmp_path, waits=False) as w:
        node = await w.node("d")
        store.fail("put", Unavailable("the reply was lost"), after=True)
        store.fail("put", Unavailable("no network"), at=2, times=1000)
        await w.fs.setattr(node.number, AttributeChange(mode=0o700), size=None, fh=None)
        await trio.sleep(10)
        assert "d/.bzEmpty" in bucket(store)
        await w.unlink("d/file")
        await w.rmdir("d")
        assert bucket(store) == {}
        await trio.sleep(600)
        assert (bucket(store), await w.names()) == ({}, [])

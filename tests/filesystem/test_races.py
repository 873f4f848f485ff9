"""What happens to a file while something else happens to it or to the directories above it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount import errors
from b2mount.filesystem import committer
from b2mount.model import AttributeChange, ByteSource, ObjectMetadata, ObjectPath
from b2mount.writing.staged_file import StagedFile, Staging
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, World, world


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def bucket(store: FaultyStore) -> dict[str, bytes]:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    return inner.contents()


async def tree(w: World) -> None:
    """d/e/f, all of it in B2."""
    await w.mkdir("d")
    await w.mkdir("d/e")
    await w.write("d/e/f", b"f")


async def make_directory(w: World, parent: int) -> None:
    await w.fs.mkdir(parent, "new", 0o755, ME)


async def make_symlink(w: World, parent: int) -> None:
    await w.fs.symlink(parent, "new", "target", ME)


async def rename_file(w: World, parent: int) -> None:
    await w.fs.rename((parent, "f"), (parent, "new"), may_replace=True)


async def rename_directory(w: World, parent: int) -> None:
    node = await w.node("")
    d = await w.fs.lookup(node.number, "d")
    await w.fs.rename((d.number, "e"), (d.number, "new"), may_replace=True)


async def remove_the_last(w: World, parent: int) -> None:
    await w.fs.unlink(parent, "f")


async def chmod_directory(w: World, parent: int) -> None:
    await w.fs.setattr(parent, AttributeChange(mode=0o700), size=None, fh=None)


@pytest.mark.parametrize(
    ("deed", "keys"),
    [
        (make_directory, {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/f", "x/e/new/.bzEmpty"}),
        (make_symlink, {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/f", "x/e/new"}),
        (rename_file, {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/new"}),
        (rename_directory, {"x/.bzEmpty", "x/new/.bzEmpty", "x/new/f"}),
        (remove_the_last, {"x/.bzEmpty", "x/e/.bzEmpty"}),
        (chmod_directory, {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/f"}),
    ],
)
async def test_what_is_done_below_a_directory_that_is_being_renamed_lands_below_its_new_name(
    store: FaultyStore, tmp_path: Path, deed, keys: set[str]
) -> None:
    async with world(store, tmp_path) as w:
        await tree(w)
        parent = (await w.node("d/e")).number
        hold = store.hold("copy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "d", "x")
            await hold.reached.wait()
            nursery.start_soon(deed, w, parent)
            await trio.testing.wait_all_tasks_blocked(0.01)
            hold.release.set()
        assert bucket(store).keys() == keys
        here = await w.names("x/e") if deed is not rename_directory else await w.names("x/new")
    async with world(store, tmp_path / "other") as w:
        assert await w.names("") == ["x"]
        assert here == (await w.names("x/e") if deed is not rename_directory else await w.names("x/new"))


async def test_a_directory_is_not_renamed_while_its_placeholder_is_being_written(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path) as w:
        await tree(w)
        hold = store.hold("put")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chmod_directory, w, (await w.node("d/e")).number)
            await hold.reached.wait()
            nursery.start_soon(w.rename, "d", "x")
            await trio.testing.wait_all_tasks_blocked(0.01)
            hold.release.set()
        assert bucket(store).keys() == {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/f"}
        assert (await w.node("x/e")).attributes.mode == 0o700


async def test_a_flush_during_a_rename_goes_to_the_new_name(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"old")
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"new")
        hold = store.hold("copy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "a", "b")
            await hold.reached.wait()
            nursery.start_soon(w.fs.flush_path, None)
            await trio.testing.wait_all_tasks_blocked(0.01)
            hold.release.set()
        await w.close(fh)
        assert await w.read("b") == b"new"
        assert bucket(store) == {"b": b"new"}


@pytest.mark.parametrize("waits", [True, False])
async def test_a_rename_of_a_directory_that_fails_leaves_unsent_files_their_names(
    store: FaultyStore, tmp_path: Path, *, waits: bool
) -> None:
    async with world(store, tmp_path, waits=waits, delay=0 if waits else 30) as w:
        await w.mkdir("d")
        fh = await w.create("d/a")
        await w.fs.write(fh, 0, b"a")
        await w.fs.fsync(fh)
        if not waits:
            await w.write("d/b", b"b")
        store.fail("copy", errors.AccessDenied("no"), times=9)
        with pytest.raises(errors.AccessDenied):
            await w.rename("d", "x")
        if not waits:
            await w.fs.flush_path()
        else:
            await w.close(fh)
        assert await w.read("d/a") == b"a"
        assert bucket(store).keys() == {"d/.bzEmpty", "d/a", *(() if waits else ("d/b",))}
        if not waits:
            await w.close(fh)


async def test_a_rename_that_fails_leaves_synced_bytes_their_name(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"old a")
        await w.write("b", b"old b")
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"new")
        await w.fs.fsync(fh)
        store.fail("copy", errors.AccessDenied("no"))
        with pytest.raises(errors.AccessDenied):
            await w.rename("a", "b")
    async with world(store, tmp_path) as w:  # as after a crash
        await w.fs.flush_path()
        assert bucket(store) == {"a": b"new a", "b": b"old b"}


@pytest.mark.parametrize("closed", [True, False])
async def test_what_an_unsent_file_has_replaced_does_not_come_back_when_it_is_removed(
    store: FaultyStore, tmp_path: Path, autojump_clock: object, *, closed: bool
) -> None:
    async with world(store, tmp_path, waits=False, delay=30, ttl=10) as w:
        await w.write("a", b"old")
        await w.fs.flush_path()
        fh = await w.create("tmp")
        await w.fs.write(fh, 0, b"new")
        if closed:
            await w.close(fh)
        await w.rename("tmp", "a")
        await w.unlink("a")
        if not closed:
            await w.close(fh)
        assert await w.names() == []
        await trio.sleep(100)
        assert await w.names() == []
        assert bucket(store) == {}


async def test_what_an_unsent_file_has_replaced_does_not_come_back_when_it_moves_on(
    store: FaultyStore, tmp_path: Path, autojump_clock: object
) -> None:
    async with world(store, tmp_path, waits=False, delay=30, ttl=10) as w:
        await w.write("a", b"old")
        await w.fs.flush_path()
        await w.write("tmp", b"new")
        await w.rename("tmp", "a")
        await w.rename("a", "b")
        await w.fs.flush_path()
        await trio.sleep(100)
        assert await w.names() == ["b"]
        assert bucket(store) == {"b": b"new"}


async def test_one_file_that_cannot_be_sealed_keeps_no_other_from_it(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_warning
) -> None:
    expect_warning("no space")
    async with world(store, tmp_path) as w:
        for name in "abc":
            fh = await w.create(name)
            await w.fs.write(fh, 0, b"x")
        submit = w.write_back.submit
        seen = []

        async def submit_or_fail(sealed) -> None:
            seen.append(sealed.path.key)
            if len(seen) == 1:
                raise OSError(28, "no space")
            await submit(sealed)

        monkeypatch.setattr(type(w.write_back), "submit", lambda _self, sealed, **_: submit_or_fail(sealed))
        with pytest.raises(OSError, match="no space"):
            await w.fs.seal_everything()
        assert sorted(seen) == ["a", "b", "c"]


async def test_every_close_waits_for_what_was_written_before_it(store: FaultyStore, tmp_path: Path) -> None:
    hold = store.hold("put")
    async with world(store, tmp_path) as w, trio.open_nursery() as nursery:
        first, second = await w.create("a"), await w.open("a", os.O_RDWR)
        await w.fs.write(first, 0, b"aa")
        await w.fs.write(second, 2, b"bb")
        nursery.start_soon(w.fs.flush, first)
        await hold.reached.wait()
        done = trio.Event()

        async def close_second() -> None:
            await w.fs.flush(second)
            done.set()

        nursery.start_soon(close_second)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not done.is_set()
        hold.release.set()
        await done.wait()
        assert bucket(store) == {"a": b"aabb"}


@pytest.mark.parametrize("theirs", [True, False])
async def test_whoever_changed_it_between_open_and_close_is_named(
    store: FaultyStore, tmp_path: Path, expect_warning, *, theirs: bool
) -> None:
    if theirs:
        expect_warning("was changed by others while it was open here")
    async with world(store, tmp_path) as w:
        await w.write("a", b"first")
        await w.write("a", b"second")
        fh = await w.open("a", os.O_RDWR)
        if theirs:
            await store.put(ObjectPath("bucket", "a"), ByteSource(), ObjectMetadata())
        await w.fs.write(fh, 0, b"third")
        await w.close(fh)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert bucket(store) == {"a": b"thirdd"}


async def test_a_directory_that_somebody_asks_for_while_it_is_renamed_stays_what_it_is(
    store: FaultyStore, tmp_path: Path
) -> None:
    """B2 has hidden the old name already, and says so; the number and the attributes go with the new name."""
    async with world(store, tmp_path) as w:
        node = await w.mkdir("d", 0o700)
        w.namespace.looked_up(w.namespace.inode(node.number))
        hold = store.hold("hide", after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "d", "x")
            await hold.reached.wait()
            w.namespace.forget_listing(None)
            with pytest.raises(errors.NotFound):
                await w.node("d")
            hold.release.set()
        found = await w.node("x")
        assert (found.number, found.attributes.mode) == (node.number, 0o700)


async def test_nobody_is_blamed_for_our_own_renames(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"first")
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"F")
        await w.rename("a", "b")
        await w.rename("b", "a")
        await w.close(fh)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert bucket(store) == {"a": b"First"}


async def test_nobody_is_blamed_for_a_lost_reply(store: FaultyStore, tmp_path: Path, expect_warning) -> None:
    """What B2 has taken without our hearing of it is ours."""
    expect_warning("trying again")
    async with world(store, tmp_path) as w:
        await w.write("a", b"first")
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"F")
        store.fail("put", errors.Unavailable("the reply was lost"), after=True)
        await w.close(fh)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert bucket(store) == {"a": b"First"}


async def test_a_directory_that_is_listed_while_it_is_moved_is_whole_then(
    store: FaultyStore, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A listing that came when some of its names were hidden already says nothing of what has moved."""
    assert isinstance(store.inner, MemoryStore)
    for name in ("t/a/f", "t/b/f", "t/c", "t/d/e/f"):
        store.inner.seed(ObjectPath("bucket", name), b"1")
    async with world(store, tmp_path, ttl=1) as w:
        hold = store.hold("hide", at=4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.rename, "t", "u")
            await hold.reached.wait()
            await trio.sleep(2)
            assert len(await w.names("t")) < 4
            hold.release.set()
        assert await w.names("u") == ["a", "b", "c", "d"]
        assert (await w.names("u/a"), await w.names("u/d")) == (["f"], ["e"])
        assert await w.read("u/d/e/f") == b"1"


async def test_what_is_removed_while_its_bytes_are_gathered_is_not_sent(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that stands on many earlier generations gets their bytes for its own before it is sealed."""
    begun, may_go_on = trio.Event(), trio.Event()

    async def gather(_staged: StagedFile, _staging: Staging) -> None:
        begun.set()
        await may_go_on.wait()

    monkeypatch.setattr(committer, "flatten", gather)
    async with world(store, tmp_path, waits=False) as w:
        fh = await w.create("f")
        await w.fs.write(fh, 0, b"bytes")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.flush, fh)
            await begun.wait()
            await w.unlink("f")
            may_go_on.set()
        await w.fs.release(fh)
        await w.fs.flush_path()
        assert bucket(store) == {}
        assert not w.fs.pending()
        assert w.fs.open_files == 0

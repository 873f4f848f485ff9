"""Each file operation in terms of the three services, over a store in memory. No kernel."""

from __future__ import annotations

import errno
import os
from contextlib import aclosing
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount import errors
from b2mount.model import AttributeChange, ByteSource, Kind, Literal, ObjectMetadata, ObjectPath
from b2mount.writing import flattening
from b2mount.writing.journal import Journal
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, ROOT, world


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def bucket(store: FaultyStore) -> dict[str, bytes]:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    return inner.contents()


async def test_a_close_returns_when_b2_has_the_file(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await w.fs.write(fh, 0, b"hello")
        assert bucket(store) == {}
        await w.fs.flush(fh)
        assert bucket(store) == {"a": b"hello"}
        await w.fs.release(fh)
        assert await w.read("a") == b"hello"
        assert w.fs.pending() == ()


async def test_the_early_flush_of_a_shell_sends_nothing(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await w.fs.flush(fh)
        assert bucket(store) == {}
        await w.fs.write(fh, 0, b"x")
        await w.close(fh)
        assert bucket(store) == {"a": b"x"}
        assert store.calls["put"] == 1


async def test_an_empty_file_is_sent_at_its_release(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await w.close(fh)
        await w.fs.flush_path()
        assert bucket(store) == {"a": b""}


async def test_an_upload_that_fails_is_the_closes_error_and_the_bytes_stay(
    store: FaultyStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("the cap is reached")
    store.fail("put", errors.OverQuota("the cap is reached"))
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await w.fs.write(fh, 0, b"hello")
        with pytest.raises(errors.OverQuota):
            await w.fs.flush(fh)
        await w.fs.release(fh)
        assert await w.read("a") == b"hello"
        (pending,) = w.fs.pending()
        assert (pending.path, pending.state) == ("a", "failed")
        await w.fs.flush_path("a")
        assert bucket(store) == {"a": b"hello"}


async def test_what_was_unsent_is_there_after_a_restart(
    store: FaultyStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("the cap is reached")
    store.fail("put", errors.OverQuota("the cap is reached"))
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.OverQuota):
            await w.write("new", b"hello")
    async with world(store, tmp_path) as w:
        assert await w.names() == ["new"]
        assert await w.read("new") == b"hello"
        await w.fs.flush_path()
        assert bucket(store) == {"new": b"hello"}


async def test_a_write_during_an_upload_goes_up_after_it(store: FaultyStore, tmp_path: Path) -> None:
    hold = store.hold("put")
    async with world(store, tmp_path) as w, trio.open_nursery() as nursery:
        first = await w.create("a")
        await w.fs.write(first, 0, b"aaaa")
        nursery.start_soon(w.fs.flush, first)
        await hold.reached.wait()
        second = await w.open("a", os.O_RDWR)
        await w.fs.write(second, 2, b"bb")
        assert await w.fs.read(second, 0, 10) == b"aabb"
        hold.release.set()
        await w.close(second)
        assert bucket(store) == {"a": b"aabb"}
        await w.fs.release(first)
        assert await w.read("a") == b"aabb"


async def test_a_handle_reads_on_after_the_unlink(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        fh = await w.open("a", os.O_RDWR)
        await w.unlink("a")
        assert await w.names() == []
        assert bucket(store) == {}
        assert await w.fs.read(fh, 0, 10) == b"hello"
        await w.fs.write(fh, 5, b" you")
        await w.fs.fsync(fh)
        assert await w.fs.read(fh, 0, 10) == b"hello you"
        await w.close(fh)
        assert bucket(store) == {}
        assert w.fs.pending() == ()


async def test_a_file_that_was_synced_and_unlinked_is_never_sent(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("journal")
        await w.fs.write(fh, 0, b"x" * 100)
        await w.fs.fsync(fh)
        await w.unlink("journal")
        assert await w.fs.read(fh, 0, 200) == b"x" * 100
        await w.fs.write(fh, 100, b"y")
        assert await w.fs.read(fh, 99, 200) == b"xy"
        await w.close(fh)
        assert store.calls["put"] == 0
    async with world(store, tmp_path) as w:
        assert await w.names() == []


async def test_an_unlink_during_the_upload_wins(store: FaultyStore, tmp_path: Path) -> None:
    hold = store.hold("put")
    async with world(store, tmp_path, waits=False) as w, trio.open_nursery() as nursery:
        await w.write("a", b"hello")
        await hold.reached.wait()
        nursery.start_soon(w.unlink, "a")
        await trio.testing.wait_all_tasks_blocked(0.01)
        hold.release.set()
    assert bucket(store) == {}


async def test_deleting_removes_every_version(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path, deletes=True) as w:
        await w.write("a", b"1")
        await w.write("a", b"2")
        await w.write("ab", b"3")
        await w.unlink("a")
        page = await store.list_versions("bucket", "")
        assert [v.path.key for v in page.versions] == ["ab"]


async def test_deleting_waits_for_open_handles(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path, deletes=True) as w:
        await w.write("a", b"hello")
        fh = await w.open("a")
        await w.unlink("a")
        assert await w.fs.read(fh, 0, 10) == b"hello"
        await w.close(fh)
        page = await store.list_versions("bucket", "")
        assert [v.action.value for v in page.versions if v.action.value == "upload"] == []


async def test_names_follow_a_rename_with_everything_below(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        await w.mkdir("d/e")
        await w.write("d/e/f", b"1")
        await w.write("d/g", b"2")
        fh = await w.open("d/e/f")
        number = (await w.node("d/e/f")).number
        await w.rename("d", "x")
        assert await w.names() == ["x"]
        assert await w.names("x") == ["e", "g"]
        assert await w.read("x/e/f") == b"1"
        assert (await w.node("x/e/f")).number == number
        assert await w.fs.read(fh, 0, 9) == b"1"
        await w.close(fh)
        assert bucket(store).keys() == {"x/.bzEmpty", "x/e/.bzEmpty", "x/e/f", "x/g"}


async def test_a_file_open_for_writing_arrives_under_its_new_name(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("target", b"old")
        fh = await w.create("tmp")
        await w.fs.write(fh, 0, b"new")
        await w.rename("tmp", "target")
        assert await w.read("target") == b"new"
        await w.close(fh)
        assert bucket(store) == {"target": b"new"}
        assert await w.names() == ["target"]


async def test_write_rename_is_one_upload_under_the_final_name(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path, waits=False, delay=30) as w:
        await w.write(".tmp.1234", b"new")
        node = await w.node(".tmp.1234")
        await w.fs.setattr(node.number, AttributeChange(mode=0o600, modified_ns=10**18), size=None, fh=None)
        await w.rename(".tmp.1234", "final")
        await w.fs.flush_path()
        assert bucket(store) == {"final": b"new"}
        assert (store.calls["put"], store.calls["copy"]) == (1, 0)
        version = await store.stat(ObjectPath("bucket", "final"))
        assert version.info["src_last_modified_millis"] == str(10**12)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("file", "dir", errors.IsADirectory),
        ("dir", "file", errors.NotADirectory),
        ("dir", "full", errors.NotEmpty),
        ("dir", "dir/sub", errors.InvalidArgument),
        ("absent", "x", errors.NotFound),
        ("file", "x/y", errors.NotFound),
        ("file", "a\\b", errors.BadName),
    ],
)
async def test_rules_of_rename(
    store: FaultyStore, tmp_path: Path, old: str, new: str, error: type[Exception]
) -> None:
    async with world(store, tmp_path) as w:
        await w.write("file", b"f")
        await w.mkdir("dir")
        await w.mkdir("full")
        await w.write("full/one", b"1")
        with pytest.raises(error):
            await w.rename(old, new)
        assert await w.names() == ["dir", "file", "full"]


async def test_rename_over_what_is_there(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"a")
        await w.write("b", b"b")
        with pytest.raises(errors.AlreadyExists):
            await w.rename("a", "b", may_replace=False)
        old = await w.open("b")
        await w.rename("a", "b")
        assert await w.read("b") == b"a"
        assert await w.fs.read(old, 0, 5) == b"b"
        await w.close(old)
        await w.mkdir("d")
        await w.mkdir("e")
        await w.rename("d", "e")
        assert await w.names() == ["b", "e"]
        await w.rename("b", "b")
        assert await w.names() == ["b", "e"]


async def test_a_rename_that_fails_changes_nothing(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"a")
        await w.write("b", b"b")
        store.fail("copy", errors.AccessDenied("no"))
        with pytest.raises(errors.AccessDenied):
            await w.rename("a", "b")
        assert (await w.read("a"), await w.read("b")) == (b"a", b"b")
        assert bucket(store) == {"a": b"a", "b": b"b"}


async def test_a_directory_outlives_its_last_file(store: FaultyStore, tmp_path: Path) -> None:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    inner.seed(ObjectPath("bucket", "d/only"), b"x")
    async with world(store, tmp_path) as w:
        assert await w.names("d") == ["only"]
        await w.unlink("d/only")
        assert await w.names() == ["d"]
    async with world(store, tmp_path) as w:
        assert await w.names() == ["d"]
        await w.rmdir("d")
        assert await w.names() == []
    assert bucket(store) == {}


async def test_rmdir(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        await w.write("d/f", b"")
        with pytest.raises(errors.NotEmpty):
            await w.rmdir("d")
        await w.unlink("d/f")
        await w.rmdir("d")
        with pytest.raises(errors.NotFound):
            await w.node("d")


@pytest.mark.parametrize("keys", [["d/"], ["d/.bzEmpty"], ["d/", "d/.bzEmpty"]], ids=str)
async def test_rmdir_takes_every_marker_of_the_directory(
    store: FaultyStore, tmp_path: Path, keys: list[str]
) -> None:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    for key in keys:
        inner.seed(ObjectPath("bucket", key))
    async with world(store, tmp_path) as w:
        assert await w.names("d") == []
        await w.rmdir("d")
    assert bucket(store) == {}
    async with world(store, tmp_path) as w:
        assert await w.names() == []


async def test_attributes_are_a_copy_inside_b2(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        node = await w.node("a")
        change = AttributeChange(mode=0o640, uid=7, gid=8, modified_ns=1_600_000_000_123_456_789)
        await w.fs.setattr(node.number, change, size=None, fh=None)
        await w.fs.flush_path()
        assert (store.calls["put"], store.calls["copy"], store.calls["read_range"]) == (1, 1, 0)
    async with world(store, tmp_path / "other") as w:
        attributes = (await w.node("a")).attributes
        assert (attributes.mode, attributes.uid, attributes.gid) == (0o640, 7, 8)
        assert attributes.modified_ns == 1_600_000_000_123_456_789
        assert await w.read("a") == b"hello"


async def test_nothing_is_sent_for_attributes_that_are_so_already(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        node = await w.node("a")
        await w.fs.setattr(node.number, AttributeChange(mode=node.attributes.mode), size=None, fh=None)
        assert store.calls["copy"] == 0


async def test_an_access_time_alone_is_kept_here_at_no_cost(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        before = await w.node("a")
        await w.fs.setattr(before.number, AttributeChange(accessed_ns=5), size=None, fh=None)
        after = await w.node("a")
        assert after.attributes.accessed_ns == 5
        assert after.attributes.modified_ns == before.attributes.modified_ns
        assert store.calls["copy"] == 0


async def test_truncate_by_name_and_by_open(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        node = await w.node("a")
        await w.fs.setattr(node.number, AttributeChange(), size=2, fh=None)
        assert bucket(store) == {"a": b"he"}
        await w.fs.setattr(node.number, AttributeChange(), size=4, fh=None)
        assert bucket(store) == {"a": b"he\0\0"}
        fh = await w.open("a", os.O_WRONLY | os.O_TRUNC)
        await w.close(fh)
        assert bucket(store) == {"a": b""}
        with pytest.raises(errors.TooLarge):
            await w.fs.setattr(node.number, AttributeChange(), size=2**60, fh=None)


async def test_symlinks(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.fs.symlink(ROOT, "l", "some/where", ME)
    async with world(store, tmp_path / "other") as w:
        node = await w.node("l")
        assert node.attributes.kind is Kind.SYMLINK
        assert w.fs.readlink(node.number) == "some/where"
        await w.rename("l", "m")
        assert w.fs.readlink((await w.node("m")).number) == "some/where"
        await w.unlink("m")
        assert await w.names() == []


async def test_creating_what_is_there(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        with pytest.raises(errors.AlreadyExists):
            await w.create("a", flags=os.O_WRONLY | os.O_EXCL)
        fh = await w.create("a", flags=os.O_WRONLY)  # the kernel believed the name was free
        await w.fs.write(fh, 0, b"J")
        await w.close(fh)
        assert await w.read("a") == b"Jello"
        with pytest.raises(errors.AlreadyExists):
            await w.mkdir("a")


async def test_a_full_disk_is_the_writes_error(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, tmp_path) as w:
        fh = await w.create("a")
        await w.fs.write(fh, 0, b"hello")

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="no space"):
            await w.fs.write(fh, 5, b" you")
        monkeypatch.undo()
        await w.close(fh)
        assert bucket(store) == {"a": b"hello"}


async def test_set_gid_directories_pass_their_group_on(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        node = await w.mkdir("d")
        await w.fs.setattr(node.number, AttributeChange(mode=0o2775, gid=77), size=None, fh=None)
        await w.write("d/f", b"")
        sub = await w.mkdir("d/sub")
        assert (await w.node("d/f")).attributes.gid == 77
        assert (sub.attributes.gid, sub.attributes.mode & 0o2000) == (77, 0o2000)


async def test_the_url_of_a_file(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        await w.write("d/a b", b"")
        url = await w.fs.by_path.url("d/a b", None)
        assert url == store.url(ObjectPath("bucket", "d/a b"))
        assert (await w.fs.by_path.url("d/a b", 60)).startswith(url + "?Authorization=")
        with pytest.raises(errors.IsADirectory):
            await w.fs.by_path.url("d", None)


async def test_handles_are_not_mixed_up(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"x")
        fh = await w.open("a")
        with pytest.raises(errors.BadHandle):
            await w.fs.write(fh, 0, b"y")
        await w.close(fh)
        with pytest.raises(errors.BadHandle):
            await w.fs.read(fh, 0, 1)
        with pytest.raises(errors.NotADirectory):
            w.fs.opendir((await w.node("a")).number)


async def test_nothing_is_kept_of_a_file_that_b2_has(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        for number in range(20):
            await w.write(f"f{number}", b"x")
        assert w.fs._committer._contents == {}
        assert os.listdir(tmp_path / "staging") == []


@pytest.mark.parametrize("gone", [False, True], ids=["replaced", "removed"])
async def test_the_last_close_wins_over_what_others_did(
    store: FaultyStore, tmp_path: Path, autojump_clock: object, expect_warning, *, gone: bool
) -> None:
    if not gone:
        expect_warning("was changed by others while it was open here")
    async with world(store, tmp_path, ttl=10) as w:
        await w.write("a", b"first")
        path = ObjectPath("bucket", "a")
        fh = await w.open("a", os.O_RDWR)
        if gone:
            await store.hide(path)
        else:
            await store.put(path, ByteSource((Literal(b"theirs"),)), ObjectMetadata())
        await trio.sleep(100)
        assert await w.names() == ([] if gone else ["a"])
        assert await w.fs.read(fh, 0, 10) == b"first"
        await w.fs.write(fh, 0, b"F")
        await w.close(fh)
        assert bucket(store) == {"a": b"First"}
        assert await w.read("a") == b"First"


async def test_a_reading_open_that_cuts_is_a_change(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.write("a", b"hello")
        fh = await w.open("a", os.O_RDONLY | os.O_TRUNC)
        await w.close(fh)
        assert bucket(store) == {"a": b""}
        assert w.fs.pending() == ()


async def test_names_that_the_key_may_not_write_are_refused_at_once(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = attrs.evolve(store.account, prefix="pho")
    monkeypatch.setattr(FaultyStore, "account", property(lambda _self: account))
    async with world(store, tmp_path) as w:
        await w.write("photo", b"1")
        for deed in (w.create("other"), w.mkdir("ph"), w.rename("photo", "other")):
            with pytest.raises(errors.AccessDenied):
                await deed
        await w.mkdir("photos")
        await w.write("photos/other", b"2")
        assert await w.names() == ["photo", "photos"]
        assert w.fs.pending() == ()


async def test_what_a_flattened_file_stood_on_goes_after_a_close_that_failed(
    store: FaultyStore, tmp_path: Path, expect_warning, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_warning("no network")
    monkeypatch.setattr(flattening, "DEEP", 1)
    hold = store.hold("put")
    store.fail("put", errors.Unavailable("no network"))
    async with world(store, tmp_path, waits=False) as w:
        await w.write("a", b"first")
        await hold.reached.wait()
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"F")
        hold.release.set()
        with monkeypatch.context() as broken:
            broken.setattr(Journal, "append", fails)
            with pytest.raises(OSError, match="no"):
                await w.fs.flush(fh)
        await w.close(fh)
        await w.fs.flush_path()
        assert bucket(store) == {"a": b"First"}
        assert os.listdir(tmp_path / "staging") == []


async def fails(*_: object) -> None:
    raise OSError(5, "no")


async def test_nothing_is_kept_of_a_generation_that_was_superseded(
    store: FaultyStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("no network")
    hold = store.hold("put")
    store.fail("put", errors.Unavailable("no network"))
    async with world(store, tmp_path, waits=False) as w:
        await w.write("a", b"first")
        await hold.reached.wait()
        fh = await w.open("a", os.O_RDWR)
        await w.fs.write(fh, 0, b"F")
        hold.release.set()
        await w.close(fh)
        await w.fs.flush_path()
        assert bucket(store) == {"a": b"First"}
        assert w.fs._committer._contents == {}


async def test_entries_are_told_a_few_at_a_time(store: FaultyStore, tmp_path: Path) -> None:
    """A program's buffer has room for hundreds; others are answered in between."""
    steps = [0]

    class Steps(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            steps.append(0)

    inner = store.inner
    assert isinstance(inner, MemoryStore)
    for number in range(900):
        inner.seed(ObjectPath("bucket", f"{number:03}"), b"")
    async with world(store, tmp_path) as w:
        fh = w.fs.opendir(ROOT)
        trio.lowlevel.add_instrument(Steps())
        for start in (0, 2):  # what has not arrived is left for the second call
            async with aclosing(w.fs.readdir(fh, start)) as entries:
                async for _ in entries:
                    steps[-1] += 1
    assert sum(steps) == 902
    assert max(steps) <= 256

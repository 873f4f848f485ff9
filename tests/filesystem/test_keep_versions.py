"""--keep-versions: what this mount made and superseded goes, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import Stale, Unavailable
from b2mount.filesystem import copying
from b2mount.filesystem.copying import Copier, Request
from b2mount.model import Action, AttributeChange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing import own_versions, pruner
from b2mount.writing.own_versions import OwnVersions
from tests.conftest import WarningLog
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.times import CountedStore, times
from tests.filesystem.world import ME, World, world

PATH = ObjectPath("bucket", "file")


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "LOOK_AGAIN", 0.01)


async def versions(memory: MemoryStore, key: str = "file") -> list[str]:
    """What each version of a name holds, newest first; `-` for a hide marker."""
    page = await memory.list_versions("bucket", key)
    found = []
    for version in page.versions:
        data = bytes(memory._row(version.version_id).data).decode()
        found.append("-" if version.action is Action.HIDE else data)
    return found


async def others_write(memory: MemoryStore, data: bytes, key: str = "file") -> ObjectVersion:
    return await memory.put(ObjectPath("bucket", key), literal(data), ObjectMetadata())


async def settled(w: World) -> None:
    found = w.write_back.pruner
    assert found is not None
    await found.settle()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # a thread makes it true
            await trio.sleep(0.01)


async def test_as_many_as_wanted_stay(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=2) as w:
        for data in (b"1", b"2", b"3", b"4"):
            await w.write("file", data)
        await settled(w)
        assert await versions(memory) == ["4", "3"]


async def test_all_stay_unless_asked_for(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path) as w:
        for data in (b"1", b"2"):
            await w.write("file", data)
    assert await versions(memory) == ["2", "1"]
    assert not (tmp_path / "versions.sqlite3").exists()


async def test_those_of_others_stay(memory: MemoryStore, tmp_path: Path) -> None:
    await others_write(memory, b"theirs")
    async with world(memory, tmp_path, keep=1, ttl=0) as w:
        await w.write("file", b"1")
        await w.write("file", b"2")
        await settled(w)
        await others_write(memory, b"theirs too")
        await w.write("file", b"3")
        await settled(w)
        assert await versions(memory) == ["3", "theirs too", "theirs"]


async def test_attributes_and_renames_make_versions_too(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", b"1")
        await w.fs.setattr((await w.node("file")).number, AttributeChange(mode=0o600), size=None, fh=None)
        await w.write_back.flush()
        await settled(w)
        assert await versions(memory) == ["1"]
        for data in (b"2", b"3"):
            await w.write("new", data)
            await w.rename("new", "file")
        await settled(w)
        assert await versions(memory) == ["3"]
        assert await versions(memory, "new") == ["-", "3", "-"]  # the last is hidden, not superseded
        node = await w.mkdir("dir")
        for mode in (0o700, 0o711):
            await w.fs.setattr(node.number, AttributeChange(mode=mode), size=None, fh=None)
        await settled(w)
        assert len(await versions(memory, "dir/.bzEmpty")) == 1


async def test_what_was_removed_stays(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", b"1")
        await w.unlink("file")
        await settled(w)
    async with world(memory, tmp_path, keep=1) as w:
        await settled(w)
    assert await versions(memory) == ["-", "1"]


async def test_a_protected_version_is_forgotten(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", b"1")
        memory.protect(memory.newest("file"))
        await w.write("file", b"2")
        await w.write("file", b"3")
        await settled(w)
        assert await versions(memory) == ["3", "1"]


async def test_an_open_file_keeps_its_version(memory: MemoryStore, tmp_path: Path) -> None:
    data = os.urandom(50).hex().encode()
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", data)
        fh = await w.open("file")
        await w.write("new", b"2")
        await w.rename("new", "file")
        await settled(w)
        await trio.sleep(0.05)
        assert await versions(memory) == ["2", data.decode()]
        assert bytes(await w.fs.read(fh, 0, 1000)) == data
        await w.close(fh)
        await until(lambda: len(memory._bucket("bucket").rows["file"]) == 1)
        assert await versions(memory) == ["2"]


async def test_a_read_under_way_keeps_what_it_reads(memory: MemoryStore, tmp_path: Path) -> None:
    faulty = FaultyStore(memory)
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", b"first")
    async with world(faulty, tmp_path / "other", keep=1) as w:
        assert w.write_back.pruner is not None
        w.write_back.pruner.made(memory.newest("file"))
        hold, got = faulty.hold("read_range"), list[bytes]()
        fh = await w.open("file")

        async def read() -> None:
            got.append(bytes(await w.fs.read(fh, 0, 100)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await hold.reached.wait()
            await w.write("file", b"second")
            await settled(w)
            await trio.sleep(0.05)
            assert await versions(memory) == ["second", "first"]
            hold.release.set()
        assert got == [b"first"]
        await until(lambda: len(memory._bucket("bucket").rows["file"]) == 1)
        await w.close(fh)


async def test_what_is_unsent_keeps_what_it_was_made_from(memory: MemoryStore, tmp_path: Path) -> None:
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        await w.write("file", b"first")
        await w.rename("file", "other")
        await w.write("file", b"second")
        fh = await w.open("other", os.O_WRONLY)
        await w.fs.write(fh, 0, b"F")  # the rest is still that of the version
        await w.write("last", b"third")
        await w.rename("last", "other")  # the handle's file has no name any more
        await settled(w)
        await trio.sleep(0.05)
        assert await versions(memory, "other") == ["third", "first"]
        await w.close(fh)
        await until(lambda: len(memory._bucket("bucket").rows["other"]) == 1)


async def test_staged_bytes_keep_what_they_stand_on(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=1) as w:
        await w.write("file", b"first")
        fh = await w.open("file", os.O_WRONLY)
        await w.fs.write(fh, 0, b"F")
        w.namespace.inode((await w.node("file")).number).version = None  # the name has something else now
        used = [version for version in w.fs._committer.in_use() if version is not None]
        assert used == [memory.newest("file")]
        await w.close(fh)


async def test_what_an_earlier_mount_left_may_be_others(
    memory: MemoryStore, tmp_path: Path, expect_warning: WarningLog
) -> None:
    expect_warning("trying again")
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1, waits=False) as w:
        faulty.fail("put", Unavailable("no"), times=1000)
        await w.write("file", b"same")
        await until(lambda: faulty.calls["put"] > 0)
    _, _, metadata = next(call.arguments for call in faulty.log if call.verb == "put")
    assert isinstance(metadata, ObjectMetadata)
    await memory.put(PATH, literal(b"same"), metadata)  # just what would be sent, by somebody else
    async with world(memory, tmp_path, keep=1) as w:
        await w.write_back.flush()
        assert await versions(memory) == ["same"]
        await w.write("file", b"new")
        await settled(w)
    assert await versions(memory) == ["new", "same"]


async def test_what_is_gone_is_nobody_elses_change(memory: MemoryStore, tmp_path: Path) -> None:
    """No warning is logged, which would fail the test."""
    await others_write(memory, b"theirs")
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        await w.write("file", b"ours")
        look = faulty.hold("list_versions")
        fh = await w.open("file", os.O_WRONLY)
        await w.fs.write(fh, 0, b"O")
        await w.close(fh)
        await look.reached.wait()
        await settled(w)
        assert await versions(memory) == ["Ours", "theirs"]
        look.release.set()
        await trio.testing.wait_all_tasks_blocked()


async def test_the_next_mount_removes_what_was_left(memory: MemoryStore, tmp_path: Path) -> None:
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        faulty.fail("delete_version", Unavailable("no"), times=1000)
        await w.write("file", b"1")
        await w.write("file", b"2")
        await settled(w)
        assert await versions(memory) == ["2", "1"]
    async with world(memory, tmp_path, keep=1) as w:
        await settled(w)
        assert await versions(memory) == ["2"]


async def test_what_became_current_again_stays(memory: MemoryStore, tmp_path: Path) -> None:
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        faulty.fail("delete_version", Unavailable("no"), times=1000)
        await w.write("file", b"1")
        await w.write("file", b"2")
        await settled(w)
    await memory.delete_version(memory.newest("file"))  # by others, who want the older one
    async with world(memory, tmp_path, keep=1) as w:
        await settled(w)
        assert await versions(memory) == ["1"]


async def test_a_hidden_name_is_left_alone(memory: MemoryStore, tmp_path: Path) -> None:
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        faulty.fail("delete_version", Unavailable("no"), times=1000)
        await w.write("file", b"1")
        await w.write("file", b"2")
        await settled(w)
    await memory.hide(PATH)
    async with world(memory, tmp_path, keep=1) as w:
        await settled(w)
    assert await versions(memory) == ["-", "2", "1"]


async def test_only_the_latest_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: MemoryStore
) -> None:
    monkeypatch.setattr(own_versions, "MOST", 10)
    own = OwnVersions.kept_in(tmp_path / "v", ThreadLane("disk", 1))
    await own.open()
    await own.add([(await others_write(memory, b"x", key), True) for key in "abcdefghijklmn" for _ in "12"])
    assert sorted(path.key for path in await own.names_with_more(1)) == list("jklmn")
    old = await own.beyond(ObjectPath("bucket", "n"), 0)
    assert [version.uploaded_ms for version in old] == sorted(version.uploaded_ms for version in old)
    await own.close()


async def test_a_broken_file_is_begun_anew(tmp_path: Path, memory: MemoryStore) -> None:
    (tmp_path / "versions.sqlite3").write_bytes(b"this is not a database, whatever its name says" * 100)
    async with world(memory, tmp_path, keep=1) as w:
        for data in (b"1", b"2"):
            await w.write("file", data)
        await settled(w)
        assert await versions(memory) == ["2"]


async def test_what_was_restored_is_ours(tmp_path: Path) -> None:
    store = CountedStore()
    async with times(store, tmp_path, keep=2) as time:
        for data in (b"1", b"2", b"3"):
            await time.live.write("file", data)
        for _ in range(3):
            await time.restorer.restore("file")
            await settled(time.live)
        assert len(await versions(store)) == 2
        await time.rm("file")
        await time.mv(".b2/trash/file", "other")
        await time.live.write("other", b"4")
        await time.live.write("other", b"5")
        await settled(time.live)
        assert await versions(store, "other") == ["5", "4"]


def copier(w: World) -> Copier:
    fs = w.fs
    return Copier(w.namespace, w.store, fs.by_path, fs._mover, fs.gate, fs.flush_at, fs.made)


async def test_copies_are_ours(memory: MemoryStore, tmp_path: Path) -> None:
    async with world(memory, tmp_path, keep=1) as w:
        await w.mkdir("dir")
        for data in (b"1", b"2"):
            await w.write("dir/file", data)
            await copier(w).copy(Request("dir/file", "copy"), lambda status: None)
            await copier(w).copy(Request("dir", "tree", recursive=True), lambda status: None)
            assert await w.read("copy") == data
        await settled(w)
        assert (await versions(memory, "copy"), await versions(memory, "tree/dir/file")) == (["2"], ["2"])


async def test_what_is_being_copied_stays(
    memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what has to wait for its turn."""
    monkeypatch.setattr(copying, "_AT_ONCE", 1)
    faulty = FaultyStore(memory)
    async with world(faulty, tmp_path, keep=1) as w:
        for name in ("dir/1", "dir/2"):
            memory.seed(ObjectPath("bucket", name), b"old")
            await w.write(name, b"first")
        hold = faulty.hold("copy")
        async with trio.open_nursery() as nursery:
            request = Request("dir", "copy", recursive=True)
            nursery.start_soon(copier(w).copy, request, lambda status: None)
            await hold.reached.wait()
            for name in ("dir/1", "dir/2"):
                await w.write(name, b"second")
            await settled(w)
            await trio.sleep(0.05)
            assert await versions(memory, "dir/1") == ["second", "first", "old"]
            assert await versions(memory, "dir/2") == ["second", "first", "old"]
            hold.release.set()
        assert (await w.read("copy/1"), await w.read("copy/2")) == (b"first", b"first")
        await until(lambda: len(memory._bucket("bucket").rows["dir/2"]) == 2)


async def test_nobody_opens_what_is_about_to_go(tmp_path: Path) -> None:
    memory = MemoryStore()
    faulty = FaultyStore(memory)
    async with times(faulty, tmp_path, keep=1) as time:
        await time.live.write("file", b"first")
        shown = await time.live.node("file")
        time.live.fs.looked_up(shown.number)
        (name,) = await time.names(".b2/versions/file")
        old = await time.node(f".b2/versions/file/{name}")
        hold = faulty.hold("delete_version")
        await others_write(memory, b"of others")
        time.live.fs.by_path.refresh("")
        await time.live.write("file", b"second")
        await hold.reached.wait()
        for number in (shown.number, old.number):
            with pytest.raises(Stale):
                await time.areas.open(number, os.O_RDONLY, ME)
        hold.release.set()
        await settled(time.live)
        assert await time.live.read("file") == b"second"
        assert await versions(memory) == ["second", "of others"]


async def test_what_a_shell_cut_does_not_count(memory: MemoryStore, tmp_path: Path) -> None:
    """It closes a copy of the descriptor before it writes."""
    async with world(memory, tmp_path, keep=2) as w:
        for data in (b"1", b"2", b"3"):
            fh = await w.create("file", flags=os.O_WRONLY | os.O_TRUNC)
            await w.fs.flush(fh)
            await w.fs.write(fh, 0, data)
            await w.close(fh)
        await settled(w)
        assert await versions(memory) == ["3", "2"]
        fh = await w.create("file", flags=os.O_WRONLY | os.O_TRUNC)
        await w.close(fh)
        await settled(w)
        assert await versions(memory) == ["", "3", "2"]
        await w.fs.symlink(1, "link", "target", ME)
        await w.write("file", b"4")
        await settled(w)
        assert await versions(memory) == ["4", "3"]
        await w.unlink("link")
        await w.fs.symlink(1, "link", "another", ME)
        await settled(w)
        assert await versions(memory, "link") == ["", "-", ""]

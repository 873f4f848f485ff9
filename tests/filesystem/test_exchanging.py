"""Two names change places: files, directories, what is open and what is not sent yet."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount import errors
from b2mount.model import AttributeChange, Kind, ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, ROOT, World, world


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


def bucket(store: FaultyStore) -> dict[str, bytes]:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    return {key: data for key, data in inner.contents().items() if not key.endswith(".bzEmpty")}


async def exchange(w: World, one: str, other: str) -> None:
    await w.fs.exchange(await w.split(one), await w.split(other))


async def test_files(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path / "first") as w:
        await w.write("a", b"one")
        await w.mkdir("d")
        await w.write("d/b", b"other")
        first, second = await w.node("a"), await w.node("d/b")
        await exchange(w, "a", "d/b")
        assert (await w.node("a")).number == second.number
        assert (await w.node("d/b")).number == first.number
        assert (await w.read("a"), await w.read("d/b")) == (b"other", b"one")
    async with world(store, tmp_path / "second") as w:
        assert (await w.read("a"), await w.read("d/b")) == (b"other", b"one")
        assert (await w.names(), await w.names("d")) == (["a", "d"], ["b"])


async def test_directories_with_all_that_is_in_them(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path / "first") as w:
        for path in ("one", "one/sub", "other", "other/empty"):
            await w.mkdir(path)
        await w.fs.setattr((await w.node("one")).number, AttributeChange(mode=0o700), size=None, fh=None)
        for path in ("one/a", "one/sub/b", "other/a"):
            await w.write(path, path.encode())
        await exchange(w, "one", "other")
        assert (await w.names("one"), await w.names("other")) == (["a", "empty"], ["a", "sub"])
        assert await w.read("other/sub/b") == b"one/sub/b"
    async with world(store, tmp_path / "second") as w:
        assert (await w.names("one"), await w.names("other")) == (["a", "empty"], ["a", "sub"])
        assert (await w.read("one/a"), await w.read("other/a")) == (b"other/a", b"one/a")
        assert await w.names("one/empty") == []
        assert (await w.node("other")).attributes.mode == 0o700


async def test_a_file_and_a_directory(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path / "first") as w:
        await w.write("file", b"bytes")
        await w.mkdir("dir")
        await w.write("dir/a", b"a")
        await w.fs.mknod(ROOT, "pipe", Kind.FIFO, 0o600, 0, ME)
        await exchange(w, "file", "dir")
        await exchange(w, "dir", "pipe")
    async with world(store, tmp_path / "second") as w:
        assert await w.names() == ["dir", "file", "pipe"]
        assert await w.read("file/a") == b"a"
        assert await w.read("pipe") == b"bytes"
        assert (await w.node("dir")).attributes.kind is Kind.FIFO
    assert bucket(store) == {"file/a": b"a", "pipe": b"bytes", "dir": b""}


@pytest.mark.parametrize("waits", [True, False])
async def test_what_is_not_sent_yet(store: FaultyStore, tmp_path: Path, *, waits: bool) -> None:
    async with world(store, tmp_path, waits=waits, delay=0 if waits else 60) as w:
        one, other = await w.create("a"), await w.create("b")
        await w.fs.write(one, 0, b"ONE")
        await w.fs.write(other, 0, b"OTHER")
        await w.fs.fsync(other)
        await exchange(w, "a", "b")
        assert bucket(store) == {"a": b"OTHER", "b": b"ONE"}
        await w.fs.write(one, 3, b" more")
        await w.close(one)
        await w.close(other)
        await w.fs.flush_path()
        assert bucket(store) == {"a": b"OTHER", "b": b"ONE more"}
        assert await w.read("b") == b"ONE more"


async def test_an_upload_that_fails_leaves_both_names(
    store: FaultyStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("stays staged: cap")
    async with world(store, tmp_path) as w:
        await w.write("a", b"one")
        await w.write("b", b"other")
        fh = await w.open("a", os.O_WRONLY)
        await w.fs.write(fh, 0, b"ONE")
        store.fail("put", errors.OverQuota("cap"))
        with pytest.raises(errors.OverQuota):
            await exchange(w, "a", "b")
        assert (await w.read("a"), await w.read("b")) == (b"ONE", b"other")
        await exchange(w, "a", "b")
        await w.close(fh)
        assert bucket(store) == {"a": b"other", "b": b"ONE"}


async def test_who_goes_on_writing_waits_for_no_more_than_the_exchange(
    store: FaultyStore, tmp_path: Path
) -> None:
    """What is written while names change places is neither lost nor sent under the old name."""
    async with world(store, tmp_path, waits=False, delay=3600) as w:
        for name in ("d", "e"):
            await w.mkdir(name)
        await w.write("d/x", b"x")
        await w.write("d/y", b"y")
        fh = await w.open("d/x", os.O_RDWR)
        last = await w.open("d/y", os.O_RDWR)
        holds = [store.hold("put", at=number) for number in (1, 3, 4)]
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange, w, "d", "e")
                await holds[0].reached.wait()  # what was closed before is being sent
                await w.fs.write(fh, 0, b"XX")
                await w.fs.write(last, 0, b"YY")
                holds[0].release.set()
                await holds[1].reached.wait()  # and now what was written since: the names stand still
                nursery.start_soon(w.fs.write, fh, 2, b"XX")
                nursery.start_soon(w.close, last)
                await trio.testing.wait_all_tasks_blocked(0.01)
                for hold in holds[1:]:
                    hold.release.set()
            await w.close(fh)
            await w.fs.flush_path()
        assert bucket(store) == {"e/x": b"XXXX", "e/y": b"YY"}
        assert (await w.read("e/x"), await w.read("e/y")) == (b"XXXX", b"YY")


async def test_a_copy_that_fails_leaves_both_names(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        await w.write("d/a", b"one")
        await w.write("b", b"other")
        store.fail("copy", errors.OverQuota("cap"), at=2)
        with pytest.raises(errors.OverQuota):
            await exchange(w, "d", "b")
        assert (await w.read("d/a"), await w.read("b")) == (b"one", b"other")
        assert await w.names() == ["b", "d"]
        assert bucket(store) == {"d/a": b"one", "b": b"other"}


async def test_what_is_refused(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("d")
        await w.write("d/a", b"one")
        for one, other, error in (
            ("d", "d/a", errors.InvalidArgument),
            ("d/a", "d", errors.InvalidArgument),
            ("d", "nothing", errors.NotFound),
            ("nothing", "d", errors.NotFound),
        ):
            with pytest.raises(error):
                await exchange(w, one, other)
        await exchange(w, "d", "d")
        assert await w.read("d/a") == b"one"
        assert store.calls["copy"] == 0


async def test_between_buckets(tmp_path: Path) -> None:
    memory = MemoryStore("photos", "texts")
    memory.seed(ObjectPath("photos", "a/b/one"), b"1")
    memory.seed(ObjectPath("texts", "three"), b"333")
    async with world(memory, tmp_path, root=ObjectPath("", "")) as w:
        for one, other in (("photos", "texts"), ("photos/a", "texts"), ("photos", "texts/three")):
            with pytest.raises(errors.NotPermitted):
                await exchange(w, one, other)
        with pytest.raises(errors.NotPermitted):
            await w.fs.mknod(ROOT, "pipe", Kind.FIFO, 0o600, 0, ME)
        await exchange(w, "photos/a", "texts/three")
        assert (await w.names("photos"), await w.read("photos/a")) == (["a"], b"333")
        assert await w.read("texts/three/b/one") == b"1"
    assert memory.contents("photos") == {"a": b"333"}
    assert memory.contents("texts") == {"three/b/one": b"1"}


@pytest.mark.parametrize("fails", [False, True])
async def test_who_looks_meanwhile_takes_no_directory_for_another(
    store: FaultyStore, tmp_path: Path, autojump_clock: trio.testing.MockClock, *, fails: bool
) -> None:
    """B2 shows the copies under their new names before the exchange is done, or before it is taken back."""
    async with world(store, tmp_path, ttl=1) as w:
        for number, path in enumerate(("d", "d/sub", "d/one", "e", "e/sub", "e/other")):
            await w.mkdir(path)
            change = AttributeChange(mode=0o700 + number)
            await w.fs.setattr((await w.node(path)).number, change, size=None, fh=None)
        await w.fs.flush_path()
        hold = store.hold("stat" if fails else "hide")
        if fails:
            store.fail("copy", errors.OverQuota("cap"), at=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_exchange_or_not, w, "d", "e")
            await hold.reached.wait()
            await trio.sleep(2)
            for path in ("d", "e", "d/sub", "e/sub"):
                await w.names(path)
            hold.release.set()
        expected = {"d": 0, "d/sub": 1, "d/one": 2, "e": 3, "e/sub": 4, "e/other": 5}
        if not fails:
            there = {"d": "e", "e": "d"}
            expected = {there[path[0]] + path[1:]: number for path, number in expected.items()}
        for _ in range(2):
            modes = {path: (await w.node(path)).attributes.mode - 0o700 for path in expected}
            assert modes == expected
            found = [f"{path}/{name}" for path in ("d", "e") for name in await w.names(path)]
            assert sorted([*found, "d", "e"]) == sorted(expected)
            await trio.sleep(2)


async def _exchange_or_not(w: World, one: str, other: str) -> None:
    with suppress(errors.OverQuota):
        await exchange(w, one, other)

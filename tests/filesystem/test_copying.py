"""b2mount cp: copies inside B2."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import (
    AccessDenied,
    BadName,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
    StoreFailure,
)
from b2mount.filesystem.copying import _AT_ONCE, Copier, Request, Told
from b2mount.filesystem.status import WarmStatus
from b2mount.model import AttributeChange, ObjectPath
from b2mount.writing.twins import SMALLEST
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world


@attrs.define
class Place:
    """A file system and what copies in it."""

    w: World
    memory: MemoryStore
    store: FaultyStore
    heard: list[WarmStatus] = attrs.field(factory=list)

    async def copy(
        self, source: str, target: str, /, *, recursive: bool = False, into: bool = False
    ) -> tuple[WarmStatus, Told]:
        fs = self.w.fs
        copier = Copier(self.w.namespace, self.store, fs.by_path, fs._mover, fs.gate, fs.flush_at, fs.made)
        return await copier.copy(Request(source, target, recursive, into), self.heard.append)


@asynccontextmanager
async def place(
    directory: Path, *, waits: bool = True, root: ObjectPath | None = None
) -> AsyncIterator[Place]:
    memory = MemoryStore("bucket")
    store = FaultyStore(memory)
    async with world(store, directory, waits=waits, root=root, delay=0 if waits else 60) as w:
        yield Place(w, memory, store)


async def test_a_file_with_all_that_it_carries(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.w.write("a", b"data")
        change = AttributeChange(mode=0o640, modified_ns=1_234_567_890_123_456_789)
        node = await p.w.node("a")
        await p.w.fs.setattr(node.number, change, size=None, fh=None)
        puts, reads = p.store.calls["put"], p.store.calls["read_range"]
        status, _ = await p.copy("a", "b")
        assert (status.files_done, status.size_done, status.failures) == (1, 4, 0)
        assert p.memory.contents() == {"a": b"data", "b": b"data"}
        assert (p.store.calls["put"], p.store.calls["read_range"]) == (puts, reads)
        found = (await p.w.node("b")).attributes
        assert (found.mode, found.modified_ns) == (0o640, 1_234_567_890_123_456_789)
        assert await p.w.names() == ["a", "b"]


async def test_a_name_that_the_kernel_took_for_absent_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.w.write("a", b"data")
        root = await p.w.node("")
        with pytest.raises(NotFound):
            await p.w.node("b")
        p.w.fs.absent_for(root.number, "b")
        _, told = await p.copy("a", "b")
        assert "b" in told[root.number]


async def test_into_a_directory_and_a_tree(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        for name in ("tree", "tree/sub", "tree/empty", "to"):
            await p.w.mkdir(name)
        for name in ("tree/1", "tree/sub/2", "a"):
            await p.w.write(name, name.encode())
        await p.copy("a", "to")
        await p.copy("tree", "to", recursive=True)
        await p.copy("tree", "new", recursive=True)
        assert await p.w.names("to") == ["a", "tree"]
        for above in ("to/tree", "new"):
            assert await p.w.names(above) == ["1", "empty", "sub"]
            assert await p.w.read(f"{above}/sub/2") == b"tree/sub/2"
        assert p.heard[-1].files == p.heard[-1].files_done == 2  # directories are no files
        for wrong, named in ((("no", "b"), "no"), (("a", "no/b"), "no")):
            with pytest.raises(NotFound, match=f"^{named}: no such file or directory$"):
                await p.copy(*wrong)


async def test_what_is_unsent_is_copied_too(tmp_path: Path) -> None:
    async with place(tmp_path, waits=False) as p:
        await p.w.write("a", b"unsent")
        await p.w.write("b", b"older")
        assert p.memory.contents() == {}
        await p.copy("a", "b")
        assert p.memory.contents() == {"a": b"unsent", "b": b"unsent"}
        assert await p.w.read("b") == b"unsent"
        assert p.w.fs.pending() == ()


async def test_an_open_file_stays_what_it_was(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.w.write("a", b"new")
        await p.w.write("b", b"old")
        fh = await p.w.open("b")
        assert bytes(await p.w.fs.read(fh, 0, 10)) == b"old"
        await p.copy("a", "b")
        assert await p.w.read("b") == b"new"
        await p.w.close(fh)
        fh = await p.w.open("b", os.O_WRONLY)
        await p.w.fs.write(fh, 0, b"N")
        await p.w.close(fh)
        assert p.memory.contents()["b"] == b"New"


@pytest.mark.parametrize(
    ("words", "choices", "error"),
    [
        (("missing", "b"), {}, NotFound),
        (("a", "missing/b"), {}, NotFound),
        (("a", "a/b"), {}, NotADirectory),
        (("a", "b"), {"into": True}, NotADirectory),
        (("a", "a"), {}, InvalidArgument),
        (("dir", "b"), {}, IsADirectory),
        (("dir", "a"), {"recursive": True}, NotADirectory),
        (("dir", "dir/sub"), {"recursive": True}, InvalidArgument),
        (("dir", ""), {"recursive": True}, InvalidArgument),
        (("a", "other"), {}, IsADirectory),
        (("", "b"), {"recursive": True}, NotPermitted),
        (("a", "x\\y"), {}, BadName),
    ],
)
async def test_what_makes_no_sense(
    words: tuple[str, str], choices: dict[str, bool], error: type[Exception], tmp_path: Path
) -> None:
    async with place(tmp_path) as p:
        await p.w.write("a", b"data")
        for name in ("dir", "other", "other/a"):
            await p.w.mkdir(name)
        before = p.memory.contents()
        with pytest.raises(error):
            await p.copy(*words, **choices)
        assert p.memory.contents() == before


async def test_the_directory_that_it_goes_to_is_renamed(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        for name in ("dir", "to"):
            await p.w.mkdir(name)
        for number in range(3 * _AT_ONCE):
            await p.w.write(f"dir/{number}", b"data")
        hold = p.store.hold("copy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(p.copy, "dir", "to", recursive=True))
            await hold.reached.wait()
            nursery.start_soon(p.w.rename, "to", "new")
            await trio.testing.wait_all_tasks_blocked()
            hold.release.set()
        assert "to" not in await p.w.names()
        assert not [name for name in p.memory.contents() if name.startswith("to/")]
        assert len(await p.w.names("new/dir")) == 3 * _AT_ONCE


async def test_the_directory_that_it_goes_to_is_removed(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        for name in ("dir", "to"):
            await p.w.mkdir(name)
        for number in range(3 * _AT_ONCE):
            await p.w.write(f"dir/{number}", b"data")
        hold = p.store.hold("copy")
        found: list[WarmStatus] = []

        async def copy() -> None:
            found.append((await p.copy("dir", "to", recursive=True))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy)
            await hold.reached.wait()
            nursery.start_soon(p.w.rmdir, "to")
            await trio.testing.wait_all_tasks_blocked()
            hold.release.set()
        assert found[0].failed[0].reason == "the directory that it should go to is gone"


async def test_failures_are_named_and_the_rest_is_copied(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        for name in "abc":
            p.memory.seed(ObjectPath("bucket", f"dir/{name}"), b"data")
        p.store.fail("copy", StoreFailure("no"), at=2)
        status, _ = await p.copy("dir", "to", recursive=True)
        assert (status.failures, status.files_done) == (1, status.files - 1)
        (failed,) = status.failed
        assert (failed.path.partition("/")[0], failed.reason, failed.kind) == ("to", "no", "StoreFailure")


async def test_not_beside_the_prefix_of_the_key(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.w.write("a", b"data")
        p.memory._account = attrs.evolve(p.memory.account, prefix="mine/")
        with pytest.raises(AccessDenied):
            await p.copy("a", "b")


async def test_buckets_are_no_files(tmp_path: Path) -> None:
    async with place(tmp_path, root=ObjectPath("", "")) as p:
        await p.w.write("bucket/a", b"data")
        with pytest.raises(NotPermitted):
            await p.copy("bucket", "bucket2", recursive=True)
        with pytest.raises(NotPermitted):
            await p.copy("bucket/a", "b")
        await p.copy("bucket/a", "bucket/b")
        assert sorted(p.memory.contents()) == ["a", "b"]


async def test_what_was_read_is_not_sent_again(tmp_path: Path) -> None:
    """cp(1) inside the mount."""
    data = os.urandom(SMALLEST)
    async with place(tmp_path) as p:
        p.memory.seed(ObjectPath("bucket", "a"), data)
        await p.w.write("b", await p.w.read("a"))
        assert (p.store.calls["put"], p.store.calls["copy"]) == (0, 1)
        assert p.memory.contents() == {"a": data, "b": data}


async def test_what_was_listed_is_not_sent(tmp_path: Path) -> None:
    data = os.urandom(SMALLEST)
    async with place(tmp_path) as p:
        p.memory.seed(ObjectPath("bucket", "a"), data)
        await p.w.names()
        await p.w.write("b", data)
        assert (p.store.calls["put"], p.store.calls["copy"]) == (0, 1)
        assert p.memory.contents()["b"] == data

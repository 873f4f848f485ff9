"""Versions that come back: restore, undelete, and moving out of the trash; over a store in memory."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from b2mount.errors import (
    AlreadyExists,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    ReadOnly,
)
from b2mount.model import Kind, ObjectPath, ObjectVersion
from b2mount.namespace.version_lists import named
from tests.fakes.memory_store import ALL_CAPABILITIES
from tests.filesystem.times import ROOT, CountedStore, Time, times
from tests.filesystem.world import ME


@pytest.fixture
async def time(tmp_path: Path) -> AsyncIterator[Time]:
    async with times(CountedStore(), tmp_path) as made:
        yield made


async def test_a_file_comes_back_for_nothing(time: Time) -> None:
    await time.live.mkdir("a")
    await time.live.write("a/file", b"bytes")
    await time.rm("a/file")
    assert await time.names(".b2/trash/a") == ["file"]
    assert await time.read(".b2/trash/a/file") == b"bytes"
    count, _ = await time.restorer.undelete("a/file")
    assert count == 1
    assert time.store.copies == 0
    assert await time.read("a/file") == b"bytes"
    assert await time.names("a") == ["file"]
    with pytest.raises(NotFound, match="nothing of that name is deleted"):
        await time.restorer.undelete("a/file")
    with pytest.raises(NotFound):
        await time.restorer.undelete("a/never")


async def test_an_empty_directory_comes_back_and_is_no_file(time: Time) -> None:
    await time.live.mkdir("empty")
    await time.rmdir("empty")
    count, _ = await time.restorer.undelete("empty")
    assert (count, await time.names("")) == (0, ["empty"])


@pytest.mark.parametrize("way", ["command", "mv"])
async def test_a_directory_comes_back_with_all_below_it(time: Time, way: str) -> None:
    await time.live.mkdir("a")
    await time.live.mkdir("a/b")
    await time.live.mkdir("a/empty")
    for name in ("a/x", "a/b/y", "a/b/z"):
        await time.live.write(name, name.encode())
    for name in ("a/x", "a/b/y", "a/b/z"):
        await time.rm(name)
    for name in ("a/b", "a/empty", "a"):
        await time.rmdir(name)
    assert await time.names("") == []
    with pytest.raises(NotFound):
        await time.node("a")
    if way == "command":
        assert (await time.restorer.undelete("a"))[0] == 3
    else:
        await time.mv(".b2/trash/a", "a")
        assert len(time.told) == 1
    assert (await time.names("a"), await time.names("a/b"), await time.names("a/empty")) == (
        ["b", "empty", "x"],
        ["y", "z"],
        [],
    )
    assert await time.read("a/b/z") == b"a/b/z"
    assert time.store.copies == 0
    with pytest.raises(NotFound):
        await time.node(".b2/trash/a")


async def test_a_directory_that_is_there_takes_back_what_it_has_lost(time: Time) -> None:
    await time.live.mkdir("a")
    for name in ("a/x", "a/y"):
        await time.live.write(name, name.encode())
    await time.rm("a/x")
    await time.mv(".b2/trash/a", "a")
    assert await time.names("a") == ["x", "y"]


async def test_elsewhere_it_is_a_copy_and_stays_in_the_trash(time: Time) -> None:
    await time.live.mkdir("a")
    await time.live.write("a/x", b"old")
    await time.live.write("a/x", b"new")
    await time.live.write("there", b"")
    await time.rm("a/x")
    await time.mv(".b2/trash/a/x", "copy")
    await time.mv(".b2/trash/a", "b")
    assert (await time.read("copy"), await time.read("b/x")) == (b"new", b"new")
    assert await time.names(".b2/trash/a") == ["x"]
    with pytest.raises(AlreadyExists):
        await time.mv(".b2/trash/a/x", "there")
    assert await time.read("there") == b""


async def test_a_key_that_may_not_delete_copies(tmp_path: Path) -> None:
    store = CountedStore(capabilities=ALL_CAPABILITIES - {"deleteFiles"})
    async with times(store, tmp_path) as time:
        await time.live.write("file", b"bytes")
        await time.rm("file")
        await time.mv(".b2/trash/file", "file")
        assert store.copies == 1
        assert await time.read("file") == b"bytes"
        assert await time.names(".b2/trash") == []


async def test_an_old_version_becomes_current(time: Time) -> None:
    versions = []
    for number in range(3):
        await time.live.write("file", b"x" * (number + 1))
        versions.append(await time.store.stat(ObjectPath("bucket", "file")))
    fh = await time.live.open("file")
    chosen, told = await time.restorer.restore("file")
    assert chosen == versions[1]
    assert list(told) == [ROOT]
    assert await time.read("file") == b"xx"
    assert bytes(await time.live.fs.read(fh, 0, 10)) == b"xxx"  # it is pinned
    await time.live.close(fh)
    await time.restorer.restore("file", versions[0].version_id)
    assert await time.read("file") == b"x"
    await time.restorer.restore("file", None, versions[2].uploaded_ms)
    assert await time.read("file") == b"xxx"
    assert (await time.node("file")).attributes.modified_ns // 10**6 == int(
        versions[2].info["src_last_modified_millis"]
    )
    for wrong in (("file", "no such id"), ("file", None, versions[0].uploaded_ms - 1), ("never",)):
        with pytest.raises(NotFound):
            await time.restorer.restore(*wrong)
    with pytest.raises(NotFound, match=r"^file: no version of it has the id x$"):
        await time.restorer.restore("file", "x")
    newest = await time.store.stat(ObjectPath("bucket", "file"))
    with pytest.raises(InvalidArgument):
        await time.restorer.restore("file", newest.version_id)


async def test_a_restore_of_what_is_deleted(time: Time) -> None:
    await time.live.write("file", b"1")
    await time.live.write("file", b"22")
    old, new = [one.version_id for one in reversed(await time.restorer.versions("file"))]
    await time.rm("file")
    await time.restorer.restore("file")
    assert (await time.read("file"), time.store.copies) == (b"22", 0)
    await time.rm("file")
    await time.restorer.restore("file", old)
    assert (await time.read("file"), time.store.copies) == (b"1", 1)
    assert [one.action.value for one in await time.restorer.versions("file")] == [
        "upload", "hide", "upload", "upload",
    ]  # fmt: skip
    assert new in {one.version_id for one in await time.restorer.versions(".b2/trash/file")}


async def test_an_empty_version_is_passed_over(time: Time) -> None:
    """A shell cuts the file that it is about to write, and B2 has that too for a moment."""
    for data in (b"first", b"", b"second"):
        await time.live.write("file", data)
    await time.restorer.restore("file")
    assert await time.read("file") == b"first"
    await time.live.write("empty", b"")
    await time.live.write("empty", b"not any more")
    await time.restorer.restore("empty")
    assert await time.read("empty") == b""


async def test_what_is_unsent_goes_before(tmp_path: Path) -> None:
    async with times(CountedStore(), tmp_path, waits=False, delay=1000) as time:
        await time.live.write("file", b"first")
        await time.live.fs.flush_path("file")
        await time.live.write("file", b"second, unsent")
        await time.restorer.restore("file")
        assert await time.read("file") == b"first"
        assert [one.size for one in await time.restorer.versions("file")] == [5, 14, 5]


async def test_versions_of_what_has_none(time: Time) -> None:
    await time.live.mkdir("directory")
    with pytest.raises(IsADirectory):
        await time.restorer.versions("directory")
    with pytest.raises(NotFound):
        await time.restorer.versions("nothing")
    for path in ("", "/", ".b2/trash"):
        with pytest.raises(InvalidArgument):
            await time.restorer.versions(path)


async def test_each_version_has_a_name(time: Time) -> None:
    for number in range(3):
        await time.live.write("table.tar.gz", b"x" * number)
    await time.live.mkdir("a")
    await time.live.write("a/b", b"")
    await time.rm("a/b")
    assert await time.names(".b2/versions") == ["a", "table.tar.gz"]
    names = await time.names(".b2/versions/table.tar.gz")
    assert len(names) == 3
    assert all(name.endswith("Z.tar.gz") for name in names)
    for number, name in enumerate(names):
        path = f".b2/versions/table.tar.gz/{name}"
        assert await time.read(path) == b"x" * number
        assert (await time.node(path)).attributes.size == number
        assert (await time.node(path)).valid_for == 0
    assert await time.names(".b2/versions/a") == ["b"]  # hidden, and there for the tab key
    assert len(await time.names(".b2/versions/a/b")) == 1
    await time.live.write("table.tar.gz", b"one more")
    time.areas.bucket_changed()
    assert len(await time.names(".b2/versions/table.tar.gz")) == 4
    for wrong in (".b2/versions/nothing", ".b2/versions/a/c", f".b2/versions/a/b/{names[0]}"):
        with pytest.raises(NotFound):
            await time.node(wrong)


async def test_a_name_that_is_file_and_directory(time: Time) -> None:
    time.store.seed(ObjectPath("bucket", "x"), b"file")
    time.store.seed(ObjectPath("bucket", "x/y"), b"below")
    file, below = await time.names(".b2/versions/x")
    assert below == "y"
    assert await time.read(f".b2/versions/x/{file}") == b"file"


async def test_versions_in_one_millisecond_have_names_of_their_own() -> None:
    def version(number: int, moment: int) -> ObjectVersion:
        return ObjectVersion(ObjectPath("bucket", "f.txt"), f"id-{number}", number, moment)

    moments = (2000, 1000, 1000, 1000, 999)
    entries = list(named(version(number, moment) for number, moment in enumerate(moments)))
    assert [entry.name for entry in entries] == [
        "1970-01-01T00:00:02.000Z.txt",
        "1970-01-01T00:00:01.000Z-3.txt",
        "1970-01-01T00:00:01.000Z-2.txt",
        "1970-01-01T00:00:01.000Z.txt",
        "1970-01-01T00:00:00.999Z.txt",
    ]
    assert [entry.version.size for entry in entries if entry.version] == [0, 1, 2, 3, 4]


async def test_the_trash_is_emptied_for_good(time: Time) -> None:
    await time.live.mkdir("a")
    for number in range(3):
        await time.live.write("a/x", b"x" * number)
    await time.live.write("a/kept", b"")
    await time.rm("a/x")
    with pytest.raises(IsADirectory):
        await time.rm(".b2/trash/a")
    with pytest.raises(NotEmpty):
        await time.rmdir(".b2/trash/a")
    await time.rm(".b2/trash/a/x")
    await time.rmdir(".b2/trash/a")
    assert await time.names(".b2/trash") == []
    with pytest.raises(NotFound):
        await time.restorer.versions("a/x")
    assert await time.read("a/kept") == b""


async def test_what_is_protected_stays_in_the_trash(time: Time) -> None:
    await time.live.write("x", b"old")
    time.store.protect(await time.store.stat(ObjectPath("bucket", "x")))
    await time.live.write("x", b"new")
    await time.rm("x")
    with pytest.raises(NotPermitted):
        await time.rm(".b2/trash/x")
    assert await time.read(".b2/trash/x") == b"new"


async def test_an_old_version_is_deleted_for_good(time: Time) -> None:
    for number in range(4):
        await time.live.write("x.txt", b"x" * number)
    there = ".b2/versions/x.txt"
    oldest, older, old, current = await time.names(there)
    await time.rm(f"{there}/{older}")
    assert await time.names(there) == [oldest, old, current]
    assert [one.size for one in await time.restorer.versions("x.txt")] == [3, 2, 0]
    with pytest.raises(NotPermitted, match="current version"):
        await time.rm(f"{there}/{current}")
    fh = await time.areas.open((await time.node(f"{there}/{old}")).number, 0, ME)
    with pytest.raises(NotPermitted, match="is open"):
        await time.rm(f"{there}/{old}")
    await time.areas.release(fh)
    assert await time.read("x.txt") == b"xxx"
    await time.rm("x.txt")
    assert await time.names(".b2/trash") == ["x.txt"]
    for name in (current, old):
        await time.rm(f"{there}/{name}")
    assert [one.action.value for one in await time.restorer.versions("x.txt")] == ["hide", "upload"]
    await time.rm(f"{there}/{oldest}")
    with pytest.raises(NotFound):  # what hid it is gone as well
        await time.restorer.versions("x.txt")
    assert await time.names(".b2/trash") == await time.names(".b2/versions") == []


async def test_a_version_that_a_file_of_the_bucket_is_open_on_stays(time: Time) -> None:
    await time.live.write("x", b"old")
    fh = await time.areas.open((await time.node("x")).number, 0, ME)
    time.store.seed(ObjectPath("bucket", "x"), b"new, by somebody else")
    time.areas.bucket_changed()
    old, _ = await time.names(".b2/versions/x")
    with pytest.raises(NotPermitted, match="is open"):
        await time.rm(f".b2/versions/x/{old}")
    assert bytes(await time.areas.read(fh, 0, 10)) == b"old"
    await time.areas.flush(fh)
    await time.areas.release(fh)
    await time.rm(f".b2/versions/x/{old}")
    assert len(await time.names(".b2/versions/x")) == 1


async def test_a_protected_version_is_not_deleted(time: Time) -> None:
    for data in (b"oldest", b"older", b"new"):
        await time.live.write("x", data)
    oldest, older, _ = await time.names(".b2/versions/x")
    protected = (await time.restorer.versions("x"))[2]
    time.store.protect(protected)
    with pytest.raises(NotPermitted, match="is under"):
        await time.rm(f".b2/versions/x/{oldest}")
    await time.rm(f".b2/versions/x/{older}")
    assert [one.size for one in await time.restorer.versions("x")] == [3, 6]


async def test_nothing_else_changes(time: Time) -> None:
    await time.live.write("file", b"bytes")
    await time.live.write("gone", b"bytes")
    await time.rm("gone")
    (version,) = await time.names(".b2/versions/file")
    with pytest.raises(ReadOnly):
        await time.rm(".b2/at/now/file")
    with pytest.raises(IsADirectory):
        await time.rm(".b2/versions/file")
    for path in (f".b2/versions/file/{version}", ".b2/at/now/file"):
        with pytest.raises(ReadOnly):
            await time.mv(path, "elsewhere")
        with pytest.raises(ReadOnly):
            await time.mv("file", path)
    for path in (".b2/trash", ".b2/versions/file", ".b2/at/now"):
        with pytest.raises(ReadOnly):
            await time.rmdir(path)
    with pytest.raises(ReadOnly):
        await time.mv(".b2/trash/gone", ".b2/trash/other")
    with pytest.raises(ReadOnly):
        await time.areas.open((await time.node(".b2/trash/gone")).number, 1, None)  # type: ignore[arg-type]  # a stand-in
    assert await time.names("") == ["file"]


async def test_a_prefix_of_a_bucket_sees_its_own(tmp_path: Path) -> None:
    store = CountedStore()
    for key in ("p/x", "q/x"):
        store.seed(ObjectPath("bucket", key), key.encode())
        await store.hide(ObjectPath("bucket", key))
    async with times(store, tmp_path, "p/") as time:
        assert await time.names(".b2/trash") == ["x"]
        assert await time.names(".b2/versions") == ["x"]
        await time.restorer.undelete("x")
        assert await time.read("x") == b"p/x"
    assert list(store.contents()) == ["p/x"]


async def test_many_come_back_at_once(time: Time) -> None:
    for number in range(60):
        path = ObjectPath("bucket", f"d/{number}")
        time.store.seed(path, b"")
        await time.store.hide(path)
        await time.store.delete_version((await time.restorer.versions(f"d/{number}"))[0])
        await time.store.hide(path)
    with trio.fail_after(5):
        count, _ = await time.restorer.undelete("d")
    assert count == 60
    assert len(list(itertools.islice(time.store.contents(), 100))) == 60


async def test_nothing_comes_back_over_something_of_another_kind(time: Time) -> None:
    """Of a file and a directory with one name only the directory would be seen."""
    for key in ("x", "y/inside"):
        time.store.seed(ObjectPath("bucket", key), b"old")
        await time.store.hide(ObjectPath("bucket", key))
    await time.live.mkdir("x")
    await time.live.write("y", b"file")
    for path in ("x", "y"):
        with pytest.raises(AlreadyExists):
            await time.restorer.undelete(path)
        with pytest.raises(AlreadyExists):
            await time.mv(f".b2/trash/{path}", path)
    with pytest.raises(NotADirectory):
        await time.restorer.undelete("y/inside")
    with pytest.raises(IsADirectory):
        await time.restorer.restore("x")
    await time.mv(".b2/trash/x", "z")
    assert (await time.read("y"), await time.names("x"), await time.read("z")) == (b"file", [], b"old")


async def test_of_a_file_and_a_directory_in_the_trash_the_directory_comes_first(time: Time) -> None:
    for key in ("x", "x/y"):
        time.store.seed(ObjectPath("bucket", key), key.encode())
        await time.store.hide(ObjectPath("bucket", key))
    await time.restorer.undelete("x")
    assert await time.read("x/y") == b"x/y"
    assert await time.read(".b2/trash/x") == b"x"
    await time.mv(".b2/trash/x", "x/z")
    assert await time.read("x/z") == b"x"


async def test_what_came_back_before_an_error_is_seen(time: Time) -> None:
    for name in ("d/a", "d/b", "d/c"):
        time.store.seed(ObjectPath("bucket", name), b"")
        await time.store.hide(ObjectPath("bucket", name))
    with pytest.raises(NotFound):
        await time.node("d")
    marker = (await time.restorer.versions("d/b"))[0]
    time.store.protect(marker)
    with pytest.raises(NotPermitted):
        await time.restorer.undelete("d")
    assert await time.names("d") == ["a", "c"]


async def test_a_tree_of_versions_costs_a_listing_for_each_directory(time: Time) -> None:
    for number in range(30):
        for _ in range(2):
            time.store.seed(ObjectPath("bucket", f"d/{number % 3}/{number}"), b"x" * number)
    time.store.listings = 0
    left, versions = [(await time.node(".b2/versions")).number], 0
    while left:
        for _, node in await time.entries(left.pop()):
            if node.attributes.kind is Kind.DIRECTORY:
                left.append(node.number)
            else:
                versions += 1
    assert versions == 60
    assert time.store.listings <= 10
    time.store.seed(ObjectPath("bucket", "d/0/0"), b"")
    time.areas.bucket_changed()
    assert len(await time.names(".b2/versions/d/0/0")) == 3

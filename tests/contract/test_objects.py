"""ObjectStore's contract: single objects, their bytes, metadata, versions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs
import pytest
import trio

from b2mount.errors import BadName, IllegalCharacters, NotFound
from b2mount.model import (
    Action,
    ByteRange,
    ByteSource,
    FileSlice,
    Literal,
    ObjectMetadata,
    ObjectVersion,
    Zeros,
)
from tests.contract.conftest import Place

NAMES = [
    "plain",
    "with space",
    "plus+and%2Bpercent%",
    "question?and#hash&amp",
    "käse/日本語/😀",
    "a/./b/../c",
    "quote'\"<>|*:;,=@!$()[]{}~^`",
    "x" * 250,
]


@pytest.mark.parametrize("size", [0, 1, 4096, 1_000_003])
async def test_bytes_come_back(place: Place, size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))
    version = await place.put("file", data)
    assert version.size == size
    assert version.sha1 == hashlib.sha1(data).hexdigest()
    assert version.action is Action.UPLOAD
    assert await place.read(version) == data


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_kept_as_it_is(place: Place, name: str) -> None:
    version = await place.put(name, b"data")
    assert version.path == place.root.file(name)
    assert await place.store.stat(version.path) == version
    page = await place.store.list_objects(place.bucket, place.root.key)
    assert page.objects == (version,)
    assert await place.read(version) == b"data"
    await place.store.hide(version.path)
    with pytest.raises(NotFound):
        await place.store.stat(version.path)


@pytest.mark.parametrize("name", ["a\nb", "\x01", "\x7f", "y" * 1025])
async def test_a_name_that_b2_refuses(place: Place, name: str) -> None:
    with pytest.raises(BadName):
        await place.put(name)


async def test_a_name_that_is_not_unicode(place: Place) -> None:
    with pytest.raises((BadName, IllegalCharacters, UnicodeEncodeError)):
        await place.put("\udc80")


async def test_a_source_of_pieces(place: Place, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(bytes(range(256)) * 2000)
    source = ByteSource(
        (Literal(b"head"), FileSlice(str(local), 100, 300_000), Zeros(300_001), FileSlice(str(local), 0, 1))
    )
    version = await place.store.put(place.root.file("pieces"), source, ObjectMetadata())
    expected = b"head" + local.read_bytes()[100:300_100] + bytes(300_001) + b"\0"
    assert await place.read(version) == expected


async def test_a_source_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    missing = ByteSource((FileSlice(str(tmp_path / "missing"), 0, 10),))
    with pytest.raises(FileNotFoundError):
        await place.store.put(place.root.file("never"), missing, ObjectMetadata())
    (tmp_path / "short").write_bytes(b"short")
    short = ByteSource((FileSlice(str(tmp_path / "short"), 0, 10),))
    with pytest.raises(OSError, match="shorter"):
        await place.store.put(place.root.file("never"), short, ObjectMetadata())
    with pytest.raises(NotFound):
        await place.store.stat(place.root.file("never"))


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (0, 700_000), (1, 699_999), (262_144, 524_288), (699_999, 700_000), (5, 5)]
)
async def test_ranges(place: Place, start: int, stop: int) -> None:
    data = bytes(i * 13 % 255 for i in range(700_000))
    version = await place.put("ranges", data)
    assert await place.read(version, ByteRange(start, stop)) == data[start:stop]


async def test_many_readers_of_one_version(place: Place) -> None:
    data = bytes(i * 13 % 255 for i in range(300_000))
    version = await place.put("shared", data)

    async def check(number: int) -> None:
        span = ByteRange(number * 1000, 300_000 - number)
        assert await place.read(version, span) == data[span.start : span.stop]

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(check, number)


async def test_many_writers(place: Place) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(place.put, f"file{number:02}", b"%d" % number)
    page = await place.store.list_objects(place.bucket, place.root.key)
    assert [await place.read(each) for each in page.objects] == [b"%d" % n for n in range(20)]


INFO = {
    "src_last_modified_millis": "1700000000123",
    "posix": "mode=100644,uid=0,gid=0,ns=123456",
    "symlink": "../ünïcode/target with + and %41",
    "empty-ish": " ",
}


async def test_metadata_is_kept(place: Place) -> None:
    metadata = ObjectMetadata("text/x-test", INFO)
    version = await place.put("meta", b"data", metadata)
    listed = (await place.store.list_objects(place.bucket, place.root.key)).objects[0]
    for seen in (version, listed, await place.store.stat(version.path)):
        assert seen.content_type == "text/x-test"
        assert dict(seen.info) == INFO
        assert attrs.evolve(seen, info={}) == attrs.evolve(version, info={})


async def test_info_keys_are_lower_case(place: Place) -> None:
    version = await place.put("meta", b"", ObjectMetadata(info={"Color": "Red"}))
    assert dict((await place.store.stat(version.path)).info) == {"color": "Red"}


async def test_the_type_follows_the_name(place: Place) -> None:
    assert (await place.put("page.html")).content_type.startswith("text/html")
    assert (await place.put("unknown.zzz")).content_type == "application/octet-stream"


async def test_stat_and_read_of_what_is_not_there(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.store.stat(place.root.file("absent"))
    version = await place.put("gone", b"data")
    await place.store.delete_version(version)
    with pytest.raises(NotFound):
        await place.read(version)
    with pytest.raises(NotFound):
        await place.store.stat(version.path)


# -- versions ------------------------------------------------------------------------------


async def versions_of(place: Place, name: str) -> list[ObjectVersion]:
    page = await place.store.list_versions(place.bucket, place.root.key + name)
    return list(page.versions)


async def test_versions_pile_up(place: Place) -> None:
    first = await place.put("file", b"first")
    second = await place.put("file", b"second!")
    assert (await place.store.stat(first.path)).version_id == second.version_id
    assert await versions_of(place, "file") == [second, first]
    assert await place.read(first) == b"first"


async def test_hide_and_return(place: Place) -> None:
    first = await place.put("file", b"first")
    await place.store.hide(first.path)
    await place.store.hide(first.path)
    marker, below = await versions_of(place, "file")
    assert (marker.action, marker.size, below) == (Action.HIDE, 0, first)
    assert (await place.store.list_objects(place.bucket, place.root.key)).objects == ()
    assert await place.read(first) == b"first"
    await place.store.delete_version(marker)
    assert await place.store.stat(first.path) == first


async def test_a_hidden_name_is_free_again(place: Place) -> None:
    first = await place.put("file", b"first")
    await place.store.hide(first.path)
    second = await place.put("file", b"second")
    assert await place.store.stat(first.path) == second
    assert [v.action for v in await versions_of(place, "file")] == [
        Action.UPLOAD,
        Action.HIDE,
        Action.UPLOAD,
    ]


async def test_hide_of_nothing(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.store.hide(place.root.file("absent"))


async def test_deleting_the_newest_brings_the_older_back(place: Place) -> None:
    first = await place.put("file", b"first")
    second = await place.put("file", b"second")
    await place.store.delete_version(second)
    await place.store.delete_version(second)
    assert await place.store.stat(first.path) == first
    await place.store.delete_version(first)
    assert await versions_of(place, "file") == []


# -- copies --------------------------------------------------------------------------------


async def test_copy_takes_everything_along(place: Place) -> None:
    source = await place.put("source", b"bytes", ObjectMetadata("text/x-test", INFO))
    copy = await place.store.copy(source, place.root.file("target"))
    assert (copy.size, copy.content_type, dict(copy.info)) == (5, "text/x-test", INFO)
    assert copy.sha1 == source.sha1
    assert copy.action is Action.UPLOAD
    assert copy.version_id != source.version_id
    assert await place.store.stat(copy.path) == copy
    assert await place.read(copy) == b"bytes"


async def test_copy_with_other_metadata(place: Place) -> None:
    source = await place.put("file", b"bytes", ObjectMetadata("text/x-test", INFO))
    metadata = ObjectMetadata("text/x-other", {"posix": "mode=100600"})
    copy = await place.store.copy(source, source.path, metadata)
    assert (copy.content_type, dict(copy.info)) == ("text/x-other", {"posix": "mode=100600"})
    assert await versions_of(place, "file") == [copy, source]
    bare = await place.store.copy(source, source.path, ObjectMetadata("text/x-bare"))
    assert dict(bare.info) == {}


async def test_copy_of_a_hidden_version(place: Place) -> None:
    source = await place.put("file", b"old")
    await place.store.hide(source.path)
    copy = await place.store.copy(source, place.root.file("undeleted"))
    assert await place.read(copy) == b"old"


async def test_copy_of_nothing(place: Place) -> None:
    source = await place.put("file", b"bytes")
    await place.store.delete_version(source)
    with pytest.raises(NotFound):
        await place.store.copy(source, place.root.file("target"))

"""Random buckets of odd names: everything in them is either a file in the mount, or keeps a directory, or is
in `.b2/names`; nothing is in two places, nothing in none. In memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from b2mount.errors import AlreadyExists, BadName, NameTooLong, NotFound, ReadOnly
from b2mount.model import Kind, ObjectMetadata, ObjectPath
from b2mount.namespace.names import can_be_spelled
from b2mount.namespace.odd_keys import decoded, encoded
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.times import ROOT, CountedStore, Time, times
from tests.odd_names import files_shown, odd_keys, stand_for_directories


class ShortPages(CountedStore):
    """A listing in small pages, so that every border between two of them is met."""

    page_rows = 1000
    pages = 0

    async def list_objects(self, bucket, prefix, *, delimiter="", start="", limit=1000):
        self.pages += 1
        rows = min(limit, self.page_rows)
        return await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=rows)


def at(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


async def fill(store: MemoryStore, keys: list[str], chance: random.Random) -> list[str]:
    """Some of the keys are hidden, some only begun; returns those that are there."""
    shown = []
    for key in keys:
        kind = chance.random()
        if kind < 0.1:
            await store.start_multipart(at(key), ObjectMetadata())
            continue
        store.seed(at(key), key.encode())
        if kind < 0.2:
            await store.hide(at(key))
        else:
            shown.append(key)
    return shown


async def files_below(time: Time, directory: int) -> dict[str, bytes]:
    """Every file that a walk through the mount finds, by its path."""
    found: dict[str, bytes] = {}
    left = [("", directory)]
    while left:
        path, number = left.pop()
        for name, node in await time.entries(number):
            if node.attributes.kind is Kind.DIRECTORY:
                left.append((f"{path}{name}/", node.number))
            else:
                found[path + name] = await time.read_number(node.number)
    return found


@pytest.mark.parametrize(("seed", "page_rows"), [(1, 1000), (2, 7), (3, 1), (4, 1000), (5, 3)])
async def test_everything_is_somewhere_and_once(tmp_path: Path, seed: int, page_rows: int) -> None:
    chance = random.Random(seed)
    store = ShortPages()
    store.page_rows = page_rows
    keys = await fill(store, odd_keys(chance, 150, controls=False), chance)
    async with times(store, tmp_path) as time:
        files = await files_below(time, ROOT)
        assert files == {key: key.encode() for key in files_shown(keys)}
        odd = {}
        for name in await time.names(".b2/names"):
            node = await time.node(f".b2/names/{name}")
            key = (await time.areas.getxattr(node.number, b"user.b2.name")).decode()
            assert await time.read(f".b2/names/{name}") == key.encode()
            assert name not in odd
            odd[name] = key
        assert len(set(odd.values())) == len(odd)
        assert set(odd.values()) == set(keys) - set(files) - stand_for_directories(keys)
        trash = await time.node(".b2/trash")
        hidden = await files_below(time, trash.number)
        assert hidden
        assert all(data.decode() == path for path, data in hidden.items())


@pytest.fixture
async def time(tmp_path: Path) -> AsyncIterator[Time]:
    async with times(CountedStore(), tmp_path) as made:
        yield made


async def test_every_key_has_a_name_of_its_own() -> None:
    chance = random.Random(6)
    keys = odd_keys(chance, 400, controls=True)
    names = {encoded(key): key for key in keys}
    assert len(names) == len(keys)
    assert all(can_be_spelled(name) for name in names)
    assert all(decoded(name) == key for name, key in names.items() if len(name.encode()) < 230)
    assert (encoded("a//b%"), encoded(".."), encoded("x\n")) == ("a%2F%2Fb%25", "%2E.", "x%0A")


async def test_what_is_asked_for_by_its_name(time: Time) -> None:
    """Without a look at all names there are; and a file that has a path, too."""
    for key in ("a//b", "plain", "n" * 300):
        time.store.seed(at(key), key.encode())
    assert await time.read(".b2/names/a%2F%2Fb") == b"a//b"
    assert await time.read(".b2/names/plain") == b"plain"
    assert await time.read(f".b2/names/{encoded('n' * 300)}") == b"n" * 300
    for name in ("a%2f%2fb", "a", "%FF", "nothing", "\udcff", "n" * 239 + "~0123456789abcdef"[:16]):
        with pytest.raises(NotFound):
            await time.node(f".b2/names/{name}")


async def test_a_name_that_b2_would_not_take_is_too_long_unless_it_is_there(time: Time) -> None:
    """As on a disk, whose NAME_MAX is the mount's 250; an object that other software made is shown."""
    time.store.seed(at("n" * 251), b"theirs")
    assert await time.read("n" * 251) == b"theirs"
    for name in ("x" * 251, "é" * 126, "\udcff" * 255, "x" * 256):
        with pytest.raises(NameTooLong):
            await time.node(name)
    for name in ("x" * 250, "é" * 125, "\udcff" * 250):
        with pytest.raises(NotFound):
            await time.node(name)
    await time.mv("n" * 251, "n" * 250)
    with pytest.raises(NameTooLong):
        await time.node("n" * 251)


async def test_a_better_name(time: Time) -> None:
    for key in ("a//b", "x", "x/y"):
        time.store.seed(at(key), key.encode())
    assert await time.names(".b2/names") == ["a%2F%2Fb", "x"]
    await time.mv(".b2/names/a%2F%2Fb", "better")
    with pytest.raises(AlreadyExists):
        await time.mv(".b2/names/x", "better")
    with pytest.raises(BadName):
        await time.mv(".b2/names/x", "back\\slash")
    await time.mv(".b2/names/x", "x/file")
    assert await time.names(".b2/names") == []
    assert (await time.read("better"), await time.read("x/file")) == (b"a//b", b"x")
    assert sorted(time.store.contents()) == ["better", "x/file", "x/y"]


class Repeating(ShortPages):
    """A listing that says everything twice."""

    async def list_objects(self, bucket, prefix, *, delimiter="", start="", limit=1000):
        page = await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)
        return attrs.evolve(page, objects=[one for one in page.objects for _ in range(2)])


async def test_what_a_listing_repeats_is_there_once(tmp_path: Path) -> None:
    store = Repeating()
    for key in ("a", "a/b", "x//y"):
        store.seed(at(key), b"")
    async with times(store, tmp_path) as time:
        assert sorted(await time.names(".b2/names")) == ["a", "x%2F%2Fy"]


async def test_names_come_page_by_page(tmp_path: Path) -> None:
    """And what is removed or moved away costs no second look at all of them."""
    store = ShortPages()
    store.page_rows = 10
    for number in range(100):
        store.seed(at(f"{number:02}//"))
    async with times(store, tmp_path) as time:
        names = await time.node(".b2/names")
        fh, store.pages = time.areas.opendir(names.number), 0
        found: list[str] = []
        while len(found) < 5:
            found += [name async for _, name, _ in time.areas.readdir(fh, len(found))]
        assert (len(found), store.pages) == (12, 1)  # `.` and `..` too
        time.areas.releasedir(fh)
        assert len(await time.names(".b2/names")) == 100
        assert store.pages == 10
        for number in range(50):
            await time.rm(f".b2/names/{number:02}%2F%2F")
        await time.mv(".b2/names/60%2F%2F", "better")
        asked = store.pages
        assert len(await time.names(".b2/names")) == 49
        assert store.pages == asked


@pytest.mark.parametrize("deletes", [False, True])
async def test_an_odd_name_is_removed_as_others_are(tmp_path: Path, deletes: bool) -> None:
    store = CountedStore()
    store.seed(at("a//b"))
    async with times(store, tmp_path, deletes=deletes) as time:
        assert await time.names(".b2/names") == ["a%2F%2Fb"]
        await time.rm(".b2/names/a%2F%2Fb")
        assert await time.names(".b2/names") == []
        page = await store.list_versions("bucket", "")
        assert [version.action.value for version in page.versions] == ([] if deletes else ["hide", "upload"])
        with pytest.raises(NotFound):
            await time.rm(".b2/names/a%2F%2Fb")


async def test_nothing_is_put_there(time: Time) -> None:
    time.store.seed(at("a//b"))
    await time.live.write("file", b"")
    with pytest.raises(ReadOnly):
        await time.mv("file", ".b2/names/file")
    with pytest.raises(ReadOnly):
        await time.mv(".b2/names/a%2F%2Fb", ".b2/names/c")
    with pytest.raises(ReadOnly):
        await time.mv(".b2/names/a%2F%2Fb", ".b2/trash/c")
    with pytest.raises(ReadOnly):
        await time.rmdir(".b2/names")


async def test_below_a_prefix(tmp_path: Path) -> None:
    store = CountedStore()
    for key in ("p//b", "q//b", "p/good", "p/", "p/.bzEmpty", "p/.b2/x", "p/d/.b2"):
        store.seed(at(key), key.encode())
    async with times(store, tmp_path, "p/") as time:
        assert await time.names("") == ["d", "good"]
        assert await time.names("d") == [".b2"]
        assert time.areas.shadowed == 1
        assert await time.names(".b2/names") == ["%2Fb", ".b2%2Fx"]
        assert await time.read(".b2/names/.b2%2Fx") == b"p/.b2/x"

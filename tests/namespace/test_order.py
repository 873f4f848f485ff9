from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.model import Entry, Kind, ObjectVersion
from b2mount.namespace.directory_cache import DirectoryCache
from b2mount.namespace.lifetime import Lifetime
from b2mount.namespace.listing import Level, Listing
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.order import WalkOrder
from b2mount.namespace.overlay import Overlay
from tests.namespace.world import TTL, WatchedStore, listed, names_of, path


def following(names: Namespace, key: str, *, deep: bool = False) -> list[str]:
    return [found.key for found, _ in names.order.following(path(key), deep=deep)]


async def list_all(names: Namespace, *directories: str) -> None:
    for directory in directories:
        inode = names.root
        for name in directory.split("/"):
            inode = await names.lookup(inode, name) if name else inode
        await listed(names, inode)


TREE = ["a", "b/1", "b/2", "b/deep/x", "c", "d/3", "e"]


@pytest.fixture
async def store() -> WatchedStore:
    store = WatchedStore()
    for key in TREE:
        store.add(key, b"bytes")
    return store


async def test_without_a_listing_nothing_is_known_and_nothing_is_asked(store: WatchedStore) -> None:
    names = names_of(store)
    assert following(names, "a") == following(names, "a", deep=True) == []
    assert len(store.calls) == 0


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("", ["a", "c", "e"]),
        ("a", ["c", "e"]),
        ("aa", ["c", "e"]),
        ("c", ["e"]),
        ("e", []),
        ("b/", ["b/1", "b/2"]),
        ("b/1", ["b/2"]),
        ("d/3", []),
    ],
)
async def test_in_one_directory(store: WatchedStore, after: str, expected: list[str]) -> None:
    names = names_of(store)
    await list_all(names, "", "b", "d")
    before = len(store.calls)
    assert following(names, after) == expected
    assert len(store.calls) == before


def known(*directories: str, cursor: str | None = None) -> WalkOrder:
    """An order that knows these directories of TREE, all with the same rest to come."""
    cache = DirectoryCache(1000)
    for directory in directories:
        rows: dict[str, Entry] = {}
        for key in TREE:
            if key.startswith(directory):
                name, slash, _ = key.removeprefix(directory).partition("/")
                version = None if slash else ObjectVersion(path(key), f"4_z{key}", 5, 1)
                rows[name] = Entry(name, Kind.DIRECTORY if slash else Kind.FILE, version)
        listing = Listing(expires=trio.current_time() + 60)
        listing.absorb(Level(tuple(rows.values()), None, None, (), cursor))
        cache.put(path(directory), listing)
    return WalkOrder(cache, Overlay(Lifetime(60)))


@pytest.mark.parametrize(
    ("directories", "after", "expected"),
    [
        (["", "b/", "b/deep/", "d/"], "a", ["b/1", "b/2", "b/deep/x", "c", "d/3", "e"]),
        (["", "b/", "b/deep/", "d/"], "b/2", ["b/deep/x", "c", "d/3", "e"]),
        (["", "b/", "b/deep/", "d/"], "b/deep/x", ["c", "d/3", "e"]),
        (["", "b/", "b/deep/"], "b/1", ["b/2", "b/deep/x", "c"]),
        (["", "b/"], "a", ["b/1", "b/2"]),
        (["b/", "b/deep/"], "b/1", ["b/2", "b/deep/x"]),
        ([""], "a", []),
        ([""], "c", []),
        ([""], "d/3", []),
    ],
)
async def test_through_directories_as_far_as_they_are_known(
    directories: list[str], after: str, expected: list[str]
) -> None:
    order = known(*directories)
    assert [found.key for found, _ in order.following(path(after), deep=True)] == expected


async def test_the_beginning_of_a_listing_is_enough_to_begin_with() -> None:
    order = known("", "b/", "b/deep/", cursor="d/")
    assert [found.key for found, _ in order.following(path(""), deep=False)] == ["a", "c"]
    assert [found.key for found, _ in order.following(path(""), deep=True)] == ["a", "b/1", "b/2"]


async def test_only_files_with_bytes_in_them() -> None:
    store = WatchedStore()
    store.add("a", b"1")
    store.add("empty")
    store.add("link", b"", **{"b2mount-target": "a"})
    store.add("z", b"1")
    names = names_of(store)
    await list_all(names, "")
    assert following(names, "a") == ["z"]


async def test_a_file_and_a_directory_around_one_name() -> None:
    """`a-1` sorts before the directory `a`, whose keys begin with `a/`."""
    store = WatchedStore()
    for key in ("a-1", "a/x", "a0"):
        store.add(key, b"1")
    names = names_of(store)
    await list_all(names, "", "a")
    assert following(names, "", deep=True) == ["a-1", "a/x", "a0"]
    assert following(names, "a-1", deep=True) == ["a/x", "a0"]
    assert following(names, "a/x", deep=True) == ["a0"]


async def test_what_this_mount_did_is_heeded(store: WatchedStore) -> None:
    names = names_of(store)
    await list_all(names, "")
    inode = await names.lookup(names.root, "c")
    names.removed(inode)
    assert following(names, "a") == ["e"]
    changed = await names.lookup(names.root, "e")
    names.published(changed, changed.attributes)
    assert changed.kind is Kind.FILE
    assert following(names, "a") == []
    newer = store.add("e", b"newer")
    names.adopted(path("e"), newer)
    assert [version for _, version in names.order.following(path("a"), deep=False)] == [newer]


async def test_an_old_listing_tells_nothing(
    store: WatchedStore, autojump_clock: trio.testing.MockClock
) -> None:
    names = names_of(store)
    await list_all(names, "")
    await trio.sleep(TTL + 1)
    assert following(names, "a") == []

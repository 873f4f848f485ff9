"""How many pages a walk, a listing and scattered questions cost."""

from __future__ import annotations

import random

import pytest
import trio

from b2mount.errors import NotFound
from b2mount.model import Kind
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from tests.namespace.world import WatchedStore, names_of


async def listed(names: Namespace, directory: Inode) -> list[Inode]:
    stream = names.children(directory)
    found: list[Inode] = []
    while (inode := await stream.get(len(found))) is not None:
        found.append(inode)
    return found


async def walk(names: Namespace, directory: Inode) -> list[str]:
    """As find does: a directory wholly, then each that is in it."""
    found: list[str] = []
    for inode in await listed(names, directory):
        found.append(inode.path.key)
        if inode.kind is Kind.DIRECTORY:
            found += await walk(names, inode)
    return found


def bucket(directories: int, files: int, store: WatchedStore | None = None, above: str = "") -> WatchedStore:
    store = store or WatchedStore()
    for number in range(directories):
        for file in range(files):
            store.add(f"{above}dir{number:04}/file{file:03}")
    return store


async def test_a_walk_over_small_directories_reads_each_row_once() -> None:
    store = bucket(500, 10)
    found = await walk(names_of(store), names_of(store).root)
    assert len(found) == 5500
    assert len(store.calls) <= 7


async def test_the_same_walk_again_asks_nothing() -> None:
    store = bucket(500, 10)
    names = names_of(store)
    await walk(names, names.root)
    store.calls.seen.clear()
    assert len(await walk(names, names.root)) == 5500
    assert len(store.calls) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_scattered_questions_in_a_small_tree_read_it_all(seed: int) -> None:
    store, dice = bucket(500, 10, above="tree/"), random.Random(seed)
    names = names_of(store)
    for _ in range(100):
        tree = await names.lookup(names.root, "tree")
        directory = await names.lookup(tree, f"dir{dice.randrange(500):04}")
        await names.lookup(directory, f"file{dice.randrange(10):03}")
    assert len(store.calls) <= 8


async def test_listing_a_big_directory_asks_for_its_rows_once() -> None:
    store = WatchedStore()
    for number in range(5000):
        store.add(f"file{number:05}")
    names = names_of(store)
    assert len(await listed(names, names.root)) == 5000
    assert len(store.calls) == 5


async def test_what_is_far_below_is_passed_over() -> None:
    store = bucket(1, 3000)
    store.add("zzz")
    names = names_of(store)
    assert [inode.path.key for inode in await listed(names, names.root)] == ["dir0000/", "zzz"]
    assert len(store.calls) == 2


async def test_a_walk_over_many_directories_goes_on_in_flat_pages() -> None:
    store = bucket(2500, 8)
    names = names_of(store)
    assert len(await walk(names, names.root)) == 2500 * 9
    rows = 20
    assert len(store.calls) <= rows + 2500 // 1000 + 3


async def test_a_walk_through_a_deep_tree() -> None:
    store = WatchedStore()
    for one in range(15):
        bucket(15, 15, store, f"{one:02}/")
    names = names_of(store)
    assert len(await walk(names, names.root)) == 15 + 15 * 15 + 15 * 15 * 15
    assert len(store.calls) <= 4 + 3


async def test_directories_in_turn_are_a_walk_also_in_the_middle() -> None:
    store = bucket(2000, 10)
    names = names_of(store)
    directories = await listed(names, names.root)
    for _ in range(9):  # nobody's patience is left for what lies between
        await listed(names, directories[150])
    store.calls.seen.clear()
    for directory in directories[1500:1600]:
        assert len(await listed(names, directory)) == 10
    assert len(store.calls) <= 4


async def test_far_directories_are_asked_for_by_themselves() -> None:
    store = bucket(3000, 100)
    names = names_of(store)
    directories = await listed(names, names.root)
    store.calls.seen.clear()
    for number in (2900, 1700, 2300, 500):
        assert len(await listed(names, directories[number])) == 100
    assert len(store.calls) == 4


async def test_a_name_that_is_not_there_costs_a_page_at_most() -> None:
    store = bucket(500, 10)
    names = names_of(store)
    for name in ("dir0450x", "nothing", "dir0250/"[:-1] + "!"):
        with pytest.raises(NotFound):
            await names.lookup(names.root, name)
    assert len(store.calls) <= 2


async def test_walkers_share_pages() -> None:
    store = bucket(300, 10)
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(walk, names, names.root)
    assert len(store.calls) <= 6

"""Files that are just what is listed: any number of them may be known to the kernel, they keep their
numbers, and they become inodes of their own as soon as anything else is true of them."""

from __future__ import annotations

import gc
import tracemalloc

import attrs
import pytest
from trio.testing import MockClock as Clock

from b2mount.errors import NotFound
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from tests.namespace.world import TTL, WatchedStore, inodes_in, names_of, path

MANY = 300


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore()
    for number in range(MANY):
        store.add(f"d/{number:04}", posix="mode=100640,uid=5,gid=6", src_last_modified_millis="7000")
    return store


@pytest.fixture
async def names(store: WatchedStore, clock: Clock) -> Namespace:
    return names_of(store)


async def told(names: Namespace) -> dict[str, int]:
    """The kernel is told of all that is in the directory, and nobody here holds any of it."""
    d = await names.lookup(names.root, "d")
    names.looked_up(d)
    numbers = {}
    for inode in await inodes_in(names, d):
        names.looked_up(inode)
        numbers[inode.path.name] = inode.number
    return numbers


def held(names: Namespace) -> list[Inode]:
    gc.collect()
    return list(names._inodes)


async def test_what_the_kernel_knows_is_made_when_it_is_asked_for(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    assert len(held(names)) == 2
    assert len(names._inodes) == 2 + MANY
    assert len(set(numbers.values())) == MANY
    for name, number in numbers.items():
        inode = names.inode(number)
        assert (inode.path, inode.number, inode.lookups) == (path(f"d/{name}"), number, 1)
        assert (inode.attributes.mode, inode.attributes.modified_ns) == (0o640, 7_000_000_000)
        assert names.inode(number) is inode
        assert 0 < names.valid_for(inode) <= TTL
    del inode
    assert len(held(names)) == 2


async def test_it_costs_little(names: Namespace, store: WatchedStore, clock: Clock) -> None:
    many = 20_000
    for number in range(many):
        store.add(f"crowd/file-{number:08}", posix="mode=100640,uid=5,gid=6,ns=5")
    crowd = await names.lookup(names.root, "crowd")
    tracemalloc.start()
    for inode in await inodes_in(names, crowd):
        names.looked_up(inode)
    del inode
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 260 * many


async def test_numbers_outlive_listings(names: Namespace, store: WatchedStore, clock: Clock) -> None:
    numbers = await told(names)
    names.forget_listing(None)
    assert all(names.valid_for(names.inode(number)) == 0 for number in numbers.values())
    clock.jump(TTL + 1)
    store.add("d/0007", b"new")
    await store.remove("d/0008")
    old, gone = numbers.pop("0007"), numbers.pop("0008")
    again = await told(names)
    changed = again.pop("0007")
    assert again == numbers
    assert changed not in (*numbers.values(), old, gone)
    assert names.inode(old).removed
    assert names.inode(old).attributes.size == 0
    assert names.inode(changed).attributes.size == 3
    d = await names.lookup(names.root, "d")
    with pytest.raises(NotFound):
        await names.lookup(d, "0008")
    assert names.inode(gone).removed
    assert all(names.inode(number).lookups == 2 for number in numbers.values())


async def test_what_the_kernel_has_forgotten_gets_another_number(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    for name in ("0001", "0002"):
        names.forget(numbers[name], 1)
    d = await names.lookup(names.root, "d")
    one = await names.lookup(d, "0001")
    assert one.number not in numbers.values()
    assert (await names.lookup(d, "0001")) is one
    for number in numbers.values():
        names.forget(number, 1)
        with pytest.raises(NotFound):
            names.inode(number)
    assert len(names._inodes) == len(held(names))
    again = await told(names)
    assert again["0001"] == one.number
    assert not set(again.values()) & set(numbers.values())
    for number in numbers.values():
        with pytest.raises(NotFound):
            names.inode(number)


async def test_who_has_lost_the_name_keeps_the_number(names: Namespace, clock: Clock) -> None:
    d = await names.lookup(names.root, "d")
    inode = await names.lookup(d, "0003")
    names._inodes.detach(inode)
    other = await names.lookup(d, "0003")
    assert other.number != inode.number
    assert names.inode(inode.number) is inode


async def test_who_holds_one_that_the_kernel_forgets_keeps_it(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    inode = names.inode(numbers["0003"])
    for number in numbers.values():
        names.forget(number, 1)
    d = await names.lookup(names.root, "d")
    assert (await names.lookup(d, "0003")) is inode
    await told(names)
    assert (await names.lookup(d, "0003")) is inode
    assert names.inode(inode.number) is inode
    assert inode.lookups == 1


async def test_a_change_stays_when_nobody_holds_it(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    inode = names.inode(numbers["0003"])
    inode.attributes = attrs.evolve(inode.attributes, accessed_ns=77)
    del inode
    gc.collect()
    assert names.inode(numbers["0003"]).attributes.accessed_ns == 77
    d = await names.lookup(names.root, "d")
    assert (await names.lookup(d, "0003")).number == numbers["0003"]
    names.forget(numbers["0003"], 1)
    with pytest.raises(NotFound):
        names.inode(numbers["0003"])
    assert (await names.lookup(d, "0003")).number not in numbers.values()


async def test_a_directory_takes_along_what_the_kernel_knows_in_it(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    d = await names.lookup(names.root, "d")
    names.moved(d, names.root, "e")
    for name, number in numbers.items():
        assert names.inode(number).path == path(f"e/{name}")
    assert {inode.path.name: inode.number for inode in await inodes_in(names, d)} == numbers


async def test_it_takes_it_along_when_nobody_else_needs_the_listing(names: Namespace, clock: Clock) -> None:
    """With the last row that the kernel knows goes all that was listed."""
    numbers = await told(names)
    d = await names.lookup(names.root, "d")
    names.forget_listing(None)
    held(names)
    names.moved(d, names.root, "e")
    assert all(names.inode(number).path == path(f"e/{name}") for name, number in numbers.items())


async def test_a_file_that_is_moved_or_removed_is_no_row_any_more(names: Namespace, clock: Clock) -> None:
    numbers = await told(names)
    d = await names.lookup(names.root, "d")
    names.moved(names.inode(numbers["0001"]), names.root, "x")
    names.removed(names.inode(numbers["0002"]))
    assert names.inode(numbers["0001"]).path == path("x")
    assert names.inode(numbers["0002"]).removed
    left = {inode.path.name: inode.number for inode in await inodes_in(names, d)}
    assert left == {name: number for name, number in numbers.items() if name not in ("0001", "0002")}


async def test_a_place_in_a_listing_may_be_read_again(names: Namespace, clock: Clock) -> None:
    d = await names.lookup(names.root, "d")
    stream = names.children(d)
    first = {}
    for position in range(MANY):
        inode = await stream.get(position)
        assert inode is not None
        names.looked_up(inode)
        first[position] = inode.number
    assert await stream.get(MANY) is None
    names.removed(names.inode(first[10]))
    for position in reversed(range(MANY)):
        inode = await stream.get(position)
        assert inode is not None
        assert inode.removed if position == 10 else inode.number == first[position]

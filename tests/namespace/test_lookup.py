"""Lookups: what they find, what they cost, and for how long it holds."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from b2mount.errors import NameTooLong, NotADirectory, NotFound, Unavailable
from b2mount.model import Kind
from b2mount.namespace.inode import Inode
from tests.namespace.world import TTL, WatchedStore, inodes_in, listed, names_of, path

Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


async def test_one_request_answers_for_a_whole_small_directory(store: WatchedStore, clock: Clock) -> None:
    for key in ("a", "b/c", "d"):
        store.add(key, b"123")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    b = await names.lookup(names.root, "b")
    with pytest.raises(NotFound):
        await names.lookup(names.root, "nothing")
    assert (a.kind, a.attributes.size, a.path) == (Kind.FILE, 3, path("a"))
    assert (b.kind, b.path) == (Kind.DIRECTORY, path("b/"))
    assert await listed(names, names.root) == ["a", "b", "d"]
    assert len(store.calls) == 1


async def test_dots_and_refusals(store: WatchedStore, clock: Clock) -> None:
    store.add("top/a/b")
    names = names_of(store, root="top/")
    a = await names.lookup(names.root, "a")
    b = await names.lookup(a, "b")
    assert await names.lookup(a, ".") is a
    assert await names.lookup(a, "..") is names.root
    assert await names.lookup(names.root, "..") is names.root
    with pytest.raises(NotADirectory):
        await names.lookup(b, "x")
    with pytest.raises(NameTooLong):
        await names.lookup(a, "x" * 256)
    calls = len(store.calls)
    for name in (".bzEmpty", "\udcff", "a\0b"):
        with pytest.raises(NotFound):
            await names.lookup(a, name)
    assert len(store.calls) == calls


async def test_a_big_directory_is_asked_for_single_names(store: WatchedStore, clock: Clock) -> None:
    for number in range(2500):
        store.add(f"d/{number:04}")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    store.calls.seen.clear()
    assert (await names.lookup(d, "2000")).path == path("d/2000")
    assert store.calls.seen == [("d/2000", "")], "the root's page told of the first thousand"
    await names.lookup(d, "2000")
    await names.lookup(d, "0123")  # was on the page
    for _ in range(2):
        with pytest.raises(NotFound):
            await names.lookup(d, "2000x")
    assert len(store.calls) == 2


async def test_that_a_directory_is_big_is_remembered_longer_than_its_names(
    store: WatchedStore, clock: Clock
) -> None:
    for number in range(1100):
        store.add(f"d/{number:04}")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    await names.lookup(d, "1050")
    clock.jump(TTL)
    store.calls.seen.clear()
    await names.lookup(d, "1050")
    assert store.calls.seen == [("d/1050", "")]


async def test_names_hold_for_their_time_and_no_longer(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    assert names.valid_for(a) == TTL
    assert names.valid_for(names.root) == TTL
    assert names.absent_for(names.root, "b") == TTL
    clock.jump(TTL - 10)
    store.add("b")
    await store.remove("a")
    assert names.valid_for(a) == pytest.approx(10)
    assert names.absent_for(names.root, "b") == pytest.approx(10)
    assert names.absent_for(names.root, "a") == 0
    assert await names.lookup(names.root, "a") is a
    clock.jump(11)
    assert names.valid_for(a) == 0
    assert names.absent_for(names.root, "b") == 0
    assert (await names.lookup(names.root, "b")).path == path("b")
    with pytest.raises(NotFound):
        await names.lookup(names.root, "a")
    assert a.removed


async def test_without_a_time_to_live_every_look_asks(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store, ttl=0)
    a = await names.lookup(names.root, "a")
    assert names.valid_for(a) == 0
    await store.remove("a")
    with pytest.raises(NotFound):
        await names.lookup(names.root, "a")
    assert await listed(names, names.root) == []


async def test_the_same_version_is_the_same_inode_another_one_is_not(
    store: WatchedStore, clock: Clock
) -> None:
    store.add("a", b"one")
    store.add("d/x")
    names = names_of(store)
    a, d = await names.lookup(names.root, "a"), await names.lookup(names.root, "d")
    clock.jump(TTL + 1)
    assert await names.lookup(names.root, "a") is a
    store.add("a", b"three")
    clock.jump(TTL + 1)
    other = await names.lookup(names.root, "a")
    assert a.removed
    assert other.number != a.number
    assert (other.attributes.size, a.attributes.size) == (5, 3)
    assert await names.lookup(names.root, "d") is d


async def test_many_callers_share_a_request_and_survive_a_cancelled_one(
    store: WatchedStore, clock: Clock
) -> None:
    store.add("a")
    names = names_of(store)
    store.gate = trio.Event()
    found: list[Inode] = []
    first = trio.CancelScope()

    async def look(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await names.lookup(names.root, "a"))

    async with trio.open_nursery() as nursery:
        for scope in (first, trio.CancelScope(), trio.CancelScope(), trio.CancelScope()):
            nursery.start_soon(look, scope)
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.calls) == 1
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        store.gate.set()
    assert len(found) >= 3
    assert len({inode.number for inode in found}) == 1
    assert len(store.calls) <= 2


async def test_trouble_is_raised_and_not_remembered(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)

    def fail(_prefix: str, _start: str) -> None:
        raise Unavailable("no network")

    store.before_page = fail
    for _ in range(2):
        with pytest.raises(Unavailable):
            await names.lookup(names.root, "a")
    store.before_page = None
    assert (await names.lookup(names.root, "a")).path == path("a")


async def test_refresh_asks_again(store: WatchedStore, clock: Clock) -> None:
    store.add("d/a")
    store.add("e/a")
    names = names_of(store)
    d, e = await names.lookup(names.root, "d"), await names.lookup(names.root, "e")
    a, other = await names.lookup(d, "a"), await names.lookup(e, "a")
    for key in ("d/a", "e/a"):
        await store.remove(key)
    names.forget_listing(path("d/"))
    assert (names.valid_for(a), names.valid_for(other)) == (0, TTL)
    with pytest.raises(NotFound):
        await names.lookup(d, "a")
    assert await names.lookup(e, "a") is other
    names.forget_listing(path("e/a"))
    with pytest.raises(NotFound):
        await names.lookup(e, "a")
    store.add("f")
    names.forget_listing(None)
    assert (await names.lookup(names.root, "f")).path == path("f")


async def test_a_refresh_while_a_listing_is_under_way_is_not_undone(
    store: WatchedStore, clock: Clock
) -> None:
    store.add("a")
    names = names_of(store)
    store.gate = trio.Event()

    async def look() -> None:
        await names.lookup(names.root, "a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await trio.testing.wait_all_tasks_blocked()
        store.add("b")
        names.forget_listing(None)
        store.gate.set()
    assert (await names.lookup(names.root, "b")).path == path("b")


async def test_directories_know_their_attributes_from_the_listing_above(
    store: WatchedStore, clock: Clock
) -> None:
    store.add("d/.bzEmpty", posix="mode=40700,uid=5,gid=6", src_last_modified_millis="7000")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    assert await names.is_empty(d)
    assert (d.attributes.mode, d.attributes.uid, d.attributes.modified_ns) == (0o700, 5, 7_000_000_000)
    assert d.version is not None
    assert d.version.path == path("d/.bzEmpty")
    number = d.number
    del d
    gc.collect()
    again = await names.lookup(names.root, "d")
    assert again.number != number
    assert again.attributes.mode == 0o700  # its listing is still known


async def test_an_s3_marker_makes_a_directory(store: WatchedStore, clock: Clock) -> None:
    store.add("d/")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    assert await listed(names, d) == []
    assert d.version is not None
    assert d.version.path.key == "d/"
    assert not names.needs_placeholder(d)


async def test_odd_names_are_counted_and_break_nothing(store: WatchedStore, clock: Clock) -> None:
    for key in ("a", "a/b", "d//x", "d/./x", "d/..", "/x", "d/ok", "d/" + "y" * 256):
        store.add(key)
    names = names_of(store)
    assert await listed(names, names.root) == ["a", "d"]
    a, d = await inodes_in(names, names.root)
    assert a.kind is Kind.DIRECTORY
    assert await names.lookup(names.root, "a") is a
    assert await listed(names, d) == ["ok"]
    assert names.odd_names == 6
    names.forget_listing(None)
    await listed(names, d)
    assert names.odd_names == 6


async def test_memory_is_bounded_over_many_ttls(store: WatchedStore, clock: Clock) -> None:
    for number in range(50):
        store.add(f"d{number}/a")
    names = names_of(store, max_names=60)
    for _ in range(20):
        for directory in await inodes_in(names, names.root):
            await listed(names, directory)
            assert names._cache.names <= 60
        clock.jump(TTL + 1)
    del directory
    gc.collect()
    assert len(names._inodes) == 1
    assert len(names._overlay) == 0


async def test_a_listing_beyond_the_bound_is_served_and_not_kept(store: WatchedStore, clock: Clock) -> None:
    for number in range(20):
        store.add(f"{number:02}")
    names = names_of(store, max_names=10)
    assert len(await listed(names, names.root)) == 20
    assert names._cache.names == 0
    assert (await names.lookup(names.root, "07")).path == path("07")


async def test_what_the_kernel_forgets_is_gone_what_it_knows_stays(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    names.looked_up(a, 2)
    number = a.number
    del a
    gc.collect()
    names.forget(number, 1)
    a = await names.lookup(names.root, "a")
    assert (a.number, names.inode(number)) == (number, a)
    names.forget(number, 1)
    del a
    gc.collect()
    with pytest.raises(NotFound):
        names.inode(number)
    assert (await names.lookup(names.root, "a")).number > number

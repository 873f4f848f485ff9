"""Listings stream, lose and double nothing, and end only at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from b2mount.errors import NotADirectory, NotFound, Unavailable
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import ChildStream, Namespace
from tests.namespace.world import TTL, WatchedStore, a_directory, a_file, inodes_in, listed, names_of, path

Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


def filled(count: int, page_rows: int = 1000, prefix: str = "") -> WatchedStore:
    store = WatchedStore(page_rows)
    for number in range(count):
        store.add(f"{prefix}{number:05}")
    return store


def failing(after: int) -> Callable[[str, str], None]:
    left = [after]

    def check(_prefix: str, _start: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Unavailable("no network")

    return check


async def rest(stream: ChildStream, position: int) -> list[str]:
    found = []
    while (inode := await stream.get(position)) is not None:
        position += 1
        if not inode.removed:
            found.append(inode.path.name)
    return found


async def test_the_first_entries_are_out_before_the_last_page_is_in(clock: Clock) -> None:
    store = filled(50_000)
    names = names_of(store)
    stream = names.children(names.root)
    first = await stream.get(0)
    assert first is not None
    assert first.path == path("00000")
    assert len(store.calls) == 1
    assert stream.ready(900)
    assert not stream.ready(1000)
    assert await stream.get(1500) is not None
    assert len(store.calls) == 2


async def test_the_next_page_is_fetched_ahead_while_one_is_read(clock: Clock) -> None:
    store = filled(3500)
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        await trio.testing.wait_all_tasks_blocked()
        stream = names.children(names.root)
        await stream.get(0)
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.calls) == 2
        await stream.get(500)
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.calls) == 2  # one page ahead, not two
        assert stream.ready(1500)
        await stream.get(1500)
        await trio.testing.wait_all_tasks_blocked()
        assert len(store.calls) == 3
        assert len(await rest(stream, 0)) == 3500
        assert len(store.calls) == 4
        nursery.cancel_scope.cancel()


async def test_a_page_ahead_that_fails_is_asked_for_again_by_the_reader(clock: Clock) -> None:
    store = filled(2500)
    names = names_of(store)
    store.before_page = failing(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        await trio.testing.wait_all_tasks_blocked()
        stream = names.children(names.root)
        assert await stream.get(999) is not None
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable):
            await stream.get(1000)
        store.before_page = None
        assert len(await rest(stream, 0)) == 2500
        nursery.cancel_scope.cancel()


async def test_a_failing_page_is_an_error_and_never_a_short_list(clock: Clock) -> None:
    store = filled(2500)
    names = names_of(store)
    store.before_page = failing(2)
    stream = names.children(names.root)
    assert await stream.get(1999) is not None
    for _ in range(2):
        with pytest.raises(Unavailable):
            await stream.get(2000)
    with pytest.raises(Unavailable):
        await listed(names, names.root)
    store.before_page = None
    assert len(await rest(stream, 0)) == 2500


async def test_a_listing_that_was_read_to_its_end_is_known(clock: Clock) -> None:
    store = filled(2500)
    names = names_of(store)
    inodes = await inodes_in(names, names.root)
    assert len(store.calls) == 3
    assert await names.lookup(names.root, "01234") is inodes[1234]
    with pytest.raises(NotFound):
        await names.lookup(names.root, "01234x")
    assert await inodes_in(names, names.root) == inodes
    assert len(store.calls) == 3
    assert names.valid_for(inodes[2400]) == TTL


async def test_two_readers_share_the_pages(clock: Clock) -> None:
    store = filled(2500)
    names = names_of(store)
    counts: list[int] = []

    async def read() -> None:
        counts.append(len(await listed(names, names.root)))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(read)
    assert counts == [2500] * 4
    assert len(store.calls) == 3


async def test_a_listing_goes_on_where_a_lookup_began(clock: Clock) -> None:
    store = filled(1500)
    names = names_of(store)
    await names.lookup(names.root, "00001")
    assert len(await listed(names, names.root)) == 1500
    assert len(store.calls) == 2


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("lag", [False, True])
async def test_scandir_and_unlink_leave_nothing(known: bool, lag: bool, clock: Clock) -> None:
    store = filled(3000, prefix="d/")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    if known:
        await listed(names, d)
    stream = names.children(d)
    position = 0
    while (inode := await stream.get(position)) is not None:
        if not lag:
            await store.remove(inode.path.key)
        names.removed(inode)
        position += 1
    assert position == 3000
    assert await listed(names, d) == []
    assert await names.is_empty(d)
    assert names.needs_placeholder(d)
    assert await names.lookup(names.root, "d") is d


async def test_local_entries_come_in_order_and_once(clock: Clock) -> None:
    store = filled(30, page_rows=10)
    names = names_of(store)
    local = {
        name: names.created(names.root, name, a_file(1), None) for name in ("00004x", "00025x", "zz", "!")
    }
    names.created(names.root, "00007x", a_directory(), None)
    everything = await listed(names, names.root)
    expected = sorted([*(f"{n:05}" for n in range(30)), *local, "00007x"])
    assert everything == expected
    assert await listed(names, names.root) == expected  # now from what is known
    store.add("00004x", b"1")
    names.adopted(path("00004x"), store.add("00004x", b"1"))
    names.forget_listing(None)
    assert await listed(names, names.root) == expected


async def test_what_comes_and_goes_while_one_reads_disturbs_nobody_else(clock: Clock) -> None:
    store = filled(25, page_rows=10)
    names = names_of(store)
    stream = names.children(names.root)
    inodes = [await stream.get(n) for n in range(12)]
    gone = inodes[3]
    assert gone is not None
    await store.remove("00003")
    names.removed(gone)
    await store.remove("00015")
    names.removed(await names.lookup(names.root, "00015"))
    names.created(names.root, "00016x", a_file(), None)
    moved = inodes[5]
    assert moved is not None
    await store.remove("00005")
    names.moved(moved, names.root, "moved")
    names.adopted(path("moved"), store.add("moved"))
    again = [await stream.get(n) for n in range(12)]
    assert [n for n, inode in enumerate(again) if inode is None or inode.removed] == [3, 5]
    after = await rest(stream, 12)
    assert set(after) - {"00016x", "moved"} == {f"{n:05}" for n in range(12, 25)} - {"00015"}
    assert len(after) == len(set(after))


async def test_the_last_position_goes_to_the_next_when_its_entry_goes(clock: Clock) -> None:
    store = filled(3)
    names = names_of(store)
    stream = names.children(names.root)
    inode = await stream.get(0)
    assert inode is not None
    names.removed(inode)
    second = await stream.get(0)
    assert second is not None
    assert second.path.name == "00001"
    assert await rest(stream, 1) == ["00002"]


async def test_a_slow_reader_outlives_the_time_to_live(clock: Clock) -> None:
    store = filled(30, page_rows=10)
    names = names_of(store)
    local = names.created(names.root, "00012x", a_file(), None)
    names.adopted(path("00012x"), store.add("00012x"))
    stream = names.children(names.root)
    found: list[Inode] = []
    while (inode := await stream.get(len(found))) is not None:
        found.append(inode)
        clock.jump(TTL / 3)
    assert [one.path.name for one in found] == sorted([*(f"{n:05}" for n in range(30)), "00012x"])
    assert local in found
    calls = len(store.calls)
    await names.lookup(names.root, "00001")
    assert len(store.calls) == calls + 1  # what he read is too old to be known


async def test_the_directory_moves_while_it_is_read(clock: Clock) -> None:
    store = filled(25, page_rows=10, prefix="old/")
    names = names_of(store)
    old = await names.lookup(names.root, "old")
    stream = names.children(old)
    first = [await stream.get(n) for n in range(5)]
    await move(store, names, old, "new")
    assert [inode.path.key for inode in first if inode] == [f"new/{n:05}" for n in range(5)]
    assert await rest(stream, 0) == [f"{n:05}" for n in range(25)]


async def test_the_directory_moves_while_a_page_is_on_its_way(clock: Clock) -> None:
    store = filled(25, page_rows=10, prefix="old/")
    names = names_of(store)
    old = await names.lookup(names.root, "old")
    store.gate = trio.Event()
    found: list[str] = []

    async def read() -> None:
        found.extend(await listed(names, old))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        gate, store.gate = store.gate, None
        await move(store, names, old, "new")
        gate.set()
    assert found == [f"{n:05}" for n in range(25)]
    assert names._cache.listing(path("old/")) is None


async def move(store: WatchedStore, names: Namespace, directory: Inode, name: str) -> None:
    """What the file system does for a rename at the top."""
    versions = []
    for version in await names.subtree(directory):
        target = version.path.moved(directory.path, path(name + "/"))
        versions.append(await store.copy(version, target))
        await store.hide(version.path)
    names.moved(directory, names.root, name)
    for version in versions:
        names.adopted(version.path, version)


async def test_only_directories_that_are_there_can_be_read(clock: Clock) -> None:
    store = filled(1)
    names = names_of(store)
    file = await names.lookup(names.root, "00000")
    with pytest.raises(NotADirectory):
        names.children(file)
    d = names.created(names.root, "d", a_directory(), None)
    names.removed(d)
    with pytest.raises(NotFound):
        names.children(d)

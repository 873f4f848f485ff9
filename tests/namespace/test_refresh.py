"""What was asked of B2 before a refresh is not believed after it, however late the answer comes."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.errors import NotFound
from b2mount.model import ObjectPath
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from tests.namespace.world import TTL, WatchedStore, listed, names_of, path

Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


async def found(names: Namespace, directory: Inode, name: str) -> bool:
    try:
        await names.lookup(directory, name)
    except NotFound:
        return False
    return True


class Late:
    """A lookup whose page has been read in B2, and arrives when it is let go."""

    def __init__(self, store: WatchedStore, names: Namespace, directory: Inode, name: str) -> None:
        self.answers: list[bool] = []
        self._gate = trio.Event()
        self._what = names, directory, name
        self._store = store

    async def begin(self, nursery: trio.Nursery) -> None:
        self._store.gate = self._gate
        nursery.start_soon(self._look)
        await trio.testing.wait_all_tasks_blocked()
        self._store.gate = None

    async def _look(self) -> None:
        self.answers.append(await found(*self._what))

    async def arrive(self) -> None:
        self._gate.set()
        await trio.testing.wait_all_tasks_blocked()


async def test_a_late_listing(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)
    late = Late(store, names, names.root, "a")
    async with trio.open_nursery() as nursery:
        await late.begin(nursery)
        await store.remove("a")
        store.add("b")
        names.forget_listing(None)
        assert not await found(names, names.root, "a")
        assert await found(names, names.root, "b")
        calls = len(store.calls)
        await late.arrive()
    assert late.answers == [False]
    assert not await found(names, names.root, "a")
    assert await listed(names, names.root) == ["b"]
    assert len(store.calls) == calls, "what came after the refresh is known"


async def test_a_late_page_that_tells_of_directories_below(store: WatchedStore, clock: Clock) -> None:
    for key in ("d/a", "e/a"):
        store.add(key)
    names = names_of(store)
    late = Late(store, names, names.root, "d")
    async with trio.open_nursery() as nursery:
        await late.begin(nursery)
        await store.remove("d/a")
        store.add("d/b")
        names.forget_listing(path("d/"))
        await late.arrive()
    d = await names.lookup(names.root, "d")
    assert await listed(names, d) == ["b"]
    assert not await found(names, d, "a")


@pytest.mark.parametrize("forgotten", [None, path("d/"), path("d/2000"), path("d/2000/")])
async def test_a_late_answer_about_one_name(
    store: WatchedStore, clock: Clock, forgotten: ObjectPath | None
) -> None:
    for number in range(2500):
        store.add(f"d/{number:04}")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    late = Late(store, names, d, "2000")
    async with trio.open_nursery() as nursery:
        await late.begin(nursery)
        await store.remove("d/2000")
        names.forget_listing(forgotten)
        with trio.fail_after(1):  # without the one that is late
            assert not await found(names, d, "2000")
        await late.arrive()
    assert late.answers == [False]
    assert not await found(names, d, "2000")
    assert names.absent_for(d, "2000") == TTL


async def test_a_late_listing_does_not_undo_what_this_mount_did(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    await trio.sleep(2 * TTL)
    late = Late(store, names, names.root, "b")
    async with trio.open_nursery() as nursery:
        await late.begin(nursery)
        await store.remove("a")
        names.removed(a)
        names.forget_listing(None)  # so nothing here knows of the removal any more
        await late.arrive()
    assert not await found(names, names.root, "a")
    assert await listed(names, names.root) == []


@pytest.mark.parametrize("max_names", [10, 100_000])
async def test_a_reading_from_before_tells_nothing_that_may_be_kept(
    store: WatchedStore, clock: Clock, max_names: int
) -> None:
    """Even where the listing is too long to be kept: its reader has it."""
    for number in range(50):
        store.add(f"{number:02}")
    names = names_of(store, max_names=max_names)
    stream = names.children(names.root)
    first = await stream.get(0)
    assert first is not None
    assert names.valid_for(first) == TTL
    names.forget_listing(None)
    assert names.valid_for(first) == 0
    for position in range(1, 50):
        inode = await stream.get(position)
        assert inode is not None
        assert names.valid_for(inode) == 0
    again = await names.lookup(names.root, "07")
    assert names.valid_for(again) == TTL


async def test_what_the_kernel_was_told_of(store: WatchedStore, clock: Clock) -> None:
    for key in ("a", "d/a", "d/e/a", "d/e/b", "d/ea", "f/a"):
        store.add(key)
    names = names_of(store)
    told: dict[str, Inode] = {}
    for key in ("a", "d", "d/a", "d/e", "d/e/a", "f", "f/a"):
        head, _, name = key.rpartition("/")
        told[key] = await names.lookup(told.get(head, names.root), name)
        names.looked_up(told[key])
    root, d, e, f = names.root.number, told["d"].number, told["d/e"].number, told["f"].number

    def below(key: str) -> dict[int, set[str]]:
        return {number: set(them) for number, them in names.told(path(key)).items() if them}

    assert below("") == {root: {"a", "d", "f"}, d: {"a", "e"}, e: {"a"}, f: {"a"}}
    assert below("d/") == {root: {"d"}, d: {"a", "e"}, e: {"a"}}
    assert below("d/e/") == {d: {"e"}, e: {"a"}}
    assert below("d/e/a/") == {e: {"a"}}
    assert below("d/ea/") == {}
    names.forget(told["d/e/a"].number, 1)
    assert below("d/e/") == {d: {"e"}}


@pytest.mark.parametrize("given", ["d/a", "d/a/"])
async def test_a_file_is_meant_however_its_path_is_given(
    store: WatchedStore, clock: Clock, given: str
) -> None:
    """Whoever asks for a refresh need not know what is there."""
    store.add("d/a")
    store.add("d/b")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    a, b = await names.lookup(d, "a"), await names.lookup(d, "b")
    names.forget_listing(path(given))
    assert (names.valid_for(a), names.valid_for(b)) == (0, TTL)

"""While calls are saved names are believed longer, and nothing is asked that nobody waits for."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.model import Attributes, Kind
from b2mount.namespace.lifetime import LONG, LONGER, Lifetime
from tests.namespace.world import TTL, WatchedStore, listed, names_of

Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


async def test_lifetimes(clock: Clock) -> None:
    lifetime = Lifetime(5)
    assert (lifetime.ttl, lifetime.longest) == (5, 5)
    lifetime.economize(True)
    assert (lifetime.ttl, lifetime.longest) == (LONG, LONG)
    await trio.sleep(1000)
    lifetime.economize(False)
    lifetime.economize(False)
    assert (lifetime.ttl, lifetime.longest) == (5, LONG)
    await trio.sleep(LONG - 10)
    assert lifetime.longest == pytest.approx(10)
    await trio.sleep(10)
    assert lifetime.longest == 5
    lifetime = Lifetime(3600)
    lifetime.economize(True)
    assert lifetime.ttl == LONGER * 3600


async def test_what_is_asked_from_now_on_is_believed_longer(store: WatchedStore, clock: Clock) -> None:
    store.add("a")
    names = names_of(store)
    names.lifetime.economize(True)
    assert await listed(names, names.root) == ["a"]
    inode = await names.lookup(names.root, "a")
    assert names.valid_for(inode) > LONG - 1
    asked = len(store.calls)
    await trio.sleep(LONG - 1)
    assert await listed(names, names.root) == ["a"]
    await names.lookup(names.root, "a")
    assert len(store.calls) == asked
    await trio.sleep(2)
    store.add("b")
    assert await listed(names, names.root) == ["a", "b"]


async def test_what_this_mount_does_outlives_every_older_listing(store: WatchedStore, clock: Clock) -> None:
    """A listing from the time of saving is believed beyond the end of it, and must not bring back
    what was removed since."""
    store.add("a")
    store.add("b")
    names = names_of(store)
    names.lifetime.economize(True)
    assert await listed(names, names.root) == ["a", "b"]
    names.lifetime.economize(False)
    await trio.sleep(1)
    inode = await names.lookup(names.root, "a")
    await store.remove("a")
    names.removed(inode)
    for _ in range(int(LONG / TTL) + 2):
        await trio.sleep(TTL - 1)
        assert await listed(names, names.root) == ["b"]


async def test_refresh_ends_the_belief(store: WatchedStore, clock: Clock) -> None:
    names = names_of(store)
    names.lifetime.economize(True)
    assert await listed(names, names.root) == []
    store.add("a")
    names.forget_listing(None)
    assert await listed(names, names.root) == ["a"]


async def test_a_new_directory_is_believed_in_as_long(store: WatchedStore, clock: Clock) -> None:
    names = names_of(store)
    names.lifetime.economize(True)
    version = store.add("d/.bzEmpty")
    made = names.created(names.root, "d", Attributes(Kind.DIRECTORY, 0, 0o755, 0, 0, 0, 0, 0), version)
    await trio.sleep(LONG - 1)
    assert await listed(names, made) == []
    assert len(store.calls) == 0


async def test_no_page_is_asked_for_ahead(store: WatchedStore, clock: Clock) -> None:
    for number in range(500):
        store.add(f"f{number:04}")
    store.page_rows = 100
    first = {}
    for saves in (False, True):
        names = names_of(store)
        names.lifetime.economize(saves)
        before = len(store.calls)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(names.run)
            await trio.testing.wait_all_tasks_blocked()
            stream = names.children(names.root)
            await stream.get(0)
            await trio.testing.wait_all_tasks_blocked()
            first[saves] = len(store.calls) - before
            nursery.cancel_scope.cancel()
    assert first == {False: 2, True: 1}


async def test_no_more_rows_are_asked_for_than_one_call_costs(store: WatchedStore, clock: Clock) -> None:
    """Who has read far is given ten thousand names at once otherwise, and may want none of them."""
    for number in range(6000):
        store.add(f"f{number:04}")
    store.page_rows = 10_000
    asked = {}
    for saves in (False, True):
        names = names_of(store)
        names.lifetime.economize(saves)
        before = len(store.calls)
        assert len(await listed(names, names.root)) == 6000
        asked[saves] = len(store.calls) - before
    assert asked[True] == 6
    assert asked[False] < 6

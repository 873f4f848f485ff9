"""What this mount did is seen at once, stays, and gives way to what others do afterwards."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import NotFound
from b2mount.model import Kind, ObjectPath
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import info_of
from b2mount.store.interface import ObjectPage
from tests.namespace.world import TTL, WatchedStore, a_directory, a_file, listed, names_of, path

Clock = trio.testing.MockClock


@pytest.fixture
def clock(autojump_clock: Clock) -> Clock:
    return autojump_clock


class LaggingStore(WatchedStore):
    """Shows what it showed when `lag` was called, until `catch_up`."""

    frozen: WatchedStore | None = None

    def lag(self) -> None:
        self.frozen = WatchedStore()
        for key in self.contents():
            row = self._buckets["bucket"].current(key)
            assert row is not None
            self.frozen._add(row)

    def catch_up(self) -> None:
        self.frozen = None

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        if self.frozen is None:
            return await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)
        return await self.frozen.list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)


@pytest.fixture
def store() -> LaggingStore:
    return LaggingStore()


async def gone(names: Namespace, directory: Inode, name: str) -> bool:
    try:
        await names.lookup(directory, name)
    except NotFound:
        return True
    return False


async def test_a_new_file_is_there_before_b2_knows_it(store: LaggingStore, clock: Clock) -> None:
    names = names_of(store)
    assert await gone(names, names.root, "a")
    a = names.created(names.root, "a", a_file(3), None)
    assert names.valid_for(a) == TTL
    for _ in range(3):
        clock.jump(TTL + 1)
        assert await names.lookup(names.root, "a") is a
        assert await listed(names, names.root) == ["a"]
    version = store.add("a", b"123", **info_of(a.attributes, {}))
    names.adopted(path("a"), version)
    for _ in range(3):
        assert await names.lookup(names.root, "a") is a
        assert await listed(names, names.root) == ["a"]
        clock.jump(TTL + 1)
    assert a.version == version
    assert a.attributes == a_file(3)
    assert len(names._overlay) == 0


@pytest.mark.parametrize("refresh", [False, True])
async def test_a_lagging_listing_undoes_nothing(store: LaggingStore, refresh: bool, clock: Clock) -> None:
    first = store.add("changed", b"1")
    store.add("removed")
    names = names_of(store, ttl=TTL if refresh else 0.5)
    changed = await names.lookup(names.root, "changed")
    removed = await names.lookup(names.root, "removed")
    store.lag()
    created = names.created(names.root, "created", a_file(), None)
    names.adopted(path("created"), store.add("created"))
    names.published(changed, a_file(2))
    second = store.add("changed", b"22")
    names.adopted(path("changed"), second)
    await store.remove("removed")
    names.removed(removed)
    if not refresh:
        clock.jump(0.4)
    for name, inode in (("created", created), ("changed", changed)):
        assert await names.lookup(names.root, name) is inode
    assert changed.version == second != first
    assert await gone(names, names.root, "removed")
    assert await listed(names, names.root) == ["changed", "created"]
    store.catch_up()
    clock.jump(TTL + 1)
    assert await listed(names, names.root) == ["changed", "created"]


async def test_a_listing_from_before_a_change_does_not_undo_it(store: LaggingStore, clock: Clock) -> None:
    store.add("d/removed")
    store.add("d/kept")
    names = names_of(store)
    d = await names.lookup(names.root, "d")
    clock.jump(TTL + 1)
    store.gate = trio.Event()
    found: list[str] = []

    async def read() -> None:
        found.extend(await listed(names, d))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await store.remove("d/removed")
        created = names.created(d, "created", a_file(), None)
        names.adopted(path("d/created"), store.add("d/created"))
        removed = names._inodes.add(path("d/removed"), a_file(), None)
        names.removed(removed)
        clock.jump(TTL * 3)  # the answer takes longer than anything is kept
        store.gate.set()
    assert "removed" not in found
    assert await gone(names, d, "removed")
    assert await names.lookup(d, "created") is created
    assert sorted(await listed(names, d)) == ["created", "kept"]


async def test_what_others_do_afterwards_wins(store: LaggingStore, clock: Clock) -> None:
    names = names_of(store)
    a = names.created(names.root, "a", a_file(1), None)
    names.adopted(path("a"), store.add("a", b"1"))
    b = names.created(names.root, "b", a_file(1), None)
    names.adopted(path("b"), store.add("b", b"1"))
    await store.remove("b")
    names.removed(b)
    theirs = [store.add("a", b"22"), store.add("b", b"333")]
    names._cache.forget(None)  # so that the next listing is a new question, well within the guard
    assert await listed(names, names.root) == ["a", "b"]
    seen = [await names.lookup(names.root, name) for name in ("a", "b")]
    assert [inode.version for inode in seen] == theirs
    assert a.removed
    await store.remove("a")
    clock.jump(TTL + 1)
    assert await gone(names, names.root, "a")


async def test_a_removed_inode_lives_on_for_its_handles(store: LaggingStore, clock: Clock) -> None:
    store.add("a", b"123")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    names.looked_up(a)
    await store.remove("a")
    names.removed(a)
    assert a.removed
    assert names.inode(a.number) is a
    assert names.valid_for(a) == 0
    assert names.absent_for(names.root, "a") == TTL
    names.published(a, a_file(9))
    assert a.attributes.size == 9
    assert await gone(names, names.root, "a")
    again = names.created(names.root, "a", a_file(), None)
    assert again.number != a.number
    names.removed(a)  # said twice: the new one is not meant
    assert await names.lookup(names.root, "a") is again


async def test_a_directory_exists_until_it_is_removed(store: LaggingStore, clock: Clock) -> None:
    store.add("top/d/only")
    names = names_of(store)
    top = await names.lookup(names.root, "top")
    d = await names.lookup(top, "d")
    only = await names.lookup(d, "only")
    assert not names.needs_placeholder(d)
    await store.remove("top/d/only")
    names.removed(only)
    assert names.needs_placeholder(d)
    clock.jump(TTL * 3)
    assert await names.lookup(top, "d") is d
    assert await names.lookup(names.root, "top") is top
    assert await listed(names, d) == []
    assert names.needs_placeholder(d)
    names.adopted(d.path.placeholder, store.add("top/d/.bzEmpty"))
    assert not names.needs_placeholder(d)
    clock.jump(TTL * 3)
    assert await names.lookup(top, "d") is d
    assert await names.is_empty(d)
    assert not names.needs_placeholder(d)
    await store.remove("top/d/.bzEmpty")
    names.removed(d)
    assert await gone(names, top, "d")
    assert await listed(names, top) == []
    assert names.needs_placeholder(top)
    clock.jump(TTL * 3)
    assert await gone(names, top, "d")
    assert await listed(names, names.root) == ["top"]
    assert not names.needs_placeholder(names.root)


async def test_a_new_directory_costs_no_question(store: LaggingStore, clock: Clock) -> None:
    names = names_of(store)
    assert await gone(names, names.root, "d")
    calls = len(store.calls)
    d = names.created(names.root, "d", a_directory(), store.add("d/.bzEmpty"))
    assert await gone(names, d, "x")
    x = names.created(d, "x", a_file(), None)
    assert await listed(names, d) == ["x"]
    names.adopted(path("d/x"), store.add("d/x"))
    assert await names.lookup(d, "x") is x
    assert len(store.calls) == calls
    clock.jump(TTL + 1)
    assert await listed(names, d) == ["x"]
    assert len(store.calls) > calls
    assert len(names._overlay) == 0


async def test_unsent_files_keep_the_directories_above_them(store: LaggingStore, clock: Clock) -> None:
    other = store.add("a/other")
    names = names_of(store)
    inode = names.recovered(path("a/b/c/unsent"), a_file(5), None)
    assert inode is not None
    assert names.recovered(path("a/b/c/unsent"), a_file(6), None) is inode
    clock.jump(TTL + 1)
    assert await listed(names, names.root) == ["a"]  # B2 shows it, for as long as the other is there
    await store.hide(other.path)
    clock.jump(TTL + 1)
    for _ in range(2):
        a = await names.lookup(names.root, "a")
        c = await names.lookup(await names.lookup(a, "b"), "c")
        assert await names.lookup(c, "unsent") is inode
        assert await listed(names, a) == ["b"]
        clock.jump(TTL + 1)
    names.adopted(inode.path, store.add("a/b/c/unsent"))
    clock.jump(TTL + 1)
    assert await listed(names, c) == ["unsent"]
    assert len(names._overlay) == 0


async def test_only_what_the_mount_shows_is_recovered(store: LaggingStore, clock: Clock) -> None:
    names = names_of(store, root="photos/")
    assert names.recovered(path("music/a"), a_file(), None) is None
    assert names.recovered(ObjectPath("other", "photos/a"), a_file(), None) is None
    assert names.recovered(path("photos/.bzEmpty"), a_file(), None) is None
    assert names.recovered(path("photos/a"), a_file(), None) is not None


async def test_entries_that_change_change_their_directory(store: LaggingStore, clock: Clock) -> None:
    store.add("d/.bzEmpty", src_last_modified_millis="1000")
    store.add("d/a")
    store.add("e/a")
    names = names_of(store)
    d, e = await names.lookup(names.root, "d"), await names.lookup(names.root, "e")
    await listed(names, d)
    assert d.attributes.modified_ns == 1_000_000_000
    times = []
    for change in (
        lambda: names.created(d, "b", a_file(), None),
        lambda: names.removed(names._inodes.at(path("d/b")) or d),
        lambda: names.moved(names._inodes.at(path("d/a")) or d, e, "b"),
    ):
        a = await names.lookup(d, "a")
        clock.jump(1)
        change()
        times.append(d.attributes.modified_ns)
        assert d.attributes.changed_ns == d.attributes.modified_ns
    assert a.path == path("e/b")
    assert times == sorted(set(times))
    assert e.attributes.modified_ns == times[-1]
    clock.jump(TTL + 1)
    await listed(names, d)
    assert d.attributes.modified_ns == times[-1]


async def test_a_newer_state_stays_while_an_older_one_comes_in(store: LaggingStore, clock: Clock) -> None:
    names = names_of(store)
    a = names.created(names.root, "a", a_file(1), None)
    names.published(a, a_file(10, 99))
    first = store.add("a", b"1")
    names.rebased(path("a"), first)
    assert (a.version, a.attributes.size) == (first, 10)
    clock.jump(TTL + 1)
    assert await names.lookup(names.root, "a") is a
    second = store.add("a", b"1" * 10, **info_of(a.attributes, {}))
    names.adopted(path("a"), second)
    assert (a.version, a.attributes.size, a.attributes.modified_ns) == (second, 10, 99)
    clock.jump(TTL + 1)
    assert await names.lookup(names.root, "a") is a
    names.rebased(path("a"), store.add("a"))  # nothing is pending: as good as adopted
    assert await names.lookup(names.root, "a") is a


async def test_changed_attributes_keep_the_number(store: LaggingStore, clock: Clock) -> None:
    store.add("a", b"1")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    names.published(a, attrs.evolve(a.attributes, mode=0o700))
    names.adopted(path("a"), store.add("a", b"1", **info_of(a.attributes, {})))
    clock.jump(TTL + 1)
    assert await names.lookup(names.root, "a") is a
    assert a.attributes.mode == 0o700


async def test_an_adopted_version_of_another_kind_is_another_inode(store: LaggingStore, clock: Clock) -> None:
    store.add("a", b"1")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    names.adopted(path("a"), store.add("a", symlink="b"))
    link = await names.lookup(names.root, "a")
    assert (link.kind, link.attributes.target, a.removed) == (Kind.SYMLINK, "b", True)


@pytest.mark.parametrize("first", ["moved", "adopted"])
async def test_a_file_takes_its_inode_along(store: LaggingStore, first: str, clock: Clock) -> None:
    store.add("a", b"1")
    store.add("b", b"22")
    store.add("d/x")
    names = names_of(store)
    a, b = await names.lookup(names.root, "a"), await names.lookup(names.root, "b")
    await names.lookup(names.root, "d")
    new = store.add("b", b"1")
    await store.remove("a")
    names.removed(b)
    if first == "adopted":
        names.adopted(path("b"), new)
    names.moved(a, names.root, "b")
    if first == "moved":
        assert names._overlay.records(path(""))["b"].is_pending
        names.adopted(path("b"), new)
    assert (a.path, a.version, a.attributes.size) == (path("b"), new, 1)
    for _ in range(2):
        assert await names.lookup(names.root, "b") is a
        assert await gone(names, names.root, "a")
        assert await listed(names, names.root) == ["b", "d"]
        clock.jump(TTL + 1)
    assert len(names._overlay) <= 1


@pytest.mark.parametrize("root", ["", "photos/2024/"])
async def test_a_directory_takes_everything_along(store: LaggingStore, root: str, clock: Clock) -> None:
    for key in ("old/a", "old/sub/b", "new/.bzEmpty", "older"):
        store.add(root + key)
    names = names_of(store, root=root)
    old = await names.lookup(names.root, "old")
    a, sub = await names.lookup(old, "a"), await names.lookup(old, "sub")
    b = await names.lookup(sub, "b")
    unsent = names.created(sub, "unsent", a_file(4), None)
    target = await names.lookup(names.root, "new")
    calls = len(store.calls)
    store.lag()
    versions = []
    for key in ("a", "sub/b"):
        versions.append(store.add(f"{root}new/{key}"))
        await store.remove(f"{root}old/{key}")
    names.removed(target)
    names.moved(old, names.root, "new")
    for version in versions:
        names.adopted(version.path, version)
    assert [i.path.key.removeprefix(root) for i in (old, a, sub, b, unsent)] == [
        "new/",
        "new/a",
        "new/sub/",
        "new/sub/b",
        "new/sub/unsent",
    ]
    assert await names.lookup(names.root, "new") is old
    assert await names.lookup(old, "sub") is sub
    assert await names.lookup(sub, "b") is b
    assert await listed(names, sub) == ["b", "unsent"]
    assert len(store.calls) == calls
    assert (a.version, b.version) == tuple(versions)
    store.catch_up()
    clock.jump(TTL + 1)
    assert await gone(names, names.root, "old")
    assert await names.lookup(names.root, "new") is old
    assert await names.lookup(sub, "unsent") is unsent
    assert await names.lookup(sub, "b") is b
    assert sorted(await listed(names, names.root)) == ["new", "older"]


async def test_a_removal_of_what_was_replaced_meanwhile_counts(store: LaggingStore, clock: Clock) -> None:
    store.add("a", b"1")
    names = names_of(store)
    a = await names.lookup(names.root, "a")
    store.add("a", b"22")
    clock.jump(TTL + 1)
    assert await names.lookup(names.root, "a") is not a
    await store.remove("a")
    names.removed(a)
    assert await gone(names, names.root, "a")

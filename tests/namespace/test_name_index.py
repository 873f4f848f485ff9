"""The index of names: what the next mount believes of it, and above all what not."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import NotFound
from b2mount.model import PLACEHOLDER, Kind
from b2mount.namespace.index_file import IndexFile
from b2mount.namespace.inode import Inode
from b2mount.namespace.name_index import DATABASE, NameIndex
from tests.namespace.lives import DAY, HOUR, Lives
from tests.namespace.world import WatchedStore, a_directory, a_file, inodes_in, listed, path

KEYS = ("a", "b", "d/a", "d/b", "d/e/a", "f/a", f"empty/{PLACEHOLDER}", "marked/")
SEEN = sorted(["a", "b", "d/", "d/a", "d/b", "d/e/", "d/e/a", "f/", "f/a", "empty/", "marked/"])


@pytest.fixture
def clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


@pytest.fixture
async def lives(tmp_path: Path, clock: trio.testing.MockClock) -> AsyncIterator[Lives]:
    """A mount that has seen everything, and kept it."""
    store = WatchedStore()
    for key in KEYS:
        store.add(key, b"x" * len(key), src_last_modified_millis="5000")
    one = Lives(tmp_path, store)
    await one.mount()
    assert await one.walk() == SEEN
    await one.index.store()
    yield one
    await one.index.close()


async def lookup(lives: Lives, key: str) -> Inode:
    inode = lives.names.root
    for name in key.removesuffix("/").split("/"):
        inode = await lives.names.lookup(inode, name)
    return inode


async def exists(lives: Lives, key: str) -> bool:
    try:
        await lookup(lives, key)
    except NotFound:
        return False
    return True


# -- what is believed ------------------------------------------------------------------------


@pytest.mark.parametrize("is_clean", [True, False])
async def test_the_next_mount_asks_nothing(lives: Lives, is_clean: bool) -> None:
    before = {
        inode.path: (inode.version, inode.attributes)
        for inode in await inodes_in(lives.names, lives.names.root)
    }
    await (lives.remount() if is_clean else lives.killed())
    assert await lives.walk_costs() == 0
    assert await lives.walk() == SEEN
    found = {
        inode.path: (inode.version, inode.attributes)
        for inode in await inodes_in(lives.names, lives.names.root)
    }
    files = {p: said for p, said in found.items() if not p.is_directory}
    assert files == {p: said for p, said in before.items() if not p.is_directory}
    calls = len(lives.store.calls)
    assert not await exists(lives, "nobody")
    assert not await exists(lives, "d/nobody")
    assert len(lives.store.calls) == calls


async def test_lookups_ask_nothing_either(lives: Lives) -> None:
    await lives.remount()
    calls = len(lives.store.calls)
    assert await exists(lives, "d/e/a")
    assert not await exists(lives, "f/b")
    assert len(lives.store.calls) == calls


async def test_what_keeps_a_directory_alive_is_known(lives: Lives) -> None:
    await lives.remount()
    for key in (f"empty/{PLACEHOLDER}", "marked/"):
        directory = await lookup(lives, key.rpartition("/")[0])
        assert await lives.names.is_empty(directory)
        assert [version.path.key for version in lives.names.keepers(directory)] == [key]
        assert directory.attributes.modified_ns == 5_000_000_000


async def test_names_are_believed_for_their_time_and_no_longer(
    lives: Lives, clock: trio.testing.MockClock
) -> None:
    clock.jump(DAY - 2)
    await lives.remount()
    assert await lives.walk_costs() == 0
    a = await lookup(lives, "a")
    assert 0 < lives.names.valid_for(a) <= 2
    lives.store.add("c")
    clock.jump(3)
    assert await exists(lives, "c")


async def test_what_is_due_by_a_shorter_time_is_asked(lives: Lives, clock: trio.testing.MockClock) -> None:
    clock.jump(2 * HOUR)
    lives.store.add("c")
    await lives.remount(ttl=HOUR)
    assert await exists(lives, "c")


async def test_a_short_time_to_live_has_no_index(lives: Lives) -> None:
    """And nothing is believed later that it could not have doubted."""
    await lives.remount(ttl=60)
    assert not (lives.directory / DATABASE).exists()
    assert await lives.walk_costs() > 0
    await lives.remount()
    assert await lives.walk_costs() > 0


async def test_what_is_dropped_from_memory_is_not_asked_again(lives: Lives) -> None:
    await lives.remount(max_names=2)
    assert await lives.walk_costs() == 0
    assert await lives.walk_costs() == 0


async def test_odd_names_are_counted_again(lives: Lives) -> None:
    lives.store.add("x//y")
    lives.names.forget_listing(None)
    await lives.walk()
    assert lives.names.odd_names == 1
    await lives.remount()
    assert await lives.walk_costs() == 0
    assert lives.names.odd_names == 1


# -- what is not -----------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-HOUR, -3 * DAY])
@pytest.mark.parametrize("is_clean", [True, False])
@pytest.mark.parametrize("boot", ["first", "second"])
async def test_a_clock_that_was_set_back(lives: Lives, seconds: float, is_clean: bool, boot: str) -> None:
    if is_clean:
        await lives.index.close()
    lives.machine.set_by, lives.machine.boot = seconds, boot
    lives.store.add("c")
    await lives.mount()
    assert await exists(lives, "c")
    assert await lives.walk() == sorted([*SEEN, "c"])


async def test_a_clock_that_is_set_back_while_mounted(lives: Lives, clock: trio.testing.MockClock) -> None:
    """An hour passes, then the clock says that none has: later everything would look younger than it is."""
    clock.jump(HOUR)
    lives.machine.set_by = -HOUR
    lives.index.asks()
    await lives.index.store()
    clock.jump(2 * HOUR)
    lives.store.add("c")
    await lives.killed()
    assert await exists(lives, "c")


async def test_a_clock_that_was_set_back_and_nobody_saw_it_at_once(
    lives: Lives, clock: trio.testing.MockClock
) -> None:
    clock.jump(2 * HOUR)
    lives.machine.set_by = -HOUR
    lives.store.add("c")
    await lives.killed()
    assert await exists(lives, "c")


async def test_a_clock_that_was_set_back_behind_a_mount_that_was_there(
    lives: Lives, clock: trio.testing.MockClock
) -> None:
    """What it has stored is not from the future, but older than it looks."""
    clock.jump(2 * HOUR)
    await lives.index.close()
    lives.machine.set_by, lives.machine.boot = -HOUR, "second"
    lives.store.add("c")
    await lives.mount()
    assert await exists(lives, "c")


@pytest.mark.parametrize("what", ["identity", "boot"])
async def test_an_index_of_something_else(lives: Lives, what: str) -> None:
    """Another bucket or key; and one that was in use when the machine stopped."""
    if what == "identity":
        await lives.index.close()
    lives.store.add("c")
    lives.machine.boot = "second"
    await lives.mount(identity="another" if what == "identity" else "")
    assert await exists(lives, "c")


async def test_after_a_clean_end_the_machine_may_start_again(lives: Lives) -> None:
    await lives.index.close()
    lives.machine.boot = "second"
    await lives.mount()
    assert await lives.walk_costs() == 0


async def test_a_machine_that_can_not_be_told(lives: Lives) -> None:
    lives.machine.boot = ""
    await lives.remount()
    await lives.walk()
    await lives.index.store()
    lives.store.add("c")
    await lives.killed()
    assert await exists(lives, "c")


async def test_a_refresh_is_not_forgotten(lives: Lives) -> None:
    for key in ("c", "d/c", "d/e/c"):
        lives.store.add(key)
    lives.names.forget_listing(path("d/e/"))
    await lives.killed()
    assert [await exists(lives, key) for key in ("c", "d/c", "d/e/c")] == [False, True, True]
    lives.names.forget_listing(None)
    await lives.remount()
    assert await exists(lives, "c")


async def test_an_older_listing_does_not_come_back(lives: Lives) -> None:
    """Who was shown a newer one, and built on it, is not shown the older one again."""
    lives.store.add("d/new/a")
    await lives.remount()
    lives.index.changed(path(""))
    assert await exists(lives, "d/new"), "the page that was asked for the root tells of d as well"
    lives.index._waiting = [one for one in lives.index._waiting if one[0] == path("")]
    await lives.index.store()
    await lives.killed()
    assert await exists(lives, "d/new")


async def test_a_change_while_a_listing_is_being_stored(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives.names.forget_listing(path("d/"))
    inode = await lookup(lives, "d/a")
    stored = NameIndex._stored

    async def slowly(*arguments: Any) -> object:
        found = await stored(*arguments)
        if arguments[2] == path("d/"):
            await lives.store.remove("d/a")
            lives.names.removed(inode)
        return found

    monkeypatch.setattr(NameIndex, "_stored", slowly)
    await lives.index.store()
    monkeypatch.undo()
    await lives.index.store()
    await lives.killed()
    assert not await exists(lives, "d/a")


async def test_a_change_while_a_batch_is_being_written(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    lives.names.forget_listing(path("d/"))
    inode = await lookup(lives, "d/a")
    write = IndexFile.write

    def and_then(*arguments: Any) -> None:
        write(*arguments)
        trio.from_thread.run_sync(lives.names.removed, inode)

    await lives.store.remove("d/a")
    with monkeypatch.context() as patch:
        patch.setattr(IndexFile, "write", and_then)
        await lives.index.store()
    await lives.killed()
    assert not await exists(lives, "d/a")


async def test_a_listing_that_lags_behind_this_mount_is_not_kept(lives: Lives) -> None:
    await create(lives)
    await lives.store.remove("d/new")  # for all that a listing shows
    lives.names._cache.forget(None)
    await lives.walk()
    await lives.index.store()
    await lives.killed()
    calls = len(lives.store.calls)
    await lookup(lives, "d/a")
    assert len(lives.store.calls) == calls + 1


async def test_a_change_costs_its_own_directory_only(lives: Lives) -> None:
    await create(lives)
    await lives.killed()
    calls = len(lives.store.calls)
    assert await exists(lives, "a")
    assert await exists(lives, "f/a")
    assert len(lives.store.calls) == calls
    assert await exists(lives, "d/new")
    assert await exists(lives, "d/e/a")
    assert len(lives.store.calls) == calls + 1


# -- what this mount did ---------------------------------------------------------------------


Deed = Callable[[Lives], object]


async def create(lives: Lives) -> None:
    directory = await lookup(lives, "d")
    lives.names.created(directory, "new", a_file(), None)
    lives.names.adopted(path("d/new"), lives.store.add("d/new"))


async def replace(lives: Lives) -> None:
    inode = await lookup(lives, "d/a")
    lives.names.published(inode, a_file(7))
    lives.names.adopted(path("d/a"), lives.store.add("d/a", b"another"))


async def unlink(lives: Lives) -> None:
    inode = await lookup(lives, "d/a")
    await lives.store.remove("d/a")
    lives.names.removed(inode)


async def make_directory(lives: Lives) -> None:
    version = lives.store.add(f"d/new/{PLACEHOLDER}")
    lives.names.created(await lookup(lives, "d"), "new", a_directory(), version)


async def remove_directory(lives: Lives) -> None:
    inode = await lookup(lives, "empty")
    assert await lives.names.is_empty(inode)
    await lives.store.remove(f"empty/{PLACEHOLDER}")
    lives.names.removed(inode)


async def remove_directory_and_others_come(lives: Lives) -> None:
    await remove_directory(lives)
    lives.store.add("empty/other")


async def date_directory(lives: Lives) -> None:
    inode = await lookup(lives, "empty")
    version = lives.store.add(f"empty/{PLACEHOLDER}", src_last_modified_millis="9000")
    lives.names.published(inode, attrs.evolve(inode.attributes, modified_ns=9_000_000_000))
    lives.names.adopted(version.path, version)


async def rename(lives: Lives) -> None:
    inode, directory = await lookup(lives, "d/a"), await lookup(lives, "f")
    version = lives.store.add("f/moved")
    await lives.store.remove("d/a")
    lives.names.moved(inode, directory, "moved")
    lives.names.adopted(version.path, version)


async def rename_directory(lives: Lives) -> None:
    inode, directory = await lookup(lives, "d"), await lookup(lives, "f")
    for key in ("a", "b", "e/a"):
        lives.store.add(f"f/d/{key}")
        await lives.store.remove(f"d/{key}")
    lives.names.moved(inode, directory, "d")


async def rename_over_what_was_there(lives: Lives) -> None:
    """What was known below a name is not known of what has the name now."""
    await rename_directory(lives)
    await lives.index.store()
    inode = await lookup(lives, "f/d")
    for key in ("a", "b", "e/a"):
        await lives.store.remove(f"f/d/{key}")
        lives.store.add(f"d/{key}")
    lives.store.add("d/z")
    lives.names.moved(inode, lives.names.root, "d")


async def rename_away_and_others_come(lives: Lives) -> None:
    await rename_directory(lives)
    lives.store.add("d/other")


async def make_directory_again(lives: Lives) -> None:
    """Others had removed it."""
    for key in ("d/a", "d/b", "d/e/a"):
        await lives.store.remove(key)
    lives.names.forget_listing(path("a"))
    assert not await exists(lives, "d")
    version = lives.store.add(f"d/{PLACEHOLDER}")
    lives.names.created(lives.names.root, "d", a_directory(), version)


DEEDS = [
    create,
    replace,
    unlink,
    make_directory,
    remove_directory,
    remove_directory_and_others_come,
    date_directory,
    rename,
    rename_directory,
    rename_over_what_was_there,
    rename_away_and_others_come,
    make_directory_again,
]


async def state(lives: Lives) -> dict[str, object]:
    """What programs see."""
    found: dict[str, object] = {}
    waiting = [lives.names.root]
    while waiting:
        for inode in await inodes_in(lives.names, waiting.pop()):
            version = inode.version.version_id if inode.version and inode.kind is Kind.FILE else None
            found[inode.path.key] = version
            if inode.is_directory:
                waiting.append(inode)
    return found


@pytest.mark.parametrize("end", ["killed", "clean", "stored and killed"])
@pytest.mark.parametrize("deed", DEEDS)
async def test_what_this_mount_did_is_seen_by_the_next(
    lives: Lives, deed: Callable[[Lives], object], end: str
) -> None:
    """Nobody else has done anything: so both have to see what is in B2."""
    result = deed(lives)
    assert hasattr(result, "__await__")
    await result
    if end == "stored and killed":
        await lives.index.store()
    await (lives.remount() if end == "clean" else lives.killed())
    seen = await state(lives)
    empty = None
    if deed is date_directory:
        empty = (await lookup(lives, "empty")).attributes.modified_ns
    shutil.rmtree(lives.directory)
    lives.directory.mkdir()
    await lives.mount()
    assert seen == await state(lives)
    if empty is not None:
        assert (await lookup(lives, "empty")).attributes.modified_ns == empty


async def rename_to_where_others_have_removed(lives: Lives) -> None:
    inode = await lookup(lives, "f")
    for key in ("d/a", "d/b", "d/e/a"):
        await lives.store.remove(key)
    lives.names.forget_listing(path("a"))
    assert not await exists(lives, "d")
    lives.store.add("d/a")
    await lives.store.remove("f/a")
    lives.names.moved(inode, lives.names.root, "d")


@pytest.mark.parametrize(
    ("deed", "key"),
    [
        (create, "d/"),
        (unlink, "d/"),
        (date_directory, "empty/"),
        (make_directory_again, "d/"),
        (make_directory_again, "d/e/"),
        (remove_directory, "empty/"),
        (rename_directory, "d/"),
        (rename_directory, "d/e/"),
        (rename_directory, "f/"),
        (rename_to_where_others_have_removed, "d/"),
        (rename_to_where_others_have_removed, "d/e/"),
        (rename_to_where_others_have_removed, "f/"),
    ],
)
async def test_of_what_nothing_is_known_any_more(
    lives: Lives, deed: Callable[[Lives], Any], key: str
) -> None:
    """Whatever else would have to be asked, too."""
    assert await lives.index.find(path(key)) is not None
    await deed(lives)
    await lives.killed()
    assert await lives.index.find(path(key)) is None


@pytest.mark.parametrize("after", [False, True])
async def test_a_listing_that_was_under_way(lives: Lives, after: bool) -> None:
    """It was asked for before the change, and may come before it is over, or after."""
    lives.names.forget_listing(path("d/"))
    inode, d = await lookup(lives, "d/a"), await lookup(lives, "d")
    lives.names.forget_listing(path("d/"))
    gate = lives.store.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listed, lives.names, d)
        await trio.testing.wait_all_tasks_blocked()
        lives.store.gate = None
        await lives.store.remove("d/a")
        if after:
            lives.names.removed(inode)
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        if not after:
            await lives.index.store()
            lives.names.removed(inode)
    await lives.index.store()
    await lives.killed()
    assert not await exists(lives, "d/a")


async def test_a_directory_that_others_have_emptied_meanwhile(lives: Lives) -> None:
    """A program that is inside of it writes a file: the directory is there again."""
    d = await lookup(lives, "d")
    for key in ("d/a", "d/b", "d/e/a"):
        await lives.store.remove(key)
    lives.names.forget_listing(path("a"))  # so the root is asked again, and does not show it
    assert "d" not in await listed(lives.names, lives.names.root)
    lives.names._inodes.reattach(d)
    await lives.index.store()
    lives.names.created(d, "new", a_file(), None)
    lives.names.adopted(path("d/new"), lives.store.add("d/new"))
    await lives.index.store()
    await lives.killed()
    assert await exists(lives, "d/new")


async def test_what_was_being_stored_when_the_mount_ended_is_stored_then(
    tmp_path: Path, clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WatchedStore()
    for key in KEYS:
        store.add(key)
    lives = Lives(tmp_path / "cut", store)
    lives.directory.mkdir()
    await lives.mount()
    await lives.walk()
    stored = NameIndex._stored
    with trio.CancelScope() as end:

        async def cut(index: NameIndex, *arguments: Any) -> Any:
            monkeypatch.undo()
            end.cancel()
            return await stored(index, *arguments)

        monkeypatch.setattr(NameIndex, "_stored", cut)
        await lives.index.store()
    assert end.cancelled_caught
    await lives.remount()
    assert await lives.walk_costs() == 0

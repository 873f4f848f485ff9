"""warm and evict: what people ask of the cache by the names of files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from b2mount.errors import NoRoom, NotFound, Unavailable
from b2mount.filesystem.status import WarmStatus
from b2mount.model import ObjectPath
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import world
from tests.reading.conftest import until

SIZES = {"a": 1000, "d/1": 2000, "d/2": 5 << 20, "d/deep/3": 4000, "dd": 70}


@pytest.fixture
def store() -> FaultyStore:
    inner = MemoryStore()
    for key, size in SIZES.items():
        inner.seed(ObjectPath("bucket", key), key[-1].encode() * size)
    inner.seed(ObjectPath("bucket", "d/.bzEmpty"), b"")
    inner.seed(ObjectPath("bucket", "d/empty"), b"")
    inner.seed(ObjectPath("bucket", "d//odd"), b"odd")
    return FaultyStore(inner)


def ignore(_status: WarmStatus) -> None:
    pass


def fetched(store: FaultyStore) -> set[str]:
    calls = [call.arguments[0] for call in store.log if call.verb == "read_range"]
    return {version.path.key for version in calls}  # type: ignore[attr-defined]  # a fake, or an object of the log


@pytest.mark.parametrize(
    ("path", "keys"),
    [("", set(SIZES)), ("a", {"a"}), ("d", {"d/1", "d/2", "d/deep/3"}), ("d/deep", {"d/deep/3"})],
)
async def test_what_is_warm_needs_no_request(
    store: FaultyStore, tmp_path: Path, path: str, keys: set[str]
) -> None:
    async with world(store, tmp_path) as w:
        heard: list[WarmStatus] = []
        result = await w.fs.by_path.warm(path, heard.append)
        size = sum(SIZES[key] for key in keys)
        assert result == heard[-1] == WarmStatus(len(keys), size, len(keys), size)
        assert heard[0] == WarmStatus(len(keys), size)
        assert [one.size_done for one in heard] == sorted(one.size_done for one in heard)
        assert fetched(store) == keys
        before = store.calls["read_range"]
        assert await w.fs.by_path.warm(path, ignore) == result
        assert store.calls["read_range"] == before
        for key in keys:
            assert await w.read(key) == key[-1].encode() * SIZES[key]
        assert w.fs._fetcher.status().misses == 0


async def test_a_tree_is_listed_by_the_thousand(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.fs.by_path.warm("", ignore)
        assert store.calls["list_objects"] == 1


async def test_what_can_not_be_fetched_is_named_and_the_rest_is_there(
    store: FaultyStore, tmp_path: Path
) -> None:
    async with world(store, tmp_path) as w:
        store.fail("read_range", Unavailable("no network"), at=1, times=1)
        result = await w.fs.by_path.warm("", ignore)
        assert (result.files_done, result.failures) == (4, 1)
        (failure,) = result.failed
        assert (failure.reason, failure.kind) == ("no network", "Unavailable")
        missing = result.size - result.size_done  # the piece that failed, whichever it was
        assert 0 < missing <= SIZES[failure.path]
        again = await w.fs.by_path.warm("", ignore)
        assert (again.files_done, again.failures, again.size_done) == (5, 0, again.size)


async def test_what_is_not_there(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        with pytest.raises(NotFound):
            await w.fs.by_path.warm("d/missing", ignore)
        with pytest.raises(NotFound):
            await w.fs.by_path.evict("d/missing")
        assert await w.fs.by_path.warm("d/empty", ignore) == WarmStatus(0, 0)


async def test_more_than_the_cache_holds_is_not_begun(store: FaultyStore, tmp_path: Path) -> None:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    for number in range(2):
        inner.seed(ObjectPath("bucket", f"big/{number}"), bytes(40 << 20))
    async with world(store, tmp_path) as w:
        with pytest.raises(NoRoom, match="83,886,080 bytes, and the cache holds 67,108,864"):
            await w.fs.by_path.warm("big", ignore)
        assert store.calls["read_range"] == 0


async def test_more_files_than_the_cache_holds_are_not_begun(store: FaultyStore, tmp_path: Path) -> None:
    inner = store.inner
    assert isinstance(inner, MemoryStore)
    for number in range(1639):
        inner.seed(ObjectPath("bucket", f"many/{number}"), b"x")
    async with world(store, tmp_path) as w:
        with pytest.raises(NoRoom, match="1,639 files, and the cache holds 1,638"):
            await w.fs.by_path.warm("many", ignore)
        assert store.calls["read_range"] == 0


async def test_what_the_cache_did_not_keep_is_told(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, tmp_path) as w:
        lost = Counter[str]()
        look = w.fs._fetcher.lost

        def seems_lost(version: object, blocks: range) -> int | None:
            path = version.path.key  # type: ignore[attr-defined]  # a fake, or an object of the log
            if path == "d/1" and lost["looks"]:
                return 0
            return look(version, blocks)  # type: ignore[arg-type]  # a stand-in

        def hear(status: WarmStatus) -> None:
            lost["looks"] += status.files_done == len(SIZES)

        monkeypatch.setattr(w.fs._fetcher, "lost", seems_lost)
        result = await w.fs.by_path.warm("", hear)
        assert (result.files_done, result.failures) == (4, 1)
        assert (result.failed[0].path, result.failed[0].kind) == ("d/1", "NoRoom")


async def test_who_gives_up_leaves_nothing_behind(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        for at in range(1, 10):
            store.hold("read_range", at=at)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.by_path.warm, "", ignore)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert store.running["read_range"] > 0
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert store.running["read_range"] == 0
        assert w.fs._fetcher._ahead_size == 0


@pytest.mark.parametrize(
    ("path", "keys"), [("", set(SIZES)), ("a", {"a"}), ("d", {"d/1", "d/2", "d/deep/3"})]
)
async def test_what_is_evicted_is_fetched_again(
    store: FaultyStore, tmp_path: Path, path: str, keys: set[str]
) -> None:
    async with world(store, tmp_path) as w:
        await w.fs.by_path.warm("", ignore)
        await until(lambda: w.fs._fetcher.status().bytes >= sum(SIZES.values()))
        result = await w.fs.by_path.evict(path)
        assert result.files == len(keys)
        assert result.size >= sum(SIZES[key] for key in keys)
        assert attrs.astuple(await w.fs.by_path.evict(path)) == (0, 0)
        store.log.clear()
        for key in SIZES:
            assert await w.read(key) == key[-1].encode() * SIZES[key]
        assert fetched(store) == keys


async def test_what_is_unsent_is_not_evicted(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path, waits=False, delay=1000) as w:
        await w.write("d/new", b"new")
        await w.write("a", b"changed")
        await w.fs.by_path.evict("")
        assert await w.read("d/new") == b"new"
        assert await w.read("a") == b"changed"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", {"": {"a", "d", "none"}, "d": {"1", "x"}}),
        ("d", {"": {"d"}, "d": {"1", "x"}}),
        ("d/1", {"d": {"1"}}),
        ("d/x", {"d": {"x"}}),
        ("a/", {"": {"a"}}),
        ("none", {"": {"none"}}),
        ("nowhere/at/all", {}),
    ],
)
async def test_refresh_names_what_the_kernel_knows(
    store: FaultyStore, tmp_path: Path, path: str, told: dict[str, set[str]]
) -> None:
    async with world(store, tmp_path) as w:
        numbers = {"": 1, "d": (await w.fs.lookup(1, "d")).number}
        for directory, name in (("", "a"), ("d", "1")):
            await w.fs.lookup(numbers[directory], name)
        for directory, name in (("", "none"), ("d", "x")):
            with pytest.raises(NotFound):
                await w.fs.lookup(numbers[directory], name)
            assert w.fs.absent_for(numbers[directory], name) > 0
        found = w.fs.by_path.refresh(path)
        by_number = {number: set(names) for number, names in found.items() if names}
        assert by_number == {numbers[directory]: names for directory, names in told.items()}
        w.fs.forget(numbers["d"], 1)
        w.fs.by_path.refresh("")  # absent names in a directory that nobody knows hurt nobody

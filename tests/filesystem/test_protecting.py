"""Retention and legal hold as attributes, and deletes that they forbid. No kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path

import attrs
import pytest

from b2mount import errors
from b2mount.filesystem.protecting import parse_retention
from b2mount.model import Action, ObjectPath, ObjectVersion, Retention, RetentionMode
from b2mount.moments import moment_name
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.times import CountedStore, times
from tests.filesystem.world import ROOT, World, world

DAY = 86_400_000
RETENTION, HOLD = "user.b2.retention", "user.b2.legal_hold"
FILE = ObjectPath("bucket", "file")


@pytest.fixture
def memory() -> MemoryStore:
    memory = MemoryStore()
    memory.lock()
    memory.seed(FILE, b"data")
    return memory


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def get(w: World, path: str, name: str) -> str:
    return (await w.fs.getxattr((await w.node(path)).number, name.encode())).decode()


async def put(w: World, path: str, name: str, value: str | None) -> None:
    number = (await w.node(path)).number
    if value is None:
        await w.fs.removexattr(number, name.encode())
    else:
        await w.fs.setxattr(number, name.encode(), value.encode())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def hold(memory: MemoryStore, version: ObjectVersion) -> None:
    await memory.set_legal_hold(version, on=True)


# -- attributes ----------------------------------------------------------------------------------


async def test_what_is_set_is_told(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.NoAttribute):
            await get(w, "file", RETENTION)
        assert await get(w, "file", HOLD) == "off"
        for value in ("governance 2096-01-31T12:00:00Z", "compliance 2097-01-31T12:00:00Z"):
            await put(w, "file", RETENTION, value)
            assert await get(w, "file", RETENTION) == value
        for value in ("on", "off"):
            await put(w, "file", HOLD, value)
            assert await get(w, "file", HOLD) == value
        assert w.fs.listxattr((await w.node("file")).number) == []
        assert await w.read("file") == b"data"
    assert store.calls["copy"] == store.calls["put"] == 0


async def test_what_is_removed_is_gone(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.NoAttribute):
            await put(w, "file", RETENTION, None)
        await put(w, "file", RETENTION, "governance 30d")
        await put(w, "file", RETENTION, None)
        with pytest.raises(errors.NoAttribute):
            await get(w, "file", RETENTION)
        await put(w, "file", HOLD, "on")
        await put(w, "file", HOLD, None)
        assert await get(w, "file", HOLD) == "off"


async def test_compliance_is_not_made_less(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await put(w, "file", RETENTION, "compliance 30d")
        for value in ("compliance 1d", "governance 60d", None):
            with pytest.raises(errors.NotPermitted):
                await put(w, "file", RETENTION, value)
        await put(w, "file", RETENTION, "compliance 60d")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (RETENTION, ""),
        (RETENTION, "governance"),
        (RETENTION, "governance 2001-01-01"),
        (RETENTION, "governance 30"),
        (RETENTION, "governance soon"),
        (RETENTION, "obedience 30d"),
        (RETENTION, "30d"),
        (RETENTION, "governance 99999999999999d"),
        (RETENTION, "governance 0s"),
        (HOLD, ""),
        (HOLD, "yes"),
    ],
)
async def test_a_bad_value(store: FaultyStore, tmp_path: Path, name: str, value: str) -> None:
    async with world(store, tmp_path) as w:
        with pytest.raises(errors.InvalidArgument):
            await put(w, "file", name, value)
    assert store.calls["set_retention"] == store.calls["set_legal_hold"] == 0


@pytest.mark.parametrize(
    ("text", "until_ms"),
    [
        ("30d", 30 * DAY),
        ("1.5h", 5_400_000),
        ("2 w", 14 * DAY),
        ("1970-01-02T00:00:00Z", DAY),
        ("1970-01-02T02:00:00.5+02:00", DAY + 500),
    ],
)
def test_ways_to_say_until_when(text: str, until_ms: int) -> None:
    for word, mode in [("governance", RetentionMode.GOVERNANCE), ("COMPLIANCE", RetentionMode.COMPLIANCE)]:
        assert parse_retention(f" {word} {text} ", 0) == Retention(mode, until_ms)


def test_a_day_is_a_day_of_this_machine() -> None:
    found = parse_retention("governance 2096-01-31", now_ms())
    assert time.localtime(found.until_ms / 1000)[:6] == (2096, 1, 31, 0, 0, 0)


@pytest.mark.parametrize("waits", [True, False])
async def test_the_version_that_a_program_wrote_gets_it(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, waits: bool
) -> None:
    async with world(store, tmp_path, waits=waits, delay=0 if waits else 1000) as w:
        fh = await w.open("file", os.O_RDWR)
        await w.fs.write(fh, 0, b"what was written")
        await put(w, "file", HOLD, "on")
        version = memory.newest("file")
        assert memory.contents()["file"] == b"what was written"
        assert (await memory.protection(version)).legal_hold
        await w.close(fh)
        await w.write("new", b"new")
        await put(w, "new", RETENTION, "governance 1d")
        assert (await memory.protection(memory.newest("new"))).retention is not None


async def test_what_cannot_be_sent_is_not_protected(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path, expect_warning
) -> None:
    expect_warning("the cap is reached")
    async with world(store, tmp_path, waits=False) as w:
        fh = await w.open("file", os.O_RDWR)
        await w.fs.write(fh, 0, b"what was written")
        store.fail("put", errors.OverQuota("the cap is reached"), times=10)
        with pytest.raises(errors.OverQuota):
            await put(w, "file", HOLD, "on")
        assert store.calls["set_legal_hold"] == 0
        await w.close(fh)


async def test_only_files_have_any(store: FaultyStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        await w.mkdir("dir")
        for name, value in [(RETENTION, "governance 1d"), (HOLD, "on")]:
            with pytest.raises(errors.NotSupported):
                await put(w, "dir", name, value)
            with pytest.raises(errors.NotSupported):
                await w.fs.setxattr(ROOT, name.encode(), value.encode())


async def test_a_bucket_without_object_lock(tmp_path: Path) -> None:
    memory = MemoryStore()
    memory.seed(FILE, b"data")
    async with world(memory, tmp_path) as w:
        assert await get(w, "file", HOLD) == "off"
        for name, value in [(RETENTION, "governance 1d"), (HOLD, "on")]:
            with pytest.raises(errors.NotSupported):
                await put(w, "file", name, value)


async def test_a_change_makes_a_version_that_is_not_protected(
    store: FaultyStore, memory: MemoryStore, tmp_path: Path
) -> None:
    held = memory.newest("file")
    await hold(memory, held)
    async with world(store, tmp_path) as w:
        await w.write("file", b"new")
        assert await get(w, "file", HOLD) == "off"
        await w.rename("file", "moved")
        await w.unlink("moved")
    assert (await memory.protection(held)).legal_hold


# -- deletes -------------------------------------------------------------------------------------


async def all_versions(memory: MemoryStore) -> list[str]:
    page = await memory.list_versions("bucket", "")
    return [version.version_id for version in page.versions]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("is_open", [False, True])
async def test_a_protected_version_keeps_its_name_and_all_others(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path, which: int, is_open: bool
) -> None:
    versions = [memory.newest("file"), memory.seed(FILE, b"later"), memory.seed(FILE, b"last")]
    await hold(memory, versions[which])
    before = await all_versions(memory)
    async with world(store, tmp_path, deletes=True) as w:
        fh = await w.open("file") if is_open else None
        moment = moment_name(versions[which].uploaded_ms)
        with pytest.raises(
            errors.NotPermitted, match=f"bucket/file can't be deleted.* {moment}.* legal hold"
        ):
            await w.unlink("file")
        if fh is not None:
            await w.close(fh)
        assert await w.names() == ["file"]
        assert await w.read("file") == b"last"
    assert await all_versions(memory) == before
    assert store.calls["delete_version"] == store.calls["hide"] == 0


async def test_the_reason_says_until_when(memory: MemoryStore, store: FaultyStore, tmp_path: Path) -> None:
    until_ms = now_ms() // 1000 * 1000 + DAY
    await memory.set_retention(memory.newest("file"), Retention(RetentionMode.GOVERNANCE, until_ms))
    async with world(store, tmp_path, deletes=True) as w:
        with pytest.raises(errors.NotPermitted, match=f"governance retention until {moment_name(until_ms)}"):
            await w.unlink("file")


async def test_what_is_over_keeps_nothing(memory: MemoryStore, store: FaultyStore, tmp_path: Path) -> None:
    row = memory._row(memory.newest("file").version_id)
    row.protection = attrs.evolve(
        row.protection, retention=Retention(RetentionMode.COMPLIANCE, now_ms() - 1000)
    )
    async with world(store, tmp_path, deletes=True) as w:
        await w.unlink("file")
    assert await all_versions(memory) == []


async def test_what_is_protected_can_be_hidden(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path
) -> None:
    await hold(memory, memory.newest("file"))
    async with world(store, tmp_path) as w:
        await w.unlink("file")
        assert await w.names() == []
    page = await memory.list_versions("bucket", "")
    assert [version.action for version in page.versions] == [Action.HIDE, Action.UPLOAD]


async def test_a_key_that_may_not_see_protection_deletes_the_oldest_first(
    memory: MemoryStore, store: FaultyStore, tmp_path: Path
) -> None:
    """B2 refuses then, when older versions may be gone: but what the name shows is still there."""
    versions = [memory.newest("file"), memory.seed(FILE, b"later"), memory.seed(FILE, b"last")]
    store.fail("delete_version", errors.NotPermitted("retention or a legal hold protects it"), at=2)
    async with world(store, tmp_path, deletes=True) as w:
        with pytest.raises(errors.NotPermitted):
            await w.unlink("file")
        assert await w.read("file") == b"last"
    assert await all_versions(memory) == [versions[2].version_id, versions[1].version_id]


# -- other times ---------------------------------------------------------------------------------


async def test_below_dot_b2_every_version_tells_its_own(tmp_path: Path) -> None:
    store = CountedStore()
    store.lock()
    old = store.seed(FILE, b"old")
    await hold(store, old)
    store.seed(FILE, b"new")
    async with times(store, tmp_path) as time_:
        found = {}
        for name in await time_.names(".b2/versions/file"):
            number = (await time_.node(f".b2/versions/file/{name}")).number
            found[await time_.read_number(number)] = await time_.areas.getxattr(number, HOLD.encode())
            with pytest.raises(errors.NoAttribute):
                await time_.areas.getxattr(number, RETENTION.encode())
        assert found == {b"old": b"on", b"new": b"off"}
        number = (await time_.node("file")).number
        assert await time_.areas.getxattr(number, HOLD.encode()) == b"off"


async def test_what_is_protected_stays_in_the_trash(tmp_path: Path) -> None:
    store = CountedStore()
    store.lock()
    store.seed(FILE, b"oldest")
    await hold(store, store.seed(FILE, b"old"))
    await store.hide(FILE)
    before = await all_versions(store)
    async with times(store, tmp_path) as time_:
        with pytest.raises(errors.NotPermitted, match="legal hold"):
            await time_.rm(".b2/trash/file")
        assert await time_.names(".b2/trash") == ["file"]
    assert await all_versions(store) == before

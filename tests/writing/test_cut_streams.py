"""Large files that are cut at their last steps, while the file is edited, removed or replaced."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import NotPermitted, OverQuota, StoreFailure, Unavailable
from b2mount.model import Encryption
from b2mount.writing import object_copies, upload_plan
from b2mount.writing.journal import Journal
from b2mount.writing.journal_change import Statement
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.writing.sent_ahead import PART, Expect, idle, seal, use_small_parts, write
from tests.writing.world import World, at, open_world

DATA = random.Random(9).randbytes(20 * PART + 7)
OUTAGE = Unavailable("no network")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_parts(monkeypatch)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(minimum_part_size=16)


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def submit(world: World, staged: StagedFile, mark: str = "1", key: str = "big") -> SealedFile:
    sealed = seal(staged, mark, key)
    await world.write_back.submit(sealed)
    await idle()
    return sealed


async def reopen(world: World, sealed: SealedFile) -> StagedFile:
    assert world.write_back.withdraw(sealed.staging_id)
    return world.staging.reopen(sealed)


async def next_mount(tmp_path: Path, store: FaultyStore) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await world.write_back.recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await world.write_back.flush()
            await idle()
            nursery.cancel_scope.cancel()
        assert world.local_files() == []
        assert await world.journal.read("SELECT * FROM large_files") == []


async def check_nothing_else(memory: MemoryStore, data: bytes, key: str = "big") -> None:
    assert memory.contents() == {key: data}
    assert await memory.list_unfinished("bucket", "") == ()
    page = await memory.list_versions("bucket", "")
    assert [v.path.key for v in page.versions] == [key], "what was finished on the way is gone"


@pytest.mark.parametrize(
    ("verb", "streamed"), [("finish_multipart", True), ("copy", True), ("finish_multipart", False)]
)
async def test_an_edit_after_the_finish_is_not_lost_by_a_crash(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect, verb: str, streamed: bool
) -> None:
    """B2 has finished it, we do not know or could not go on; the edit has the same size."""
    expect_warning("no network")
    store.fail(verb, OUTAGE, after=verb == "finish_multipart")
    edited = DATA[:150] + b"header" + DATA[156:]
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        if streamed:
            await write(world, staged, 0, DATA)
        else:
            staged.write(0, DATA)
        again = await reopen(world, await submit(world, staged))
        again.write(150, b"header")
        world.write_back._queue.hold(at("big"))
        await submit(world, again, "2")
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, edited)


@pytest.mark.parametrize("verb", ["finish_multipart", "copy"])
async def test_a_cut_at_a_border_after_the_finish(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect, verb: str
) -> None:
    expect_warning("no network")
    store.fail(verb, OUTAGE, after=verb == "finish_multipart")
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        again = await reopen(world, await submit(world, staged))
        again.truncate(10 * PART)
        sealed = await submit(world, again, "2")
        await world.write_back.settle(sealed.staging_id)
        await idle()
    await check_nothing_else(memory, DATA[: 10 * PART])


async def test_a_copy_that_is_refused_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("stays staged")
    store.fail("copy", OverQuota("cap"))
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await submit(world, staged)
        assert memory.contents() == {}
        await world.write_back.flush()
    await check_nothing_else(memory, DATA)


async def test_an_edit_after_the_finish_leaves_nothing_of_it(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    store.fail("copy", OUTAGE)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        again = await reopen(world, await submit(world, staged))
        again.write(150, b"header")
        sealed = await submit(world, again, "2")
        await world.write_back.settle(sealed.staging_id)
        await idle()
    await check_nothing_else(memory, DATA[:150] + b"header" + DATA[156:])


async def test_a_file_that_is_superseded_while_b2_is_away_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    holder = store.hold("finish_multipart")
    store.fail("finish_multipart", OUTAGE)
    store.fail("abort_multipart", OUTAGE, times=5)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await submit(world, staged)
        await world.write_back.submit(world.sealed("big", b"later", "2"))
        holder.release.set()
        await idle()
    store._faults.clear()
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, b"later")


async def test_a_file_that_is_superseded_and_finished_as_the_process_dies_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    holder = store.hold("finish_multipart", after=True)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await submit(world, staged)
        assert holder.reached.is_set()
        await world.write_back.submit(world.sealed("big", b"later", "2"))
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, b"later")


async def test_what_is_about_to_be_removed_is_not_taken_for_sent(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    """B2 has finished it, said that it did not, and could not remove it."""
    expect_warning("odd")
    store.fail("finish_multipart", StoreFailure("odd"), after=True)
    store.fail("abort_multipart", OUTAGE)
    async with open_world(tmp_path, store) as world:
        await submit(world, world.new(DATA))
    holder = store.hold("delete_version")
    async with open_world(tmp_path, store, running=False) as world:
        await world.write_back.recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await holder.reached.wait()
            await idle()
            holder.release.set()
            await world.write_back.flush()
            nursery.cancel_scope.cancel()
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA)


async def test_a_file_that_is_forgotten_while_b2_is_away_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    store.fail("abort_multipart", OUTAGE, times=5)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await world.write_back.checkpoint(seal(staged))
        await world.write_back.forget(staged.staging_id)
        staged.discard()
        world.write_back.discarded(staged.staging_id)
        await idle()
    store._faults.clear()
    await next_mount(tmp_path, store)
    assert await memory.list_unfinished("bucket", "") == ()


@pytest.mark.parametrize("error", [OUTAGE, NotPermitted("under retention")])
async def test_what_could_not_be_removed_is_removed_by_the_next_mount(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, error: Exception
) -> None:
    store.fail("delete_version", error)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await submit(world, staged, key="final")
    assert set(memory.contents()) == {"big", "final"}
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA, "final")


async def test_a_file_that_is_reopened_and_cut_while_its_parts_go(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    holders = [store.hold("put_part", at=number) for number in range(1, 9)]
    async with open_world(tmp_path, store, delay=3600) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        sealed = await submit(world, staged)
        again = await reopen(world, sealed)
        again.truncate(5)
        again.truncate(len(DATA))
        for holder in holders:
            holder.release.set()
        await idle()
        await submit(world, again, "2")
        await world.write_back.flush()
        await idle()
    await check_nothing_else(memory, DATA[:5] + bytes(len(DATA) - 5))


async def test_an_edit_of_the_front_of_an_old_file_is_sent_once(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    """What has bytes of an old version behind is not sent ahead: its close could not use the parts."""
    base = memory.seed(at("big"), DATA)
    async with open_world(tmp_path, store) as world:
        staged = world.new(base=base, size=len(DATA))
        await write(world, staged, 0, bytes(10 * PART))
        assert store.calls["start_multipart"] == 0
        await submit(world, staged)
        assert store.calls["start_multipart"] == 1
        await write(world, again := world.new(base=base, size=len(DATA)), 0, bytes(20 * PART + 7))
        await write(world, again, 20 * PART + 7, DATA)
        assert store.calls["start_multipart"] == 2, "it is all new"
    assert memory.contents() == {"big": bytes(10 * PART) + DATA[10 * PART :]}


async def test_what_failed_ahead_goes_ahead_again_after_the_next_close(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    holder = store.hold("put_part", at=8)
    store.fail("put_part", OUTAGE, at=8)
    store.fail("put_part", OUTAGE, at=9)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA[: 8 * PART])
        sealed = await submit(world, staged)  # it waits for the part that is under way
        holder.release.set()
        await idle()
        again = await reopen(world, sealed)
        before = store.calls["put_part"]
        await write(world, again, 8 * PART, DATA[8 * PART :])
        assert store.calls["put_part"] > before
        sealed = await submit(world, again, "2")
        await world.write_back.settle(sealed.staging_id)
    await check_nothing_else(memory, DATA)


async def test_a_start_that_could_not_be_put_on_record_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, store) as world:
        journal, calls = world.journal.write, 0

        async def failing(self: Journal, statements: Sequence[Statement]) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise StoreFailure("the journal is ill")
            await journal(statements)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "write", failing)
            await write(world, world.new(), 0, DATA)
    assert len(await memory.list_unfinished("bucket", "")) == 1
    await next_mount(tmp_path, store)
    assert await memory.list_unfinished("bucket", "") == ()


async def test_a_copy_by_parts_that_is_cut_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_copies, "COPY_LIMIT", 100)
    monkeypatch.setattr(upload_plan, "COPY_LIMIT", 100)
    version = memory.seed(at("old"), DATA)
    store.fail("copy_part", OUTAGE, at=3)
    store.fail("abort_multipart", OUTAGE)
    async with open_world(tmp_path, store) as world:
        with pytest.raises(Unavailable):
            await world.mover.move([(version, at("new"))])
    assert len(await memory.list_unfinished("bucket", "")) == 1
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA, "old")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((Encryption.SSE_C, "one"), (Encryption.SSE_C, "other")),
        ((Encryption.SSE_C, "one"), (Encryption.NONE, "")),
        ((Encryption.SSE_B2, ""), (Encryption.NONE, "")),
        ((Encryption.NONE, ""), (Encryption.SSE_B2, "")),
    ],
)
async def test_a_mount_that_encrypts_otherwise_starts_anew(
    tmp_path: Path,
    store: FaultyStore,
    memory: MemoryStore,
    expect_warning: Expect,
    before: tuple[Encryption, str],
    after: tuple[Encryption, str],
    streamed: bool,
) -> None:
    expect_warning("no network")
    memory.use_key(*before)
    store.fail("put_part", OUTAGE, at=3, times=1000)
    async with open_world(tmp_path, store, retry_for=1) as world:
        staged = world.new()
        if streamed:
            await write(world, staged, 0, DATA)
        else:
            staged.write(0, DATA)
        await submit(world, staged)
        assert len(await memory.list_unfinished("bucket", "")) == 1
    store._faults.clear()
    memory.use_key(*after)
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA)
    assert (await memory.stat(at("big"))).encryption is after[0]


async def test_a_mount_that_encrypts_alike_goes_on(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    memory.use_key(Encryption.SSE_C, "one")
    store.fail("put_part", OUTAGE, at=3, times=1000)
    async with open_world(tmp_path, store, retry_for=1) as world:
        staged = world.new()
        staged.write(0, DATA)
        await submit(world, staged)
    store._faults.clear()
    begun = store.calls["start_multipart"]
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA)
    assert store.calls["start_multipart"] == begun

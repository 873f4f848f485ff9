"""Files that are sent while they are written, and large files that go on after a crash."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import NotPermitted, OverQuota, Unavailable
from b2mount.model import ObjectVersion
from b2mount.writing import upload_plan
from b2mount.writing.staged_file import StagedFile
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import ALL_CAPABILITIES, MemoryStore
from tests.writing.sent_ahead import PART, Expect, seal, use_small_parts, write
from tests.writing.world import World, at, metadata, open_world

DATA = random.Random(8).randbytes(20 * PART + 7)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_parts(monkeypatch)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore(minimum_part_size=16)


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


async def close(world: World, staged: StagedFile, mark: str = "1", key: str = "big") -> ObjectVersion:
    sealed = seal(staged, mark, key)
    await world.write_back.submit(sealed)
    version = await world.write_back.settle(sealed.staging_id)
    assert version is not None
    return version


async def check_nothing_else(memory: MemoryStore, data: bytes, key: str = "big") -> None:
    assert memory.contents() == {key: data}
    assert await memory.list_unfinished("bucket", "") == ()
    page = await memory.list_versions("bucket", "")
    assert [v.path.key for v in page.versions] == [key], "what was finished on the way is gone"


async def test_parts_go_while_the_file_is_written(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA[: 3 * PART])
        assert store.calls["start_multipart"] == 0, "nobody knows yet that it becomes big"
        await write(world, staged, 3 * PART, DATA[3 * PART : 12 * PART])
        assert store.calls["put_part"] == 12
        await write(world, staged, 12 * PART, DATA[12 * PART :])
        assert store.calls["put_part"] == 20
        version = await close(world, staged)
        assert store.calls["put_part"] == 21
    await check_nothing_else(memory, DATA)
    assert version.info["src_last_modified_millis"] == "1", "what was said last holds"
    assert version.info["large_file_sha1"] == version.sha1
    assert version.content_type == "text/plain"


async def test_what_is_written_again_is_sent_again(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await write(world, staged, 150, b"header")
        await close(world, staged)
        assert store.calls["put_part"] == 22
    await check_nothing_else(memory, DATA[:150] + b"header" + DATA[156:])


async def test_a_write_into_a_part_that_is_under_way(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    holder = store.hold("put_part", at=2)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        staged.write(150, b"header")
        holder.release.set()
        await close(world, staged)
    await check_nothing_else(memory, DATA[:150] + b"header" + DATA[156:])


@pytest.mark.parametrize("size", [10, 250, 1050])
async def test_a_file_that_is_cut_and_goes_on(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, size: int
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        staged.truncate(size)
        await write(world, staged, 1100, b"end")
        await close(world, staged)
    await check_nothing_else(memory, DATA[:size] + bytes(1100 - size) + b"end")


async def test_a_file_that_became_small(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        staged.truncate(5)
        await close(world, staged)
    await check_nothing_else(memory, DATA[:5])


async def test_a_file_with_a_gap_waits_for_its_close(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 1, DATA[1:])
        assert store.calls["start_multipart"] == 0
        await close(world, staged)
    await check_nothing_else(memory, b"\x00" + DATA[1:])


async def test_another_name_at_the_close(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await close(world, staged, key="final")
        assert store.calls["put_part"] == 21
    await check_nothing_else(memory, DATA, "final")


async def test_a_file_that_is_removed_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        staged.discard()
        world.write_back.discarded(staged.staging_id)
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert await memory.list_unfinished("bucket", "") == ()


@pytest.mark.parametrize("error", [Unavailable("no network"), OverQuota("cap")])
@pytest.mark.parametrize("verb", ["start_multipart", "put_part"])
async def test_an_error_ahead_is_none_of_the_program(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, verb: str, error: Exception
) -> None:
    store.fail(verb, error, at=1 if verb == "start_multipart" else 5)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        await close(world, staged)
        assert store.calls["start_multipart"] == (2 if verb == "start_multipart" else 1)
    await check_nothing_else(memory, DATA)


async def test_a_key_that_may_not_delete_sends_after_the_close(tmp_path: Path) -> None:
    memory = MemoryStore(minimum_part_size=16, capabilities=ALL_CAPABILITIES - {"deleteFiles"})
    store = FaultyStore(memory)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        assert store.calls["start_multipart"] == 0
        await close(world, staged)
    await check_nothing_else(memory, DATA)


async def test_a_bucket_that_keeps_what_is_new_is_asked_once(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    store.fail("delete_version", NotPermitted("under retention"))
    async with open_world(tmp_path, store) as world:
        for key in ("first", "second"):
            staged = world.new()
            await write(world, staged, 0, DATA)
            await close(world, staged, key=key)
        assert store.calls["delete_version"] == 1
    assert memory.contents()["first"] == memory.contents()["second"] == DATA


# -- the process ends ----------------------------------------------------------------------


async def die_while_sending(tmp_path: Path, store: FaultyStore, *, finished: bool) -> None:
    """A process that is gone after it has sent all parts but the last, or even finished the file."""
    store.fail("copy" if finished else "finish_multipart", Unavailable("no network"), at=1)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        sealed = seal(staged)
        await world.write_back.submit(sealed)
        await trio.testing.wait_all_tasks_blocked(0.01)


async def next_mount(tmp_path: Path, store: FaultyStore) -> None:
    async with open_world(tmp_path, store, running=False) as world:
        await world.write_back.recover()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await world.write_back.flush()
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        assert world.local_files() == []
        assert await world.journal.read("SELECT * FROM large_files") == []


@pytest.mark.parametrize("finished", [False, True])
async def test_the_next_mount_goes_on_from_the_parts(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect, finished: bool
) -> None:
    expect_warning("no network")
    await die_while_sending(tmp_path, store, finished=finished)
    before = store.calls["put_part"]
    await next_mount(tmp_path, store)
    assert store.calls["put_part"] == before
    assert store.calls["start_multipart"] == 1
    await check_nothing_else(memory, DATA)


async def test_parts_of_other_bytes_are_sent_again(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    await die_while_sending(tmp_path, store, finished=False)
    (upload,) = await memory.list_unfinished("bucket", "")
    memory._add_part(upload, 3, b"x" * PART)
    before = store.calls["put_part"]
    await next_mount(tmp_path, store)
    assert store.calls["put_part"] == before + 1
    await check_nothing_else(memory, DATA)


async def test_a_large_file_whose_parts_are_gone_is_sent_anew(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning: Expect
) -> None:
    expect_warning("no network")
    await die_while_sending(tmp_path, store, finished=False)
    (upload,) = await memory.list_unfinished("bucket", "")
    await memory.abort_multipart(upload)
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, DATA)


async def test_what_was_sent_of_a_file_that_was_never_closed_is_cancelled(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        await write(world, world.new(), 0, DATA)
    assert len(await memory.list_unfinished("bucket", "")) == 1
    await next_mount(tmp_path, store)
    assert await memory.list_unfinished("bucket", "") == ()


@pytest.mark.parametrize("closed", [True, False])
async def test_a_start_whose_reply_never_came_leaves_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, closed: bool
) -> None:
    store.fail("start_multipart", Unavailable("no network"), after=True)
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA)
        assert len(await memory.list_unfinished("bucket", "")) == 1
        if closed:
            await close(world, staged)
            await check_nothing_else(memory, DATA)
    await next_mount(tmp_path, store)
    assert await memory.list_unfinished("bucket", "") == ()


async def test_what_was_started_for_a_generation_that_is_not_sent_any_more_is_cancelled(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    """The process died before it could put on record what it had started, and a later close of the
    name was on its way."""
    async with open_world(tmp_path, store, running=False) as world:
        first = world.new()
        first.write(0, DATA)
        await world.write_back.submit(seal(first))
        await memory.start_multipart(at("big"), metadata("1"))
        with world.write_back.holding(at("big")):
            second = world.new(b"second")
            await world.journal.append(seal(second, "2"), "sealed")
            await second.sync()
    await next_mount(tmp_path, store)
    await check_nothing_else(memory, b"second")


async def test_a_file_that_was_synced_is_sent_as_it_was_then(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    async with open_world(tmp_path, store) as world:
        staged = world.new()
        await write(world, staged, 0, DATA[:1500])
        await world.write_back.checkpoint(seal(staged))
        await write(world, staged, 1500, DATA[1500:])
        await write(world, staged, 0, b"not synced")
    await next_mount(tmp_path, store)
    (data,) = memory.contents().values()
    assert data[10:] == DATA[10:1500]
    assert await memory.list_unfinished("bucket", "") == ()


# -- the plan ------------------------------------------------------------------------------


@pytest.fixture
def real_parts(monkeypatch: pytest.MonkeyPatch, small_parts: None) -> None:
    monkeypatch.undo()


def test_ten_terabytes_fit_in_ten_thousand_parts(real_parts: None) -> None:
    starts = [upload_plan.stream_start(number) for number in range(1, 10_002)]
    sizes = [after - before for before, after in itertools.pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] >= upload_plan.MAXIMUM_SIZE
    assert sizes == sorted(sizes)
    assert sizes[0] >= upload_plan.MINIMUM_PART
    assert sizes[-1] <= upload_plan.MAXIMUM_PART

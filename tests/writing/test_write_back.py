from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from b2mount.errors import AccessDenied, B2MountError, CorruptData, OverQuota, StoreFailure, Unavailable
from b2mount.model import ByteRange, ObjectVersion
from b2mount.writing.journal import Journal
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.upload_queue import UploadState
from tests.fakes.faulty_store import FaultyStore, Hold
from tests.writing.world import World, at, attributes, metadata, open_world


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "b2mount.writing.write_back")


async def close(world: World, key: str, data: bytes, mark: str = "1") -> SealedFile:
    sealed = world.sealed(key, data, mark)
    await world.write_back.submit(sealed)
    return sealed


def puts(store: FaultyStore) -> list[str]:
    return [call.arguments[0].key for call in store.log if call.verb == "put"]  # type: ignore[attr-defined]  # a fake, or an object of the log


async def test_a_close_ends_with_the_version(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        sealed = await close(world, "a", b"hello")
        version = await world.write_back.settle(sealed.staging_id)
        assert version is not None
        assert (version.path, version.size) == (at("a"), 5)
        assert memory.contents() == {"a": b"hello"}
        assert world.local_files() == []
        assert await world.journal.replay() == []


async def test_what_has_arrived_counts_as_sent_until_it_is_struck_off(autojump_clock, tmp_path, store):
    """Else a progress bar goes back for a moment."""
    seen: list[int] = []
    async with open_world(tmp_path, store) as world:
        world.write_back.on_uploaded(
            lambda sealed, version: seen.extend(upload.sent for upload in world.write_back.pending())
        )
        sealed = await close(world, "a", b"hello")
        await world.write_back.settle(sealed.staging_id)
    assert seen == [5]


async def test_uploaded_is_told_before_the_bytes_go(autojump_clock, tmp_path, store):
    seen: list[tuple[SealedFile, ObjectVersion | None, bytes]] = []

    def uploaded(sealed: SealedFile, version: ObjectVersion | None) -> None:
        seen.append((sealed, version, sealed.pread(ByteRange(0, 5))))

    async with open_world(tmp_path, store) as world:
        world.write_back.on_uploaded(uploaded)
        sealed = await close(world, "a", b"hello")
        version = await world.write_back.settle(sealed.staging_id)
    assert seen == [(sealed, version, b"hello")]


async def test_a_listener_that_raises_stops_nothing(autojump_clock, tmp_path, store, memory, caplog):
    def uploaded(_sealed: SealedFile, _version: ObjectVersion | None) -> None:
        raise KeyError("bug")

    async with open_world(tmp_path, store) as world:
        world.write_back.on_uploaded(uploaded)
        for key in "ab":
            await world.write_back.settle((await close(world, key, b"x")).staging_id)
    assert set(memory.contents()) == {"a", "b"}


async def test_write_back_waits_for_a_quiet_moment(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, delay=5) as world:
        sealed = await close(world, "a", b"one")
        await trio.sleep(4)
        assert await world.write_back.amend(sealed.staging_id, metadata("2"), attributes())
        await trio.sleep(4)
        assert await world.write_back.rename(sealed.staging_id, at("b"))
        await trio.sleep(4)
        assert store.calls["put"] == 0
        await trio.sleep(2)
        assert memory.contents() == {"b": b"one"}
        assert (await memory.stat(at("b"))).info["src_last_modified_millis"] == "2"
        assert (store.calls["put"], store.calls["copy"]) == (1, 0)


async def test_flush_does_not_wait(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, delay=1000) as world:
        await close(world, "dir/a", b"1")
        await close(world, "b", b"2")
        begun = trio.current_time()
        await world.write_back.flush(at("dir/"))
        assert memory.contents() == {"dir/a": b"1"}
        await world.write_back.flush()
        assert set(memory.contents()) == {"dir/a", "b"}
        assert trio.current_time() - begun < 1


async def test_one_name_goes_in_the_order_of_the_closes(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        first = await close(world, "a", b"first")
        await hold.reached.wait()
        second = await close(world, "a", b"second")
        third = await close(world, "a", b"third")
        await wait_all_tasks_blocked()
        assert store.calls["put"] == 1, "one upload of a name at a time"
        results: dict[str, ObjectVersion | None] = {}

        async def settle(sealed: SealedFile, word: str) -> None:
            results[word] = await world.write_back.settle(sealed.staging_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle, first, "first")
            nursery.start_soon(settle, third, "third")
            await wait_all_tasks_blocked()
            hold.release.set()
        assert puts(store) == ["a", "a"], "the second was superseded before it began"
        assert memory.contents() == {"a": b"third"}
        assert results["first"] is not None
        assert results["third"] is not None
        assert await world.write_back.settle(second.staging_id) is None
        assert world.local_files() == []


async def test_a_closer_of_a_superseded_file_waits_for_the_later_one(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store, delay=5) as world:
        first = await close(world, "a", b"first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.settle, first.staging_id)
            await wait_all_tasks_blocked()
            second = await close(world, "a", b"second")
            assert not world.write_back.withdraw(second.staging_id), "the first closer waits for it"
        assert puts(store) == ["a"]


async def test_uploads_are_bounded(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, parallel=3) as world:
        for number in range(12):
            await close(world, f"f{number}", b"x")
        await world.write_back.flush()
    assert store.most_running["put"] <= 3
    assert len(memory.contents()) == 12


# -- withdraw, forget, rename ------------------------------------------------------------------


async def test_withdraw_and_close_again_is_one_upload(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, delay=5) as world:
        sealed = await close(world, "a", b"hello")
        assert world.write_back.withdraw(sealed.staging_id)
        await trio.sleep(60)
        assert store.calls["put"] == 0
        staged = world.staging.reopen(sealed)
        staged.write(5, b" world")
        await world.write_back.submit(staged.seal(at("a"), metadata(), attributes()))
        await world.write_back.flush()
        assert memory.contents() == {"a": b"hello world"}
        assert store.calls["put"] == 1


async def test_what_has_begun_is_not_withdrawn(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        sealed = await close(world, "a", b"x")
        await hold.reached.wait()
        assert not world.write_back.withdraw(sealed.staging_id)
        assert not await world.write_back.rename(sealed.staging_id, at("b"))
        assert not await world.write_back.amend(sealed.staging_id, metadata("9"), attributes())
        hold.release.set()
        assert not world.write_back.withdraw("nobody")


async def test_a_forgotten_file_is_never_sent(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store, delay=5) as world:
        sealed = await close(world, "a", b"x")
        assert await world.write_back.forget(sealed.staging_id) is None
        await trio.sleep(100)
        assert store.calls["put"] == 0
        assert world.local_files() == []
        assert await world.journal.replay() == []
        assert await world.write_back.settle(sealed.staging_id) is None


async def test_forget_waits_out_an_upload(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        sealed = await close(world, "a", b"x")
        await hold.reached.wait()
        versions: list[ObjectVersion | None] = []

        async def forget() -> None:
            versions.append(await world.write_back.forget(sealed.staging_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(forget)
            await wait_all_tasks_blocked()
            assert versions == []
            hold.release.set()
        assert [v.path for v in versions if v] == [at("a")]


async def test_forget_during_an_upload_that_fails_ends_it(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        store.fail("put", Unavailable("no network"), at=1, times=100)
        sealed = await close(world, "a", b"x")
        await hold.reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.forget, sealed.staging_id)
            await wait_all_tasks_blocked()
            hold.release.set()
        await trio.sleep(1000)
        assert store.calls["put"] == 1
        assert world.local_files() == []


async def test_a_forgotten_file_that_is_being_edited_keeps_its_bytes(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store, delay=5) as world:
        sealed = await close(world, "a", b"hello")
        assert world.write_back.withdraw(sealed.staging_id)
        staged = world.staging.reopen(sealed)
        await world.write_back.forget(sealed.staging_id)
        assert staged.pread(ByteRange(0, 5)) == b"hello"
        staged.discard()
        assert world.local_files() == []


async def test_a_rename_takes_the_place_of_what_waits_there(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, delay=5) as world:
        target = await close(world, "target", b"old")
        temporary = await close(world, "target.tmp", b"new")
        assert await world.write_back.rename(temporary.staging_id, at("target"))
        await world.write_back.flush()
        assert memory.contents() == {"target": b"new"}
        assert puts(store) == ["target"]
        assert await world.write_back.settle(target.staging_id) is None


async def test_nothing_begins_under_a_held_name(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        with world.write_back.holding(at("dir/")):
            await close(world, "dir/a", b"x")
            await close(world, "b", b"x")
            await wait_all_tasks_blocked()
            assert puts(store) == ["b"]
        await wait_all_tasks_blocked()
        assert puts(store) == ["b", "dir/a"]


# -- trouble -----------------------------------------------------------------------------------


async def test_trouble_that_passes_is_waited_for(autojump_clock, tmp_path, store, memory):
    store.fail("put", Unavailable("no network"), times=3)
    async with open_world(tmp_path, store) as world:
        sealed = await close(world, "a", b"x")
        assert await world.write_back.settle(sealed.staging_id)
        assert store.calls["put"] == 4
        assert trio.current_time() >= 1 + 2 + 4


async def test_closers_are_patient_for_so_long_and_the_bytes_arrive_later(
    autojump_clock, tmp_path, store, memory
):
    store.fail("put", Unavailable("no network"), times=12)
    async with open_world(tmp_path, store, retry_for=60) as world:
        begun = trio.current_time()
        sealed = await close(world, "a", b"x")
        with pytest.raises(Unavailable):
            await world.write_back.settle(sealed.staging_id)
        assert 60 <= trio.current_time() - begun <= 61
        [pending] = world.write_back.pending()
        assert (pending.state, pending.reason) == (UploadState.QUEUED, "no network")
        await trio.sleep(3600)
        assert memory.contents() == {"a": b"x"}
        assert world.write_back.pending() == []


async def test_a_closer_behind_others_is_not_kept_waiting_for_ever(autojump_clock, tmp_path, store):
    store.fail("put", Unavailable("no network"), times=1)
    async with open_world(tmp_path, store, retry_for=60, parallel=1) as world:
        await close(world, "failing", b"x")
        await trio.sleep(0.1)
        stuck = store.hold("put")
        await close(world, "stuck", b"x")
        await stuck.reached.wait()
        store.fail("put", Unavailable("no network"), times=50)
        behind = await close(world, "behind", b"x")
        begun = trio.current_time()
        with pytest.raises(Unavailable):
            await world.write_back.settle(behind.staging_id)
        assert trio.current_time() - begun <= 66
        stuck.release.set()


async def test_weeks_without_a_network_are_waited_for(autojump_clock, tmp_path, store, memory):
    store.fail("put", Unavailable("no network"), times=2000)
    async with open_world(tmp_path, store) as world:
        await close(world, "a", b"x")
        await trio.sleep(2001 * 300)
        assert memory.contents() == {"a": b"x"}


@pytest.mark.parametrize(
    "error", [OverQuota("cap"), AccessDenied("key"), StoreFailure("?"), CorruptData("!")]
)
async def test_trouble_that_stays_is_told_at_once_and_tried_by_flush(
    autojump_clock, tmp_path, store, memory, error
):
    store.fail("put", error)
    async with open_world(tmp_path, store) as world:
        sealed = await close(world, "a", b"x")
        with pytest.raises(type(error)):
            await world.write_back.settle(sealed.staging_id)
        [pending] = world.write_back.pending()
        assert (pending.state, pending.reason) == (UploadState.FAILED, str(error))
        await trio.sleep(10_000)
        assert store.calls["put"] == 1
        await world.write_back.flush()
        assert memory.contents() == {"a": b"x"}


async def test_what_is_being_flushed_is_not_withdrawn(tmp_path, store, memory):
    """Else whoever flushes would wait for the next close of a file that was closed."""
    async with open_world(tmp_path, store, delay=3600, parallel=1) as world:
        for key in ("a", "b"):
            await world.write_back.submit(world.sealed(key, b"x"))
        hold = store.hold("put")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.flush)
            await hold.reached.wait()
            waiting = [each for each in world.write_back.pending() if each.state is UploadState.QUEUED]
            assert [world.write_back.withdraw(each.staging_id) for each in waiting] == [False]
            hold.release.set()
        assert memory.contents() == {"a": b"x", "b": b"x"}
        assert not world.write_back.pending()


async def test_what_fails_while_the_next_is_recorded_is_not_sent_after_it(
    autojump_clock, tmp_path, store, memory, monkeypatch
):
    first, recording = store.hold("put"), Hold()
    store.fail("put", Unavailable("out of reach"))
    append = Journal.append

    async def slow(
        self: Journal, sealed: SealedFile, state: str, replaces: Sequence[SealedFile], above: Iterable[str]
    ) -> None:
        if sealed.size == 5:
            recording.reached.set()
            await recording.release.wait()
        await append(self, sealed, state, replaces, above)

    monkeypatch.setattr(Journal, "append", slow)
    async with open_world(tmp_path, store) as world:
        await world.write_back.submit(world.sealed("a", b"old"))
        await first.reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.submit, world.sealed("a", b"newer"))
            await recording.reached.wait()
            first.release.set()
            await wait_all_tasks_blocked()
            recording.release.set()
        await trio.sleep(100)
        assert memory.contents() == {"a": b"newer"}
        assert not world.write_back.pending()
        assert store.calls["put"] == 2


async def test_flush_tries_all_and_raises_the_first_error(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, delay=5) as world:
        for key in "abc":
            await close(world, key, b"x")
        store.fail("put", OverQuota("cap"))
        with pytest.raises(OverQuota):
            await world.write_back.flush()
        assert len(memory.contents()) == 2


async def test_something_unexpected_fails_one_upload_only(autojump_clock, tmp_path, store, memory):
    store.fail("put", KeyError("bug"))
    async with open_world(tmp_path, store) as world:
        sealed = await close(world, "a", b"x")
        with pytest.raises(StoreFailure):
            await world.write_back.settle(sealed.staging_id)
        await world.write_back.settle((await close(world, "b", b"x")).staging_id)
        assert set(memory.contents()) == {"b"}


async def test_a_failed_file_can_be_edited_and_closed_again(autojump_clock, tmp_path, store, memory):
    store.fail("put", OverQuota("cap"))
    async with open_world(tmp_path, store) as world:
        sealed = await close(world, "a", b"x")
        with pytest.raises(OverQuota):
            await world.write_back.settle(sealed.staging_id)
        assert world.write_back.withdraw(sealed.staging_id)
        staged = world.staging.reopen(sealed)
        staged.write(1, b"y")
        await world.write_back.submit(staged.seal(at("a"), metadata(), attributes()))
        await world.write_back.settle(sealed.staging_id)
        assert memory.contents() == {"a": b"xy"}


# -- generations -------------------------------------------------------------------------------


async def test_a_generation_on_one_that_is_under_way(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        first = await close(world, "a", b"hello")
        await hold.reached.wait()
        staged = world.new(base=first, size=5)
        staged.write(0, b"J")
        second = staged.seal(at("a"), metadata(), attributes())
        await world.write_back.submit(second)
        hold.release.set()
        await world.write_back.settle(second.staging_id)
        assert memory.contents() == {"a": b"Jello"}
        del staged
        assert world.local_files() == []


async def test_a_generation_on_one_that_fails_is_sent_in_its_place(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold = store.hold("put")
        store.fail("put", OverQuota("cap"))
        first = await close(world, "a", b"hello")
        await hold.reached.wait()
        staged = world.new(base=first, size=5)
        staged.write(0, b"J")
        second = staged.seal(at("a"), metadata(), attributes())
        await world.write_back.submit(second)
        hold.release.set()
        await world.write_back.settle(second.staging_id)
        assert memory.contents() == {"a": b"Jello"}
        assert store.calls["put"] == 2
        assert world.local_files() == []


async def stacked(
    world: World, store: FaultyStore, error: Exception | None = None
) -> tuple[Hold, SealedFile]:
    """A generation that waits on one whose upload has begun, and will fail with `error`."""
    hold = store.hold("put")
    if error is not None:
        store.fail("put", error)
    first = await close(world, "a", b"hello")
    await hold.reached.wait()
    staged = world.new(base=first, size=5)
    staged.write(0, b"J")
    second = staged.seal(at("a"), metadata(), attributes())
    await world.write_back.submit(second)
    return hold, second


async def test_a_rename_waits_for_the_generation_below(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold, second = await stacked(world, store)
        results: list[bool] = []

        async def rename() -> None:
            results.append(await world.write_back.rename(second.staging_id, at("b")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rename)
            await wait_all_tasks_blocked()
            assert results == [], "else the old name would come up after the rename"
            hold.release.set()
        assert results == [True]
        await world.write_back.flush()
        assert memory.contents() == {"a": b"hello", "b": b"Jello"}, "the caller hides the old name now"
        assert puts(store) == ["a", "b"]


async def test_a_forgotten_file_does_not_come_up_from_below(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold, second = await stacked(world, store)
        versions: list[ObjectVersion | None] = []

        async def forget() -> None:
            versions.append(await world.write_back.forget(second.staging_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(forget)
            await wait_all_tasks_blocked()
            assert versions == [], "else the name would come up after it was removed"
            hold.release.set()
        assert [v.size for v in versions if v] == [5]
        await trio.sleep(1000)
        assert puts(store) == ["a"]
        assert world.local_files() == []
        assert await world.journal.replay() == []


async def test_a_forgotten_file_does_not_come_up_from_below_later(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        hold, second = await stacked(world, store, Unavailable("no network"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.forget, second.staging_id)
            await wait_all_tasks_blocked()
            hold.release.set()
        await trio.sleep(1000)
        assert memory.contents() == {}
        assert world.local_files() == []
        assert await world.journal.replay() == []


async def test_a_checkpoint_is_not_sent(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        staged = world.new(b"hello")
        await world.write_back.checkpoint(staged.seal(at("a"), metadata(), attributes()))
        await trio.sleep(1000)
        await world.write_back.flush()
        assert store.calls["put"] == 0
        assert world.write_back.pending() == []
        assert len(await world.journal.replay()) == 1


# -- the next mount ----------------------------------------------------------------------------


async def test_what_was_not_sent_is_sent_by_the_next_mount(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, running=False) as world:
        await close(world, "closed", b"closed")
        staged = world.new(b"synced")
        await world.write_back.checkpoint(staged.seal(at("synced"), metadata(), attributes()))
        world.new(b"never acknowledged")
    async with open_world(tmp_path, store) as world:
        found = await world.write_back.recover()
        assert [sealed.path for sealed in found] == [at("closed"), at("synced")]
        assert len(world.local_files()) == 2, "the one without a record is gone"
        await world.write_back.flush()
        assert memory.contents() == {"closed": b"closed", "synced": b"synced"}
        assert world.local_files() == []


async def test_a_stack_of_generations_is_recovered(autojump_clock, tmp_path, store, memory):
    base = memory.seed(at("a"), b"0123456789")
    async with open_world(tmp_path, store, running=False) as world:
        low = world.new(base=base, size=10)
        low.write(1, b"L")
        first = low.seal(at("a"), metadata(), attributes())
        await world.write_back.submit(first)
        high = world.new(base=first, size=10)
        high.write(3, b"H")
        await world.write_back.submit(high.seal(at("a"), metadata(), attributes()))
    async with open_world(tmp_path, store) as world:
        found = await world.write_back.recover()
        assert len(found) == 1, "the lower one was superseded"
        assert len(world.local_files()) == 2, "but its bytes are needed"
        await world.write_back.flush()
        assert memory.contents() == {"a": b"0L2H456789"}
        assert world.local_files() == []


@pytest.mark.parametrize("harm", ["remove", "cut"])
async def test_missing_bytes_are_reported(autojump_clock, tmp_path, store, memory, harm, caplog):
    async with open_world(tmp_path, store, running=False) as world:
        sealed = await close(world, "bad", b"hello")
        await close(world, "good", b"hello")
        path = world.staging.directory / sealed.staging_id
        path.unlink() if harm == "remove" else path.write_bytes(b"he")
    caplog.set_level(logging.CRITICAL, "b2mount.writing.recorder")
    async with open_world(tmp_path, store) as world:
        assert [s.path.key for s in await world.write_back.recover()] == ["good"]
        [bad] = [p for p in world.write_back.pending() if p.path.key == "bad"]
        assert bad.state is UploadState.FAILED
        assert bad.reason is not None
        assert "staged bytes" in bad.reason
        with pytest.raises(CorruptData):
            await world.write_back.flush()
        assert memory.contents() == {"good": b"hello"}
        await world.write_back.forget(sealed.staging_id)
        assert world.write_back.pending() == []


@pytest.mark.parametrize("text", ["", "{}", '{"staging_id": "x"}', "[1, 2", "null"])
async def test_a_record_that_nobody_can_read_stays_with_its_bytes(
    autojump_clock, tmp_path, store, memory, caplog, text
):
    async with open_world(tmp_path, store, running=False) as world:
        sealed = await close(world, "odd", b"hello")
        await close(world, "good", b"hello")
    change(tmp_path, "UPDATE files SET record = ? WHERE staging_id = ?", text, sealed.staging_id)
    caplog.set_level(logging.CRITICAL, "b2mount.writing.journal")
    async with open_world(tmp_path, store) as world:
        assert [s.path.key for s in await world.write_back.recover()] == ["good"]
        await world.write_back.flush()
        assert memory.contents() == {"good": b"hello"}
        assert world.local_files() == [sealed.staging_id], "a later version may know better"
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        assert connection.execute("SELECT record FROM files").fetchall() == [(text,)]


async def test_renames_that_nobody_can_read_stop_nothing(autojump_clock, tmp_path, store, memory, caplog):
    async with open_world(tmp_path, store, running=False):
        pass
    insert = "INSERT INTO moves (version, bucket, key, begun_ms) VALUES (?, 'bucket', 'b', 1)"
    change(tmp_path, insert, "{}")
    caplog.set_level(logging.CRITICAL, "b2mount.writing.journal")
    async with open_world(tmp_path, store) as world:
        await world.mover.replay()
        assert (await world.write_back.settle((await close(world, "a", b"x")).staging_id)) is not None


def change(directory: Path, sql: str, *values: str) -> None:
    with sqlite3.connect(directory / "journal.db") as connection:
        connection.execute(sql, values)


async def test_what_arrived_before_the_crash_is_recognised(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, running=False) as world:
        await close(world, "a", b"hello", "77")
    memory.seed(at("a"), b"hello", {"src_last_modified_millis": "77"})
    async with open_world(tmp_path, store) as world:
        await world.write_back.recover()
        await world.write_back.flush()
    assert store.calls["put"] == 0
    assert memory.contents() == {"a": b"hello"}


async def test_a_missing_base_is_a_clear_failure(autojump_clock, tmp_path, store, memory):
    base = memory.seed(at("a"), b"0123456789")
    async with open_world(tmp_path, store) as world:
        await memory.delete_version(base)
        staged = world.new(base=base, size=10)
        staged.write(0, b"x")
        sealed = staged.seal(at("a"), metadata(), attributes())
        await world.write_back.submit(sealed)
        with pytest.raises(B2MountError, match="B2 has it no more"):
            await world.write_back.settle(sealed.staging_id)
        assert world.write_back.pending()[0].state is UploadState.FAILED


async def test_a_journal_that_cannot_be_written_fails_the_close_and_nothing_else(
    autojump_clock, tmp_path, store, memory, monkeypatch
):
    async with open_world(tmp_path, store) as world:
        staged = world.new(b"hello")
        sealed = staged.seal(at("a"), metadata(), attributes())
        monkeypatch.setattr(world.journal, "_connection", None)
        with pytest.raises(StoreFailure):
            await world.write_back.submit(sealed)
        monkeypatch.undo()
        assert world.write_back.pending() == []
        staged.write(5, b"!")
        again = staged.seal(at("a"), metadata(), attributes())
        await world.write_back.submit(again)
        await world.write_back.settle(again.staging_id)
        assert memory.contents() == {"a": b"hello!"}


async def test_cancelling_run_leaves_everything_in_the_journal(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store, running=False) as world:
        hold = store.hold("put")
        await close(world, "a", b"hello")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
        assert [p.state for p in world.write_back.pending()] == [UploadState.QUEUED]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.write_back.run)
            await world.write_back.flush()
            nursery.cancel_scope.cancel()
        assert memory.contents() == {"a": b"hello"}


async def test_a_cancelled_closer_leaves_no_trace(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store, delay=50) as world:
        sealed = await close(world, "a", b"x")
        with trio.move_on_after(1):
            await world.write_back.settle(sealed.staging_id)
        assert world.write_back.withdraw(sealed.staging_id)


async def test_concurrent_closes_share_transactions(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store, running=False) as world:
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(partial(close, world, f"f{number}", b"x"))
        assert len(world.write_back.pending()) == 40
        assert len(await world.journal.replay()) == 40

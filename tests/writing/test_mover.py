from __future__ import annotations

import logging
import time
from types import MappingProxyType

import pytest
import trio
import trio.testing

from b2mount.errors import (
    AccessDenied,
    NotAuthorized,
    NotPermitted,
    OverQuota,
    StoreFailure,
    Unavailable,
)
from b2mount.model import ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.writing import object_copies, upload_plan
from b2mount.writing.mover import MoveIncomplete
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import at, open_world

REFUSALS = [OverQuota("cap"), AccessDenied("no right"), NotAuthorized("no key"), StoreFailure("refused")]


def seeded(memory: MemoryStore, count: int = 3) -> list[tuple[ObjectVersion, ObjectPath]]:
    return [
        (memory.seed(at(f"old/{n}"), b"%d" % n, {"src_last_modified_millis": str(n)}), at(f"new/{n}"))
        for n in range(count)
    ]


async def test_objects_are_copied_and_their_old_names_hidden(tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        versions = await world.mover.move(seeded(memory, 40))
        assert [v.path for v in versions] == [at(f"new/{n}") for n in range(40)]
        assert memory.contents() == {f"new/{n}": b"%d" % n for n in range(40)}
        assert versions[7].info == {"src_last_modified_millis": "7"}
        assert store.most_running["copy"] > 1
        assert await world.journal.moves() == []
        assert await world.mover.move([]) == []


async def test_a_single_failure_is_its_own_error(tmp_path, store, memory):
    store.fail("copy", OverQuota("cap"))
    async with open_world(tmp_path, store) as world:
        with pytest.raises(OverQuota):
            await world.mover.move(seeded(memory, 1))
        assert memory.contents() == {"old/0": b"0"}
        assert await world.journal.moves() == []


async def test_the_caller_learns_what_was_moved(tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        moves = seeded(memory)
        store.fail("copy", OverQuota("cap"), at=2)
        with pytest.raises(MoveIncomplete, match="1 of 3 not moved") as caught:
            await world.mover.move(moves)
        [(failed, reason)] = caught.value.failed.items()
        assert isinstance(reason, OverQuota)
        assert set(caught.value.moved) == {version.path for version, _ in moves} - {failed}
        assert set(memory.contents()) == {failed.key} | {v.path.key for v in caught.value.moved.values()}


async def test_a_name_that_cannot_be_hidden_is_not_doubled(tmp_path, store, memory):
    store.fail("hide", NotPermitted("held"))
    async with open_world(tmp_path, store) as world:
        with pytest.raises(NotPermitted):
            await world.mover.move(seeded(memory, 1))
        assert memory.contents() == {"old/0": b"0"}


async def test_a_hide_that_was_heard_without_an_answer_leaves_the_new_name(tmp_path, store, memory):
    store.fail("hide", Unavailable("no answer"), after=True)
    async with open_world(tmp_path, store) as world:
        [version] = await world.mover.move(seeded(memory, 1))
        assert version.path == at("new/0")
        assert memory.contents() == {"new/0": b"0"}
        assert await world.journal.moves() == []


async def test_when_nothing_can_be_known_both_names_stay_and_the_next_mount_finishes(tmp_path, store, memory):
    store.fail("hide", Unavailable("no answer"))
    store.fail("stat", Unavailable("no answer"))
    async with open_world(tmp_path, store) as world:
        with pytest.raises(Unavailable):
            await world.mover.move(seeded(memory, 1))
        assert memory.contents() == {"old/0": b"0", "new/0": b"0"}
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}


async def test_large_objects_go_by_parts(tmp_path, store, memory, monkeypatch):
    monkeypatch.setattr(object_copies, "COPY_LIMIT", 10 * 10**6)
    monkeypatch.setattr(upload_plan, "COPY_LIMIT", 10 * 10**6)
    monkeypatch.setattr(upload_plan, "SINGLE_PUT_LIMIT", 10 * 10**6)
    data = bytes(11 * 10**6)
    version = memory.seed(at("old"), data, {"large_file_sha1": "ab"})
    async with open_world(tmp_path, store) as world:
        [moved] = await world.mover.move([(version, at("new"))])
    assert memory.contents() == {"new": data}
    assert (store.calls["copy"], store.calls["copy_part"]) == (0, 2)
    assert moved.info == version.info


@pytest.mark.parametrize("info", [{}, {"large_file_sha1": "ab"}, {"src_last_modified_millis": "1"}])
async def test_a_large_copy_cancels_no_unfinished_upload_that_may_be_of_others(
    tmp_path, store, memory, monkeypatch, info
):
    """Only what says the same time is its own of an earlier process; S3 programs may say nothing."""
    monkeypatch.setattr(object_copies, "COPY_LIMIT", 10 * 10**6)
    monkeypatch.setattr(upload_plan, "COPY_LIMIT", 10 * 10**6)
    version = memory.seed(at("old"), bytes(11 * 10**6), info)
    theirs = await memory.start_multipart(at("new"), ObjectMetadata("b2/x-auto", {}))
    same = await memory.start_multipart(at("new"), ObjectMetadata("b2/x-auto", info))
    async with open_world(tmp_path, store) as world:
        await world.mover.move([(version, at("new"))])
    left = {upload.upload_id for upload in await memory.list_unfinished("bucket", "")}
    is_own = "src_last_modified_millis" in info
    assert left == ({theirs.upload_id} if is_own else {theirs.upload_id, same.upload_id})


async def interrupted(tmp_path, store, memory, verb: str, *, after: bool, over=MappingProxyType({})) -> None:
    """A move of old/0 that is cut off at a verb."""
    async with open_world(tmp_path, store) as world:
        hold = store.hold(verb, after=after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.move, seeded(memory, 1), (), over)
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
        assert len(await world.journal.moves()) == 1


async def replayed(tmp_path, store) -> None:
    async with open_world(tmp_path, store) as world:
        await world.mover.replay()
        assert await world.journal.moves() == []


@pytest.mark.parametrize(
    ("verb", "after", "copies"),
    [
        ("copy", False, 2),
        ("copy", True, 1),
        ("hide", False, 1),
        ("hide", True, 1),
    ],
)
async def test_the_next_mount_finishes_it(tmp_path, store, memory, verb, after, copies):
    await interrupted(tmp_path, store, memory, verb, after=after)
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}
    assert store.calls["copy"] == copies, "what was copied is recognised"
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}


async def test_a_destination_that_somebody_wrote_since_is_left_alone(tmp_path, store, memory, caplog):
    caplog.set_level(logging.ERROR, "b2mount.writing.mover")
    await interrupted(tmp_path, store, memory, "copy", after=False)
    await trio.sleep(0.01)
    memory.seed(at("new/0"), b"theirs")
    await replayed(tmp_path, store)
    assert memory.contents() == {"old/0": b"0", "new/0": b"theirs"}


async def test_a_destination_that_was_there_before_is_replaced(tmp_path, memory, store):
    memory.seed(at("new/0"), b"older")
    await trio.sleep(0.01)
    await interrupted(tmp_path, store, memory, "copy", after=False)
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}


async def test_what_is_known_to_have_been_there_is_replaced_whatever_the_clocks_say(tmp_path):
    memory = MemoryStore(now_ms=lambda: time.time_ns() // 1_000_000 + 3_600_000)
    store = FaultyStore(memory)
    before = memory.seed(at("new/0"), b"older")
    await interrupted(tmp_path, store, memory, "copy", after=False, over={at("new/0"): before.version_id})
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}


async def test_a_source_that_was_replaced_since_stays(tmp_path, store, memory):
    await interrupted(tmp_path, store, memory, "hide", after=False)
    memory.seed(at("old/0"), b"newer")
    await replayed(tmp_path, store)
    assert memory.contents() == {"old/0": b"newer", "new/0": b"0"}


async def test_a_source_that_was_removed_since_stays_away(tmp_path, store, memory):
    await interrupted(tmp_path, store, memory, "copy", after=False)
    await memory.hide(at("old/0"))
    await replayed(tmp_path, store)
    assert memory.contents() == {}


async def test_replay_waits_for_b2(autojump_clock, tmp_path, store, memory, caplog):
    caplog.set_level(logging.ERROR, "b2mount.writing.mover")
    await interrupted(tmp_path, store, memory, "copy", after=False)
    store.fail("stat", Unavailable("no network"), times=5)
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}
    assert trio.current_time() > 10


async def test_an_old_name_that_was_written_again_is_not_hidden(tmp_path, store, memory):
    """A large file of that name, begun before, would come in beneath what hides it."""
    await interrupted(tmp_path, store, memory, "hide", after=False)
    async with open_world(tmp_path, store, delay=3600) as world:
        await world.write_back.submit(world.sealed("old/0", b"newer"))
    await replayed(tmp_path, store)
    assert store.calls["hide"] == 1, "the one that was cut off"
    async with open_world(tmp_path, store) as world:
        await world.write_back.recover()
        await world.write_back.flush()
    assert memory.contents() == {"old/0": b"newer", "new/0": b"0"}


@pytest.mark.parametrize("verb", ["stat", "copy", "hide"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=type)
async def test_what_b2_refuses_is_done_by_a_later_mount(
    tmp_path, store, memory, expect_warning, verb, refusal
):
    """A cap is lifted, a key gets its rights back: until then mounts work, and the rename is on record."""
    expect_warning("1 renames that an earlier mount began are not done")
    await interrupted(tmp_path, store, memory, "copy", after=False)
    store.fail(verb, refusal, at=2 if verb == "stat" else 1)
    async with open_world(tmp_path, store) as world:
        with trio.fail_after(5):
            await world.mover.replay()
        assert [record.destination for record in await world.journal.moves()] == [at("new/0")]
        assert {version.path for version in world.mover.in_use()} == {at("old/0")}, "nobody removes it"
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"0"}


async def test_of_a_whole_directory_that_is_refused_the_log_says_one_line(
    tmp_path, store, memory, expect_warning, caplog
):
    expect_warning("40 renames that an earlier mount began are not done")
    async with open_world(tmp_path, store) as world:
        holds = [store.hold("copy", at=n) for n in range(1, 17)]  # as many as there are at once
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.move, seeded(memory, 40))
            await holds[0].reached.wait()
            nursery.cancel_scope.cancel()
    store.fail("copy", OverQuota("cap"), times=40)
    async with open_world(tmp_path, store) as world:
        await world.mover.replay()
        asked = sum(store.calls.values())
        await trio.testing.wait_all_tasks_blocked()
        assert sum(store.calls.values()) == asked, "nobody tries on and on"
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == {f"new/{n}": b"%d" % n for n in range(40)}


async def test_one_that_is_refused_does_not_keep_the_others(tmp_path, store, memory, expect_warning):
    expect_warning("1 renames that an earlier mount began are not done")
    async with open_world(tmp_path, store) as world:
        holds = [store.hold("copy", at=n) for n in range(1, 4)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.move, seeded(memory, 3))
            await holds[2].reached.wait()
            nursery.cancel_scope.cancel()
    store.fail("copy", AccessDenied("not this one"), at=2)
    async with open_world(tmp_path, store) as world:
        await world.mover.replay()
        assert len(await world.journal.moves()) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == {f"new/{n}": b"%d" % n for n in range(3)}


@pytest.mark.parametrize("verb", ["stat", "copy"])
async def test_what_is_to_get_its_name_back_gets_it_from_a_later_mount(
    tmp_path, store, memory, expect_warning, verb
):
    """By then what it was to replace has been sent over the copy under the new name."""
    expect_warning("1 renames that an earlier mount began are not done")
    store.fail("hide", Unavailable("no answer"), after=True)
    store.fail("stat", Unavailable("no answer"))
    async with open_world(tmp_path, store, delay=3600) as world:
        unsent = world.sealed("new/0", b"unsent")
        await world.write_back.submit(unsent)
        with pytest.raises(Unavailable):
            await world.mover.move(seeded(memory, 1), [unsent])
    assert memory.contents() == {"new/0": b"0"}
    store.fail(verb, OverQuota("cap"))
    async with open_world(tmp_path, store) as world:
        await world.mover.replay()
        await world.write_back.recover()
        await world.write_back.flush()
    assert memory.contents() == {"new/0": b"unsent"}
    await replayed(tmp_path, store)
    assert memory.contents() == {"new/0": b"unsent", "old/0": b"0"}


async def test_an_old_name_that_was_given_again_is_not_given_back(tmp_path, store, memory, expect_warning):
    expect_warning("1 renames that an earlier mount began are not done")
    store.fail("hide", Unavailable("no answer"), after=True)
    store.fail("stat", Unavailable("no answer"))
    async with open_world(tmp_path, store, delay=3600) as world:
        unsent = world.sealed("new/0", b"unsent")
        await world.write_back.submit(unsent)
        with pytest.raises(Unavailable):
            await world.mover.move(seeded(memory, 1), [unsent])
    store.fail("copy", OverQuota("cap"))
    async with open_world(tmp_path, store, delay=3600) as world:
        await world.mover.replay()
        await world.write_back.recover()
        await world.write_back.submit(world.sealed("old/0", b"another"))
    await replayed(tmp_path, store)
    async with open_world(tmp_path, store) as world:
        await world.write_back.recover()
        await world.write_back.flush()
    assert memory.contents() == {"new/0": b"unsent", "old/0": b"another"}
    assert store.calls["copy"] == 2, "and nothing was copied to there"


@pytest.mark.parametrize("refusal", [OverQuota("cap"), NotAuthorized("no key"), AccessDenied("no")], ids=type)
async def test_a_copy_that_could_not_be_removed_goes_when_b2_allows_it(
    autojump_clock, tmp_path, store, memory, refusal
):
    """The old name could not be hidden, and the copy not be removed either."""
    store.fail("hide", refusal)
    store.fail("delete_version", refusal, times=3)
    memory.seed(at("new/0"), b"before")
    async with open_world(tmp_path, store) as world, trio.open_nursery() as nursery:
        with pytest.raises(type(refusal)):
            await world.mover.move(seeded(memory, 1))
        assert memory.contents() == {"old/0": b"0", "new/0": b"0"}
        paid = trio.Event()
        nursery.start_soon(world.mover.run, paid.set)
        with trio.fail_after(3600):
            await paid.wait()
        assert memory.contents() == {"old/0": b"0", "new/0": b"before"}
        nursery.cancel_scope.cancel()

from __future__ import annotations

import logging
import time
from types import MappingProxyType

import pytest
import trio

from b2mount.errors import NotPermitted, OverQuota, Unavailable
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.writing import upload_plan, uploader
from b2mount.writing.mover import MoveIncomplete
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import at, open_world


@pytest.fixture
def memory():
    return MemoryStore()


@pytest.fixture
def store(memory):
    return FaultyStore(memory)


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
    monkeypatch.setattr(uploader, "COPY_LIMIT", 10 * 10**6)
    monkeypatch.setattr(upload_plan, "COPY_LIMIT", 10 * 10**6)
    monkeypatch.setattr(upload_plan, "SINGLE_PUT_LIMIT", 10 * 10**6)
    data = bytes(11 * 10**6)
    version = memory.seed(at("old"), data, {"large_file_sha1": "ab"})
    async with open_world(tmp_path, store) as world:
        [moved] = await world.mover.move([(version, at("new"))])
    assert memory.contents() == {"new": data}
    assert (store.calls["copy"], store.calls["copy_part"]) == (0, 2)
    assert moved.info == version.info


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

"""Objects change places: all of them or none, whatever fails and wherever the process dies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import AccessDenied, B2MountError, NotAuthorized, OverQuota, StoreFailure, Unavailable
from b2mount.model import ByteSource, Literal, ObjectMetadata, ObjectPath
from b2mount.writing.exchanger import Swap, swaps_of
from b2mount.writing.journal import Journal
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import World, at, open_world

REFUSALS = [OverQuota("cap"), AccessDenied("no right"), NotAuthorized("no key"), StoreFailure("refused")]
BEFORE = {"a/1": b"one", "a/2": b"two", "b/1": b"other", "c": b"alone"}
AFTER = {"b/1": b"one", "b/2": b"two", "a/1": b"other", "c": b"alone"}


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


def seeded(memory: MemoryStore) -> list[Swap]:
    """a/ and b/ are to change places."""
    versions = {key: memory.seed(at(key), data, {"mark": key}) for key, data in BEFORE.items()}
    new = {"a/1": "b/1", "a/2": "b/2", "b/1": "a/1"}
    return swaps_of([(versions[old], at(key)) for old, key in new.items()])


async def recorded(world: World) -> int:
    return len(await world.journal.read("SELECT id FROM exchanges"))


async def replayed(path: Path, store: FaultyStore) -> None:
    async with open_world(path, store) as world:
        await world.mover.replay()
        assert await recorded(world) == 0


async def test_objects_change_places(tmp_path: Path, store: FaultyStore, memory: MemoryStore) -> None:
    async with open_world(tmp_path, store) as world:
        versions = await world.mover.exchange(seeded(memory))
        assert [version.path.key for version in versions] == ["b/1", "b/2", "a/1"]
        assert memory.contents() == AFTER
        assert (store.calls["copy"], store.calls["hide"]) == (3, 1)
        assert await recorded(world) == 0


async def test_what_could_not_be_recorded_is_not_open(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would believe what B2 says of these names, for the life of the mount."""
    swaps, before = seeded(memory), memory.contents()

    async def full(_self: Journal, _statements: object) -> None:
        raise OSError("the disk is full")

    async with open_world(tmp_path, store) as world:
        monkeypatch.setattr(Journal, "write", full)
        with pytest.raises(OSError, match="full"):
            await world.mover.exchange(swaps)
        assert not any(world.mover.is_open(swap.destination) for swap in swaps)
        monkeypatch.undo()
    assert memory.contents() == before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("verb", "number"), [("copy", 1), ("copy", 2), ("copy", 3), ("hide", 1)])
async def test_the_next_mount_finishes_it(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, verb: str, number: int, *, after: bool
) -> None:
    async with open_world(tmp_path, store) as world:
        hold = store.hold(verb, at=number, after=after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.exchange, seeded(memory))
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
        assert await recorded(world) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == AFTER
    await replayed(tmp_path, store)
    assert memory.contents() == AFTER


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("error", "after"), [(OverQuota("cap"), False), (Unavailable("lost"), False), (Unavailable("lost"), True)]
)
async def test_all_or_nothing(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, number: int, error: B2MountError, *, after: bool
) -> None:
    swaps = seeded(memory)
    store.fail("copy", error, at=number, after=after)
    async with open_world(tmp_path, store) as world:
        with pytest.raises(type(error)):
            await world.mover.exchange(swaps)
        assert memory.contents() == BEFORE
        assert await recorded(world) == 0
        await world.mover.exchange(swaps)
        assert memory.contents() == AFTER


async def test_the_next_mount_goes_on_taking_it_back(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("could not be taken back yet")
    async with open_world(tmp_path, store) as world:
        swaps = seeded(memory)
        store.fail("copy", OverQuota("cap"), at=3)
        store.fail("delete_version", Unavailable("no network"), times=2)
        with pytest.raises(OverQuota):
            await world.mover.exchange(swaps)
        with pytest.raises(Unavailable):  # the same names again, which are in no state for it
            await world.mover.exchange(swaps)
        assert await recorded(world) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == BEFORE


@pytest.mark.parametrize("hours", [-1, 1])
async def test_what_had_no_reply_is_taken_back_late_whatever_the_clocks_say(
    tmp_path: Path, hours: int, expect_warning
) -> None:
    expect_warning("could not be taken back yet")
    memory = MemoryStore(now_ms=lambda: time.time_ns() // 1_000_000 + hours * 3_600_000)
    store = FaultyStore(memory)
    async with open_world(tmp_path, store) as world:
        store.fail("copy", Unavailable("lost"), at=3, after=True)
        store.fail("stat", Unavailable("no network"))
        with pytest.raises(Unavailable):
            await world.mover.exchange(seeded(memory))
        assert await recorded(world) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == BEFORE


async def test_what_was_taken_back_late_does_not_take_what_came_later(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("could not be taken back yet")
    async with open_world(tmp_path, store) as world:
        swaps = seeded(memory)
        store.fail("copy", OverQuota("cap"), at=3)
        store.fail("stat", Unavailable("no network"))
        with pytest.raises(OverQuota):
            await world.mover.exchange(swaps)
        await trio.sleep(0.01)
        await world.mover.move([(swaps[0].source, swaps[0].destination)])
    await replayed(tmp_path, store)
    assert memory.contents()["b/1"] == b"one"


async def test_what_somebody_wrote_since_is_left_alone(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    """And nothing takes the place of what was to be there."""
    expect_warning("keeps its name")
    async with open_world(tmp_path, store) as world:
        hold = store.hold("copy", at=1)
        store.hold("copy", at=2)
        store.hold("copy", at=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.exchange, seeded(memory))
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
    memory.seed(at("b/1"), b"theirs")
    await replayed(tmp_path, store)
    assert memory.contents() == {"a/1": b"one", "b/1": b"theirs", "b/2": b"two", "c": b"alone"}


async def test_what_was_copied_over_what_has_to_stay_is_taken_back(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("keeps its name")
    async with open_world(tmp_path, store) as world:
        one, other = memory.seed(at("a"), b"one", {"n": "1"}), memory.seed(at("b"), b"other", {"n": "2"})
        store.hold("copy", at=1)
        hold = store.hold("copy", at=2, after=True)
        async with trio.open_nursery() as nursery:
            swaps = swaps_of([(one, ObjectPath("bucket", "b")), (other, at("a"))])
            nursery.start_soon(world.mover.exchange, swaps)
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
    memory.seed(at("b"), b"theirs")
    await replayed(tmp_path, store)
    assert memory.contents() == {"a": b"one", "b": b"theirs"}


async def test_what_could_not_get_its_new_name_keeps_its_old_one(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("keeps its name")
    async with open_world(tmp_path, store) as world:
        hold = store.hold("copy", at=1)
        store.hold("copy", at=2)
        store.hold("copy", at=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.exchange, seeded(memory))
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
    memory.seed(at("b/2"), b"theirs")
    await replayed(tmp_path, store)
    assert memory.contents() == {**AFTER, "b/2": b"theirs", "a/2": b"two"}


async def test_an_old_name_that_cannot_be_hidden_is_named(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("is under its old name too")
    store.fail("hide", OverQuota("cap"))
    async with open_world(tmp_path, store) as world:
        await world.mover.exchange(seeded(memory))
        assert memory.contents() == {**AFTER, "a/2": b"two"}


@pytest.mark.parametrize("after", [False, True])
async def test_large_files_too(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, *, after: bool
) -> None:
    """B2 knows no SHA-1 of a large file, but of its copy."""
    upload = await memory.start_multipart(at("large"), ObjectMetadata("text/plain", {"mark": "1"}))
    pieces = [bytes(5 * 10**6), b"end"]
    parts = [await memory.put_part(upload, n, ByteSource((Literal(p),))) for n, p in enumerate(pieces, 1)]
    large = await memory.finish_multipart(upload, [part.sha1 for part in parts])
    assert large.sha1 is None
    small = memory.seed(at("small"), b"x", {})
    before = memory.contents()
    async with open_world(tmp_path, store) as world:
        store.fail("copy", Unavailable("lost"), at=2, after=after)
        with pytest.raises(Unavailable):
            await world.mover.exchange(swaps_of([(large, at("small")), (small, at("large"))]))
        assert memory.contents() == before


async def test_what_is_the_same_on_both_sides_is_exchanged_too(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore
) -> None:
    one, other = memory.seed(at("a"), b"same", {}), memory.seed(at("b"), b"same", {})
    async with open_world(tmp_path, store) as world:
        hold = store.hold("copy", at=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                world.mover.exchange, swaps_of([(one, ObjectPath("bucket", "b")), (other, at("a"))])
            )
            await hold.reached.wait()
            nursery.cancel_scope.cancel()
    await replayed(tmp_path, store)
    assert memory.contents() == {"a": b"same", "b": b"same"}


async def cut_off(path: Path, store: FaultyStore, memory: MemoryStore, copies: int) -> None:
    """An exchange of which so many copies were made."""
    async with open_world(path, store) as world:
        holds = [store.hold("copy", at=n, after=n <= copies) for n in (1, 2, 3)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.mover.exchange, seeded(memory))
            for hold in holds:
                await hold.reached.wait()
            nursery.cancel_scope.cancel()


async def refused(path: Path, store: FaultyStore) -> None:
    """A mount that comes up and can't go on with it."""
    async with open_world(path, store) as world:
        with trio.fail_after(5):
            await world.mover.replay()
        assert await recorded(world) == 1
        assert {version.path.key for version in world.mover.in_use()} == {"a/1", "a/2", "b/1"}
        assert not world.mover.is_open(at("b/1"))


@pytest.mark.parametrize("verb", ["stat", "copy", "hide"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=type)
async def test_what_b2_refuses_is_done_by_a_later_mount(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning, verb: str, refusal: B2MountError
) -> None:
    expect_warning("an exchange of objects is not done")
    await cut_off(tmp_path, store, memory, 1)
    store.fail(verb, refusal)
    await refused(tmp_path, store)
    await replayed(tmp_path, store)
    assert memory.contents() == AFTER


async def test_what_was_written_over_what_was_seen_half_done_costs_nothing_else(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("an exchange of objects is not done")
    expect_warning("keeps its name")
    await cut_off(tmp_path, store, memory, 2)
    store.fail("hide", OverQuota("cap"))
    await refused(tmp_path, store)
    memory.seed(at("b/1"), b"one, edited")
    await replayed(tmp_path, store)
    assert memory.contents() == {"b/1": b"one, edited", "b/2": b"two", "a/1": b"other", "c": b"alone"}


async def test_what_was_removed_after_it_was_seen_half_done_stays_away(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("an exchange of objects is not done")
    await cut_off(tmp_path, store, memory, 3)
    store.fail("hide", OverQuota("cap"))
    await refused(tmp_path, store)
    await memory.hide(at("a/2"))
    await memory.hide(at("b/2"))
    await replayed(tmp_path, store)
    assert memory.contents() == {key: data for key, data in AFTER.items() if key != "b/2"}


@pytest.mark.parametrize("refusal", REFUSALS[:3], ids=type)
async def test_it_is_taken_back_when_b2_allows_it(
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    store: FaultyStore,
    memory: MemoryStore,
    expect_warning,
    refusal: B2MountError,
) -> None:
    """Until then nothing else is renamed, and it stays on record."""
    expect_warning("could not be taken back yet")
    swaps = seeded(memory)
    async with open_world(tmp_path, store) as world, trio.open_nursery() as nursery:
        store.fail("copy", refusal, at=3)
        store.fail("stat", refusal, times=20)
        with pytest.raises(type(refusal)):
            await world.mover.exchange(swaps)
        with pytest.raises(type(refusal)):
            await world.mover.take_back()
        assert await recorded(world) == 1
        back = trio.Event()
        nursery.start_soon(world.mover.run, back.set)
        with trio.fail_after(24 * 3600):
            await back.wait()
        assert trio.current_time() > 3600, "once B2 has said no, it is not asked each minute"
        assert memory.contents() == BEFORE
        assert await recorded(world) == 0
        await world.mover.exchange(swaps)
        nursery.cancel_scope.cancel()


async def test_what_this_mount_can_never_take_back_is_left_to_the_next(
    tmp_path: Path, expect_warning
) -> None:
    """Renames go on meanwhile: they would wait for ever."""
    expect_warning("could not be taken back yet")
    expect_warning("an exchange of objects is not done")
    memory = MemoryStore(capabilities=frozenset({"listFiles", "readFiles", "writeFiles"}))
    store = FaultyStore(memory)
    async with open_world(tmp_path, store) as world:
        store.fail("copy", OverQuota("cap"), at=3)
        store.fail("delete_version", AccessDenied("the key may not"), times=2)
        with pytest.raises(OverQuota):
            await world.mover.exchange(seeded(memory))
        assert await world.mover.take_back()
        assert not await world.mover.take_back()
        world.mover.check_taken_back()
        assert await recorded(world) == 1
    await replayed(tmp_path, store)
    assert memory.contents() == BEFORE


async def test_the_last_copy_of_what_was_removed_meanwhile_is_not_taken_back(
    tmp_path: Path, store: FaultyStore, memory: MemoryStore, expect_warning
) -> None:
    expect_warning("could not be taken back yet")
    swaps = seeded(memory)
    async with open_world(tmp_path, store) as world:
        store.fail("copy", Unavailable("lost"), at=3, after=True)
        store.fail("delete_version", OverQuota("cap"))
        with pytest.raises(Unavailable):
            await world.mover.exchange(swaps)
    assert memory.contents()["b/2"] == b"two"
    await memory.hide(at("a/2"))
    await replayed(tmp_path, store)
    assert memory.contents() == {"a/1": b"one", "b/1": b"other", "b/2": b"two", "c": b"alone"}

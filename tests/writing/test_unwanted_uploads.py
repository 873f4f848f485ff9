"""A file that is removed while it is being sent in parts is not sent to its end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from b2mount.errors import Unavailable
from b2mount.model import ObjectVersion
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.upload_plan import PARALLEL_PARTS
from tests.fakes.faulty_store import FaultyStore, Hold
from tests.writing.world import World, at, attributes, metadata, open_world

SIZE = 100_000_000


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "b2mount.writing.write_back")


async def begun(world: World, store: FaultyStore) -> tuple[SealedFile, list[Hold]]:
    """A file whose first parts are on their way."""
    holds = [store.hold("put_part", at=number) for number in range(1, PARALLEL_PARTS + 1)]
    staged = world.new()
    staged.write(SIZE - 1, b"z")
    sealed = staged.seal(at("a"), metadata(), attributes(SIZE))
    await world.write_back.submit(sealed)
    await holds[-1].reached.wait()
    return sealed, holds


async def note(
    versions: list[ObjectVersion | None],
    call: Callable[[str], Awaitable[ObjectVersion | None]],
    sealed: SealedFile,
) -> None:
    """What a call says of a file in the end."""
    versions.append(await call(sealed.staging_id))


async def test_it_ends_with_the_parts_that_are_under_way(autojump_clock, tmp_path, store, memory):
    async with open_world(tmp_path, store) as world:
        sealed, holds = await begun(world, store)
        versions: list[ObjectVersion | None] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, versions, world.write_back.forget, sealed)
            await wait_all_tasks_blocked()
            assert versions == []
            for hold in holds:
                hold.release.set()
        assert versions == [None]
        await trio.sleep(1000)
        assert store.calls["put_part"] == PARALLEL_PARTS
        assert store.calls["finish_multipart"] == 0
        assert memory.contents() == {}
        assert await memory.list_unfinished("bucket", "") == ()
        assert world.local_files() == []
        assert await world.journal.replay() == []
        assert await world.journal.read("SELECT * FROM large_files") == []


async def test_who_waits_for_it_hears_of_its_end(autojump_clock, tmp_path, store):
    async with open_world(tmp_path, store) as world:
        sealed, holds = await begun(world, store)
        versions: list[ObjectVersion | None] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, versions, world.write_back.settle, sealed)
            nursery.start_soon(world.write_back.forget, sealed.staging_id)
            await wait_all_tasks_blocked()
            for hold in holds:
                hold.release.set()
        assert versions == [None]


@pytest.mark.parametrize("landed", [0, 1, PARALLEL_PARTS])
async def test_it_is_sent_after_all_when_the_removal_is_given_up(
    autojump_clock, tmp_path, store, memory, landed
):
    """As by a signal to `rm`: before the upload has heard of it, when a part of it has, or after."""
    async with open_world(tmp_path, store) as world:
        sealed, holds = await begun(world, store)
        clearing = store.hold("abort_multipart")
        async with trio.open_nursery() as removal:
            removal.start_soon(world.write_back.forget, sealed.staging_id)
            await wait_all_tasks_blocked()
            for hold in holds[:landed]:
                hold.release.set()
            await wait_all_tasks_blocked()
            assert clearing.reached.is_set() == (landed == PARALLEL_PARTS)
            removal.cancel_scope.cancel()
        for hold in (*holds, clearing):
            hold.release.set()
        version = await world.write_back.settle(sealed.staging_id)
        assert version is not None
        assert memory.contents() == {"a": bytes(SIZE - 1) + b"z"}
        assert await memory.list_unfinished("bucket", "") == ()
        assert world.local_files() == []


async def test_what_b2_may_have_finished_is_gone_on_with(tmp_path, store, memory):
    """Else a key that may not delete would leave it in sight, and nobody would know of it to hide it."""
    store.fail("finish_multipart", Unavailable("the reply was lost"), after=True)
    async with open_world(tmp_path, store, running=False) as world:
        staged = world.new()
        staged.write(SIZE - 1, b"z")
        sealed = staged.seal(at("a"), metadata(), attributes(SIZE))
        with pytest.raises(Unavailable):
            await world.uploader.upload(sealed, lambda sent: None)
        version = await world.uploader.upload(sealed, lambda sent: None, lambda: False)
    assert version.path == at("a")
    assert memory.contents() == {"a": bytes(SIZE - 1) + b"z"}

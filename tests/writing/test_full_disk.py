"""The journal on a full disk whose reserve is gone: what B2 has must make room for striking it off."""

from __future__ import annotations

from pathlib import Path

import pytest

from b2mount.writing import journal as journal_module
from b2mount.writing.reserve import Reserve
from b2mount.writing.sealed_file import SealedFile
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import World, at, attributes, metadata, open_world


async def close(world: World, key: str, data: bytes) -> SealedFile:
    sealed = world.sealed(key, data)
    await world.write_back.submit(sealed)
    return sealed


def without_room(monkeypatch: pytest.MonkeyPatch, refusals: list[bool]) -> None:
    """The journal meets a full disk, its reserve gone, as long as the next of `refusals` says so."""
    real = journal_module._transaction

    def transaction(*arguments):
        if refusals and refusals.pop(0):
            raise OSError(28, "full")
        return real(*arguments)

    monkeypatch.setattr(journal_module, "_transaction", transaction)
    monkeypatch.setattr(Reserve, "give_up", lambda _: False)


async def test_an_upload_that_met_a_full_disk_finds_room_at_its_next_try(
    autojump_clock, tmp_path, monkeypatch, expect_warning
):
    expect_warning("trying again")
    store, room = MemoryStore(), [False]

    async def make_room(_needed: int) -> bool:
        room[0] = True
        return True

    async with open_world(tmp_path, store) as world:
        world.staging._make_room = make_room
        real = type(world.uploader).upload

        async def upload(*arguments, **options):
            if not room[0]:
                raise OSError(28, "full")
            return await real(*arguments, **options)

        monkeypatch.setattr(type(world.uploader), "upload", upload)
        sealed = await close(world, "a", b"bytes")
        assert await world.write_back.settle(sealed.staging_id) is not None
    assert store.contents() == {"a": b"bytes"}


async def test_what_b2_has_makes_room_for_striking_it_off(autojump_clock, tmp_path, monkeypatch):
    store = MemoryStore()
    async with open_world(tmp_path, store, delay=10) as world:
        await close(world, "a", b"bytes")
        await close(world, "empty", b"")
        without_room(monkeypatch, [True])
        await world.write_back.flush()
        assert world.local_files() == []
        assert await world.journal.replay() == []
    assert store.contents() == {"a": b"bytes", "empty": b""}


async def test_a_crash_while_what_b2_has_makes_room(autojump_clock, tmp_path, monkeypatch, expect_warning):
    """The next mount knows that B2 has it, also one that can't strike it off yet."""
    store = MemoryStore()
    expect_warning("the journal still lists")
    async with open_world(tmp_path, store, delay=10) as world:
        sealed = await close(world, "a", b"bytes")
        without_room(monkeypatch, [True] * 3)
        await world.write_back.flush()
        assert world.local_files() == [f"{sealed.staging_id}.sent"]
    for left in (1, 0):
        async with open_world(tmp_path, store, running=False) as world:
            assert await world.write_back.recover() == []
            assert world.write_back.pending() == []
            assert len(await world.journal.replay()) == left
            assert len(world.local_files()) == left
    assert list(store.contents()) == ["a"]


async def test_bytes_that_a_younger_record_needs_make_no_room(
    autojump_clock, tmp_path, monkeypatch, expect_warning
):
    store = MemoryStore()
    expect_warning("the journal still lists")
    async with open_world(tmp_path, store, delay=10) as world:
        low = await close(world, "a", b"0123456789")
        high = world.new(base=low, size=10)
        high.write(0, b"x")
        await world.write_back.checkpoint(high.seal(at("a"), metadata(), attributes(10)))
        without_room(monkeypatch, [True] * 9)
        await world.write_back.flush()
        assert low.fate.version is not None
        assert Path(low.local_path).read_bytes() == b"0123456789"

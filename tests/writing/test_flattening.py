from __future__ import annotations

import random
from pathlib import Path

import pytest

from b2mount.model import ByteRange, ObjectVersion
from b2mount.writing import flattening
from b2mount.writing.flattening import flatten
from b2mount.writing.sealed_file import SealedFile
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import World, at, attributes, metadata, open_world

BASE = bytes(range(1, 101))


async def contents(world: World, sealed: SealedFile) -> bytes:
    async def read_base(version: ObjectVersion, span: ByteRange) -> bytes:
        data = bytearray()
        await world.store.read_range(version, span, data.extend)
        return bytes(data)

    return bytes(await sealed.read(ByteRange(0, sealed.size), read_base))


def seal(
    world: World, base: ObjectVersion | SealedFile | None, data: bytes, at_offset: int, size: int
) -> SealedFile:
    staged = world.new(base=base, size=base.size if base else 0)
    staged.truncate(size)
    if data:
        staged.write(at_offset, data)
    return staged.seal(at("a"), metadata(), attributes(staged.size))


@pytest.mark.parametrize("seed", range(20))
async def test_it_reads_as_before_and_stands_alone(tmp_path: Path, seed: int) -> None:
    dice, store = random.Random(seed), MemoryStore()
    async with open_world(tmp_path, store, running=False) as world:
        below: ObjectVersion | SealedFile = store.seed(at("a"), BASE)
        model = bytearray(BASE)
        for _ in range(flattening.DEEP + dice.randrange(3)):
            size = dice.choice([len(model), len(model), dice.randrange(1, 200)])
            offset, data = dice.randrange(size), dice.randbytes(dice.randrange(5))
            below = seal(world, below, data, offset, size)
            model[size:] = bytes(max(0, size - len(model)))
            model[offset : offset + len(data)] = data
        staged = world.new(base=below, size=below.size)
        staged.write(0, b"top")
        model[:3] = b"top"
        await flatten(staged, world.staging)
        assert isinstance(below, SealedFile)
        assert staged.staging_id in below.fate.users
        sealed = staged.seal(at("a"), metadata(), attributes(staged.size))
        assert await contents(world, sealed) == bytes(model)
        assert not isinstance(sealed.base, SealedFile)
        await world.journal.append(sealed, "sealed")
        await world.staging.remove_strays({sealed.staging_id})
        again = await next_process(world)
        assert await contents(world, again) == bytes(model)


async def next_process(world: World) -> SealedFile:
    (found,) = await world.journal.replay()
    return found


async def test_a_few_generations_are_left_alone(tmp_path: Path) -> None:
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        below = seal(world, None, b"one", 0, 3)
        staged = world.new(base=below, size=3)
        staged.write(0, b"t")
        await flatten(staged, world.staging)
        assert isinstance(staged.base, SealedFile)


async def test_on_a_full_disk_it_stands_as_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives way is asked first; a close does not fail for that."""
    asked: list[int] = []

    async def make_room(needed: int) -> bool:
        asked.append(needed)
        return len(asked) < 3

    def full(*_: object) -> None:
        raise OSError(28, "full")

    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        below: SealedFile | None = None
        for number in range(flattening.DEEP):
            below = seal(world, below, bytes([number]), number, number + 1)
        staged = world.new(base=below, size=flattening.DEEP)
        with monkeypatch.context() as small:
            small.setattr(world.staging, "_make_room", make_room)
            small.setattr(flattening, "_copy", full)
            await flatten(staged, world.staging)
        assert isinstance(staged.base, SealedFile)
        assert len(asked) == 3
        sealed = staged.seal(at("a"), metadata(), attributes(staged.size))
        assert await contents(world, sealed) == bytes(range(flattening.DEEP))
        await flatten(staged, world.staging)
        assert staged.base is None

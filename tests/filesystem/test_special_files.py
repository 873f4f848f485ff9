"""FIFOs, sockets and device nodes: empty objects that say what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from b2mount.errors import AlreadyExists, InvalidArgument, IsADirectory, NameTooLong, StoreFailure
from b2mount.model import AttributeChange, Kind
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, ROOT, World, world

NODES = [(Kind.FIFO, 0), (Kind.SOCKET, 0), (Kind.CHARACTER_DEVICE, 259), (Kind.BLOCK_DEVICE, 0x700)]
each_kind = pytest.mark.parametrize(("kind", "device"), NODES)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def make(w: World, kind: Kind, device: int) -> int:
    return (await w.fs.mknod(ROOT, "n", kind, 0o640, device, ME)).number


def show(w: World, number: int) -> tuple[Kind, int, int, int, int]:
    found = w.fs.getattr(number).attributes
    return found.kind, found.mode, found.uid, found.size, found.device


@each_kind
async def test_a_node_is_what_it_was_made(
    store: MemoryStore, tmp_path: Path, kind: Kind, device: int
) -> None:
    async with world(store, tmp_path / "first") as w:
        number = await make(w, kind, device)
        assert show(w, number) == (kind, 0o640, 1000, 0, device)
        with pytest.raises(AlreadyExists):
            await make(w, kind, device)
    async with world(store, tmp_path / "second") as w:
        assert await w.names() == ["n"]
        assert show(w, (await w.node("n")).number) == (kind, 0o640, 1000, 0, device)


@each_kind
async def test_a_node_is_changed_renamed_and_removed(
    store: MemoryStore, tmp_path: Path, kind: Kind, device: int
) -> None:
    async with world(store, tmp_path / "first") as w:
        number = await make(w, kind, device)
        await w.fs.setattr(number, AttributeChange(mode=0o600, uid=7), size=None, fh=None)
        await w.mkdir("d")
        await w.rename("n", "d/moved")
        assert show(w, number) == (kind, 0o600, 7, 0, device)
    async with world(store, tmp_path / "second") as w:
        assert show(w, (await w.node("d/moved")).number) == (kind, 0o600, 7, 0, device)
        await w.write("file", b"bytes")
        await w.rename("file", "d/moved")
        assert await w.read("d/moved") == b"bytes"
        await w.unlink("d/moved")
        assert await w.names("d") == []


async def test_a_bucket_may_have_no_room_for_a_long_target(tmp_path: Path) -> None:
    store = FaultyStore(MemoryStore())
    async with world(store, tmp_path) as w:
        for target, error in (("t" * 1024, StoreFailure), ("t" * 1025, NameTooLong)):
            store.fail("put", StoreFailure("more than 2,048 bytes"))
            with pytest.raises(error):
                await w.fs.symlink(ROOT, "link", target, ME)
        await w.fs.symlink(ROOT, "link", "t" * 4095, ME)
    async with world(store, tmp_path / "other") as w:
        assert w.fs.readlink((await w.node("link")).number) == "t" * 4095


async def test_a_node_has_no_bytes(store: MemoryStore, tmp_path: Path) -> None:
    async with world(store, tmp_path) as w:
        number = await make(w, Kind.FIFO, 0)
        with pytest.raises(IsADirectory):
            await w.fs.open(number, 0, ME)
        with pytest.raises(InvalidArgument):
            await w.fs.setattr(number, AttributeChange(), size=0, fh=None)

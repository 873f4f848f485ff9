"""Directories whose names get longer, with paths in them that B2 would not take then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from b2mount.errors import NameTooLong
from b2mount.model import ObjectMetadata, ObjectPath
from tests.fakes.memory_store import MemoryStore, literal
from tests.filesystem.world import World, world

DEEP = "/".join(["d", *(sign * 240 for sign in "xyz"), "f" * 200])
LONGER = "e" * 200


async def make_deep(w: World) -> None:
    names = DEEP.split("/")
    for depth in range(1, len(names)):
        await w.mkdir("/".join(names[:depth]))
    await w.write("d/a", b"a")


async def has_not_moved(w: World, store: MemoryStore) -> bool:
    with pytest.raises(NameTooLong):
        await w.rename("d", LONGER)
    await w.fs.flush_path()
    in_b2 = {key for key in store.contents() if not key.startswith("d/")}
    return await w.names() == ["d"] and not in_b2 and not w.fs.pending()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_directory_keeps_its_name_when_a_path_in_it_would_be_too_long(
    tmp_path: Path, *, waits: bool
) -> None:
    store = MemoryStore("bucket")
    async with world(store, tmp_path, waits=waits, delay=0 if waits else 30) as w:
        await make_deep(w)
        await w.write(DEEP, b"deep")
        assert await has_not_moved(w, store)
        assert await w.read(DEEP) == b"deep"
        assert await w.read("d/a") == b"a"


async def test_so_it_does_while_somebody_is_writing_that_file(tmp_path: Path) -> None:
    store = MemoryStore("bucket")
    async with world(store, tmp_path) as w:
        await make_deep(w)
        fh = await w.create(DEEP, flags=os.O_RDWR)
        await w.fs.write(fh, 0, b"deep")
        assert await has_not_moved(w, store)
        await w.close(fh)
        assert await w.read(DEEP) == b"deep"


async def test_nothing_is_copied_for_an_exchange_that_would_make_a_path_too_long(tmp_path: Path) -> None:
    store = MemoryStore("bucket")
    async with world(store, tmp_path) as w:
        await make_deep(w)
        await w.write(DEEP, b"deep")
        await w.mkdir(LONGER)
        before = len(await versions(store))
        with pytest.raises(NameTooLong):
            await w.fs.exchange(await w.split("d"), await w.split(LONGER))
        assert len(await versions(store)) == before


async def versions(store: MemoryStore) -> list[str]:
    page = await store.list_versions("bucket", "", limit=1000)
    return [version.version_id for version in page.versions]


async def test_what_others_have_given_a_longer_name_is_moved_to_one_that_is_no_longer(tmp_path: Path) -> None:
    store = MemoryStore("bucket")
    name = "/".join(sign * 200 for sign in "vwxyz")
    await store.put(ObjectPath("bucket", f"dd/{name}"), literal(b"long"), ObjectMetadata())
    async with world(store, tmp_path) as w:
        await w.rename("dd", "e")
        assert await w.read(f"e/{name}") == b"long"

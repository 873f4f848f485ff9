"""A file system with its `.b2`, over a store in memory, by paths."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from b2mount.errors import AccessDenied
from b2mount.filesystem.areas import Areas
from b2mount.filesystem.dot_b2 import make_past
from b2mount.filesystem.node import Node
from b2mount.filesystem.restoring import Restorer
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.namespace.posix_info import AttributeDefaults
from b2mount.store.interface import ObjectStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import ME, World, world

ROOT = 1


class CountedStore(MemoryStore):
    """Counts copies, and refuses deletions where the key may not delete."""

    copies = 0
    listings = 0

    async def list_versions(self, *args, **kwargs):
        self.listings += 1
        return await super().list_versions(*args, **kwargs)

    async def copy(self, *args, **kwargs):
        self.copies += 1
        return await super().copy(*args, **kwargs)

    async def delete_version(self, version: ObjectVersion) -> None:
        if "deleteFiles" not in self.account.capabilities:
            raise AccessDenied("the key may not delete files (no deleteFiles)")
        await super().delete_version(version)


@attrs.define(eq=False)
class Time:
    """A file system with its `.b2`, by paths."""

    live: World
    areas: Areas
    restorer: Restorer
    told: list[object]

    @property
    def store(self) -> CountedStore:
        assert isinstance(self.live.store, CountedStore)
        return self.live.store

    async def node(self, path: str) -> Node:
        node = self.areas.getattr(ROOT)
        for name in path.strip("/").split("/"):
            if name:
                node = await self.areas.lookup(node.number, name)
        return node

    async def split(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return (await self.node(parent)).number, name

    async def read(self, path: str) -> bytes:
        return await self.read_number((await self.node(path)).number)

    async def read_number(self, number: int) -> bytes:
        fh = await self.areas.open(number, os.O_RDONLY, ME)
        try:
            return bytes(await self.areas.read(fh, 0, 1 << 20))
        finally:
            await self.areas.flush(fh)
            await self.areas.release(fh)

    async def entries(self, number: int) -> list[tuple[str, Node]]:
        fh = self.areas.opendir(number)
        entries: list[tuple[str, Node]] = []
        position, before = 0, -1
        while position != before:
            before = position
            async for at, name, node in self.areas.readdir(fh, before):
                position = at
                if name not in (".", ".."):
                    self.areas.looked_up(node.number)
                    entries.append((name, node))
        self.areas.releasedir(fh)
        return entries

    async def names(self, path: str) -> list[str]:
        return sorted(name for name, _ in await self.entries((await self.node(path)).number))

    async def rm(self, path: str) -> None:
        await self.areas.unlink(*await self.split(path))

    async def rmdir(self, path: str) -> None:
        await self.areas.rmdir(*await self.split(path))

    async def mv(self, old: str, new: str) -> None:
        await self.areas.rename(await self.split(old), await self.split(new), may_replace=True)


@asynccontextmanager
async def times(store: ObjectStore, directory: Path, root: str = "", **options: Any) -> AsyncIterator[Time]:
    async with world(store, directory, root=ObjectPath("bucket", root), **options) as live:
        told: list[object] = []
        fs = live.fs
        past = make_past(
            fs,
            live.namespace,
            store,
            fs._fetcher,
            fs._mover,
            AttributeDefaults(1000, 1000, 0o022),
            told.append,
            deletes=options.get("deletes", False),
        )
        yield Time(live, Areas(fs, past), past.restorer, told)

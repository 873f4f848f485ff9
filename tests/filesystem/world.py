"""A FileSystem over real reading and writing and a store in memory: everything but the kernel."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from b2mount.filesystem.filesystem import FileSystem
from b2mount.filesystem.node import Node, Requester
from b2mount.model import ObjectPath
from b2mount.namespace.account_tree import AccountTree
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import AttributeDefaults
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.fetcher import BlockFetcher
from b2mount.store.interface import ObjectStore
from b2mount.threads import ThreadLane
from b2mount.writing.journal import Journal
from b2mount.writing.mover import Mover
from b2mount.writing.own_versions import OwnVersions
from b2mount.writing.pruner import Pruner
from b2mount.writing.staged_file import Staging
from b2mount.writing.upload_log import UploadLog
from b2mount.writing.uploader import Uploader
from b2mount.writing.write_back import WriteBack

ME = Requester(1000, 1000, 0o022)
ROOT = 1


@attrs.define(eq=False)
class World:
    """A file system and what it stands on, with paths instead of inode numbers."""

    fs: FileSystem
    store: ObjectStore
    namespace: Namespace
    write_back: WriteBack

    async def node(self, path: str) -> Node:
        node = self.fs.getattr(ROOT)
        for name in path.strip("/").split("/"):
            if name:
                node = await self.fs.lookup(node.number, name)
        return node

    async def split(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return (await self.node(parent)).number, name

    async def create(self, path: str, mode: int = 0o644, flags: int = os.O_WRONLY) -> int:
        parent, name = await self.split(path)
        _, fh = await self.fs.create(parent, name, mode, flags, ME)
        return fh

    async def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        return await self.fs.open((await self.node(path)).number, flags, ME)

    async def close(self, fh: int) -> None:
        try:
            await self.fs.flush(fh)
        finally:
            await self.fs.release(fh)

    async def write(self, path: str, data: bytes) -> None:
        fh = await self.create(path, flags=os.O_WRONLY | os.O_TRUNC)
        await self.fs.write(fh, 0, data)
        await self.close(fh)

    async def read(self, path: str) -> bytes:
        fh = await self.open(path)
        try:
            return bytes(await self.fs.read(fh, 0, 1 << 30))
        finally:
            await self.close(fh)

    async def mkdir(self, path: str, mode: int = 0o755) -> Node:
        parent, name = await self.split(path)
        return await self.fs.mkdir(parent, name, mode, ME)

    async def unlink(self, path: str) -> None:
        await self.fs.unlink(*await self.split(path))

    async def rmdir(self, path: str) -> None:
        await self.fs.rmdir(*await self.split(path))

    async def rename(self, old: str, new: str, *, may_replace: bool = True) -> None:
        await self.fs.rename(await self.split(old), await self.split(new), may_replace=may_replace)

    async def names(self, path: str = "") -> list[str]:
        fh = self.fs.opendir((await self.node(path)).number)
        names: list[str] = []
        position = 0
        while True:
            found = [(at, name) async for at, name, _ in self.fs.readdir(fh, position)]
            if not found:
                self.fs.releasedir(fh)
                return sorted(name for name in names if name not in (".", ".."))
            names.extend(name for _, name in found)
            position = found[-1][0]


@asynccontextmanager
async def world(
    store: ObjectStore,
    directory: Path,
    *,
    root: ObjectPath | None = None,
    waits: bool = True,
    deletes: bool = False,
    delay: float = 0,
    ttl: float = 60,
    lane: ThreadLane | None = None,
    keep: int | None = None,
) -> AsyncIterator[World]:
    """The file system, with its services running."""
    root = root or ObjectPath("bucket", "")
    lane = lane or ThreadLane("disk", 4)
    cache = BlockCache(directory / "blocks", 1 << 26, lane)
    staging = Staging(directory / "staging", lane, cache.make_room)
    staging.open()
    await cache.load()
    fetcher = BlockFetcher(store, cache, parallel=8)
    journal = Journal(directory / "journal.sqlite3", staging, lane)
    await journal.open()
    uploader = Uploader(store, fetcher.read, lane, cache, UploadLog(journal))
    fetcher.on_begin = uploader.twins.note
    own = OwnVersions.kept_in(directory / "versions.sqlite3", lane)
    pruner = Pruner(store, own, keep) if keep is not None else None
    write_back = WriteBack(journal, staging, uploader, delay=delay, parallel=8, retry_for=5, pruner=pruner)
    buckets = BucketTree(store, seen=uploader.twins.note)
    tree = AccountTree(store, buckets) if root.is_account else buckets
    namespace = Namespace(
        tree, root, defaults=AttributeDefaults(1000, 1000, 0o022), ttl=ttl, max_names=100_000
    )
    mover = Mover(store, journal, uploader)
    fs = FileSystem(
        namespace,
        fetcher,
        staging,
        write_back,
        mover,
        store,
        waits=waits,
        deletes=deletes,
        room=cache.room,
    )
    try:
        async with trio.open_nursery() as services:
            services.start_soon(fetcher.run)
            services.start_soon(fs.run)
            await mover.replay()
            await fs.recover()
            services.start_soon(write_back.run)
            services.start_soon(mover.run, lambda: namespace.forget_listing(None))
            yield World(fs, store, namespace, write_back)
            services.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await journal.close()
        staging.close()

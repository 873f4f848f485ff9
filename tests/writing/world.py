"""The writing service on a directory and a store in memory, put together as a mount does it."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import attrs
import trio

from b2mount.model import Attributes, ByteRange, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.threads import ThreadLane
from b2mount.writing.journal import Journal
from b2mount.writing.mover import Mover
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile, Staging
from b2mount.writing.upload_log import UploadLog
from b2mount.writing.uploader import Uploader
from b2mount.writing.write_back import WriteBack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def at(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


def attributes(size: int = 0, modified_ns: int = 1_700_000_000_123_456_789) -> Attributes:
    return Attributes(Kind.FILE, 0o644, 1, 2, size, modified_ns, modified_ns, modified_ns)


def metadata(mark: str = "1") -> ObjectMetadata:
    return ObjectMetadata("text/plain", {"src_last_modified_millis": mark})


class InlineLane(ThreadLane):
    """Runs its calls at once: a clock that jumps does not wait for threads."""

    async def run(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint()
        return func(*args)

    async def run_uncancelled(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return func(*args)


@attrs.define(eq=False)
class KeptChecksums:
    """Checksums in memory."""

    block_size: int = 128 * 1024
    kept: dict[str, array[int]] = attrs.field(factory=dict)

    async def digests(self, version_id: str) -> array[int] | None:
        return self.kept.get(version_id)

    async def keep_digests(self, version_id: str, digests: array[int]) -> None:
        self.kept[version_id] = digests


@attrs.define(eq=False)
class World:
    """All parts, and the bytes that were read from B2 for uploads."""

    store: ObjectStore
    staging: Staging
    journal: Journal
    uploader: Uploader
    write_back: WriteBack
    mover: Mover
    fetched: list[ByteRange]

    def new(
        self, data: bytes = b"", base: ObjectVersion | SealedFile | None = None, size: int = 0
    ) -> StagedFile:
        staged = self.staging.create(base, size)
        if data:
            staged.write(0, data)
        return staged

    def sealed(self, key: str, data: bytes, mark: str = "1") -> SealedFile:
        return self.new(data).seal(at(key), metadata(mark), attributes(len(data)))

    def rows(self) -> int:
        return len(self.write_back.pending())

    def local_files(self) -> list[str]:
        return sorted(p.name for p in self.staging.directory.iterdir())


@asynccontextmanager
async def open_world(
    directory: Path,
    store: ObjectStore,
    *,
    delay: float = 0.0,
    parallel: int = 4,
    retry_for: float = 60.0,
    lane: ThreadLane | None = None,
    running: bool = True,
    is_protected: bool = True,
) -> AsyncIterator[World]:
    lane = lane or InlineLane("disk", 4)
    fetched: list[ByteRange] = []

    async def read_base(version: ObjectVersion, span: ByteRange) -> bytes:
        fetched.append(span)
        data = bytearray()
        await store.read_range(version, span, data.extend)
        return bytes(data)

    staging = Staging(directory / "staging", lane)
    staging.open()
    journal = Journal(directory / "journal.db", staging, lane)
    await journal.open()
    uploader = Uploader(
        store, read_base, lane, KeptChecksums(), UploadLog(journal), is_protected=is_protected
    )
    write_back = WriteBack(journal, staging, uploader, delay=delay, parallel=parallel, retry_for=retry_for)
    mover = Mover(store, journal, uploader)
    world = World(store, staging, journal, uploader, write_back, mover, fetched)
    try:
        async with trio.open_nursery() as nursery:
            if running:
                nursery.start_soon(write_back.run)
            yield world
            nursery.cancel_scope.cancel()
    finally:
        await journal.close()
        staging.close()

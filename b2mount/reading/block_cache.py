"""BlockCache: the blocks of object versions on this machine, in memory and on disk.

    DIRECTORY/ab/cdef.../0, 1, 2 ...    one file a block, one directory a version
    DIRECTORY/ab/cdef.../digests        the checksums of its blocks, as far as they are known to be
                                        right; they stay when the blocks go

The directory's name is a hash of the version id, which is a stranger's text. A block is in memory
from the moment it arrives and goes to disk behind the reader's back; when the disk refuses, it is
not cached and nobody is told but the log.

Invariants: keyed by version id, so never stale; `size` is what the files take; nothing unsent is
ever here, so anything may be trimmed at any time; only `run` and `put` write files, one batch at a
time. Everything is private to the user (0700, 0600).

Must not know: the store, readers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import time
import uuid
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import trio

from b2mount.model import BlockId
from b2mount.reading.block_file import BLOCK_SIZE, Data, read_block, write_block
from b2mount.reading.block_index import BlockIndex
from b2mount.reading.block_scan import DIGESTS, DOOMED, remove_directory, scan
from b2mount.reading.recent_blocks import RecentBlocks
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

MEMORY: Final = 80 << 20
"""Blocks in memory: more than all readers may read ahead (64 MiB), so that reading in order works
at full speed without any disk."""

_REREAD: Final = 4 << 20
"""Blocks that came from disk, in memory for small reads that follow; more would only cost: the disk's
own cache has them too."""

UNKNOWN: Final = 0
"""In place of a checksum that nobody knows. Of the real ones one in four billion is taken for it."""

_MOST_WAITING: Final = 64 << 20
_BATCH: Final = 32
_NOTED: Final = 60.0
"""Seconds between two notes on disk that a group was used; the order needs no more after a restart."""


@attrs.frozen
class CacheStatus:
    """What a person may ask of the cache."""

    bytes: int
    blocks: int
    capacity: int
    hits: int
    misses: int


@attrs.frozen
class Write:
    """One block on its way to the disk, in plain values for a thread."""

    path: str
    identity: bytes
    data: Data


@functools.lru_cache(maxsize=4096)
def directory_key(version_id: str) -> str:
    """A safe name for a version: 32 hex digits."""
    return hashlib.blake2b(version_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def identity_of(block: BlockId) -> bytes:
    """What a block's checksum is bound to; the size of blocks too, since an index says nothing
    without it, and a mount of another version may have left the file."""
    return f"{block.version_id}/{block.index}*{BLOCK_SIZE}".encode("utf-8", "surrogatepass")


class BlockCache:
    """See the module. `load` before anything else, then `run` for the life of the mount."""

    def __init__(self, directory: Path, capacity: int, lane: ThreadLane, *, memory: int = MEMORY) -> None:
        self.lane = lane
        self._root = os.fspath(directory)
        self._capacity = capacity
        self._index = BlockIndex()
        self._recent = RecentBlocks(memory)
        self._reread = RecentBlocks(min(memory, _REREAD))
        self._backlog: dict[BlockId, Data] = {}
        self._arrived = trio.Event()
        self._writing = trio.Lock()
        self._with_checksums: set[str] = set()
        self._doomed: list[str] = []
        self._disk_works = True
        self._hits = 0
        self._misses = 0
        self.block_size = BLOCK_SIZE
        self.backlog_size = 0
        """Bytes that wait for the disk; whoever fetches ahead should wait while it is large."""

    async def load(self) -> None:
        """Learn what is on disk from names, sizes and times alone; remove strays; trim."""
        try:
            found = await self.lane.run_uncancelled(scan, self._root)
        except OSError as error:
            log.warning("no cached blocks, %s can't be read: %s", self._root, error)
            return
        self._with_checksums |= found.with_checksums
        for key, number, group in found.groups:
            self._index.add_group(key, number, group)
        await self._trim()

    async def run(self) -> None:
        """Write what arrives to disk, until cancelled; what is left then gets a few seconds."""
        try:
            while True:
                await self._arrived.wait()
                await self._write_backlog()
        finally:
            with trio.move_on_after(5) as scope:
                scope.shield = True
                await self._write_backlog()

    def __contains__(self, block: BlockId) -> bool:
        return (
            block in self._recent
            or block in self._reread
            or block in self._backlog
            or (directory_key(block.version_id), block.index) in self._index
        )

    def indexes(self, version_id: str) -> Iterator[int]:
        """The blocks of a version that are on disk."""
        return self._index.indexes(directory_key(version_id))

    async def get(self, block: BlockId) -> Data | None:
        """The block's bytes, their checksum verified; None when they are not here. A block on disk
        that is damaged or can't be read is removed. Mostly without a checkpoint: a file in the
        page cache is read inline, sooner than a thread would have started."""
        data = await self.peek(block)
        if data is None:
            self._misses += 1
        else:
            self._hits += 1
        return data

    async def peek(self, block: BlockId) -> Data | None:
        """As `get`, but nobody counts it."""
        data = self._recent.get(block) or self._reread.get(block) or self._backlog.get(block)
        return data or await self._from_disk(block)

    def count_miss(self) -> None:
        """Someone looked for a block and saw without `get` that it is not here."""
        self._misses += 1

    async def _from_disk(self, block: BlockId) -> Data | None:
        key = directory_key(block.version_id)
        if (key, block.index) not in self._index:
            return None
        path = self._path(block)
        data: Data | None
        try:
            try:
                data = read_block(path, identity_of(block), wait=False)
            except BlockingIOError:
                data = await self.lane.run(_read_waiting, path, identity_of(block))
        except OSError:
            data = None
        if (key, block.index) not in self._index:
            return data  # trimmed meanwhile
        if data is None:
            self.drop(block)
            log.info("block %d of %s was damaged on disk; it will be fetched again", block.index, key)
            return None
        self._note_use(key, block.index, path)
        self._reread.add(block, data)
        return data

    def _note_use(self, key: str, index: int, path: str) -> None:
        group = self._index.touch(key, index)
        now = time.time()
        if now - group.touched > _NOTED:
            group.touched = now
            try:
                os.utime(path)
            except OSError as error:
                log.debug("%s: %s", path, error)

    def add(self, block: BlockId, data: Data) -> None:
        """Keep a block that has arrived: in memory now, on disk soon, unless the disk is far behind."""
        self._recent.add(block, data)
        self.backlog_size -= len(self._backlog.pop(block, b""))
        if self.backlog_size < _MOST_WAITING:  # a disk slower than the line gets what it can take
            self._backlog[block] = data
            self.backlog_size += len(data)
            self._arrived.set()

    async def put(self, block: BlockId, data: Data) -> None:
        """As `add`; returns when the disk has it, or has refused it."""
        self.add(block, data)
        await self._write_backlog()

    def drop(self, block: BlockId) -> None:
        """Forget one block. Fine when it is not here."""
        self._recent.discard(block)
        self._reread.discard(block)
        self.backlog_size -= len(self._backlog.pop(block, b""))
        if self._index.remove(directory_key(block.version_id), block.index):
            _unlink(self._path(block))

    def evict(self, version_id: str) -> int:
        """Forget a version; returns the bytes that are free now."""
        held = self._recent.discard_version(version_id) + self._reread.discard_version(version_id)
        for block in [block for block in self._backlog if block.version_id == version_id]:
            self.backlog_size -= len(self._backlog.pop(block))
        freed = self._index.remove_version(directory_key(version_id))
        self._with_checksums.discard(directory_key(version_id))
        self._set_aside(version_id)
        return freed or held

    def _set_aside(self, version_id: str) -> None:
        """One rename now; a thread removes the many files later."""
        doomed = f"{self._root}/{DOOMED}{uuid.uuid4().hex}"
        try:
            os.rename(self._directory(version_id), doomed)
        except FileNotFoundError:
            return
        except OSError as error:
            log.info("can't remove cached blocks: %s", error)
            return
        self._doomed.append(doomed)
        self._arrived.set()

    def status(self) -> CacheStatus:
        """The cache at this moment; hits and misses since the start."""
        return CacheStatus(self._index.size, self._index.count, self._capacity, self._hits, self._misses)

    # -- the checksums that blocks must have ------------------------------------------------------

    async def digests(self, version_id: str) -> array[int] | None:
        """The CRC-32 of each block of a version, UNKNOWN some of them; None when none is known."""
        if directory_key(version_id) not in self._with_checksums:
            return None
        path = f"{self._directory(version_id)}/{DIGESTS}"
        try:
            data = await self.lane.run(_read_waiting, path, _digests_identity(version_id))
        except OSError:
            return None
        if data is None or len(data) % 4:
            return None
        return array("I", bytes(data))

    async def keep_digests(self, version_id: str, digests: array[int]) -> None:
        """Remember what is known to be right of a version, as far as the disk lets us."""
        path = f"{self._directory(version_id)}/{DIGESTS}"
        write = Write(path, _digests_identity(version_id), digests.tobytes())
        _, refusal = await self.lane.run_uncancelled(_write_all, [write])
        if not refusal:
            self._with_checksums.add(directory_key(version_id))

    # -- the disk ---------------------------------------------------------------------------------

    async def _write_backlog(self) -> None:
        async with self._writing:
            while self._backlog:
                blocks = list(itertools.islice(self._backlog.items(), _BATCH))
                if self._capacity:
                    await self._write(blocks)
                for block, data in blocks:
                    if self._backlog.get(block) is data:
                        del self._backlog[block]
                        self.backlog_size -= len(data)
            doomed, self._doomed = self._doomed, []
            if doomed:
                await self.lane.run_uncancelled(_remove_all, doomed)
            if not self._backlog and not self._doomed:
                self._arrived = trio.Event()

    async def _write(self, blocks: list[tuple[BlockId, Data]]) -> None:
        writes = [Write(self._path(block), identity_of(block), data) for block, data in blocks]
        sizes, error = await self.lane.run_uncancelled(_write_all, writes)
        if error and self._disk_works:
            log.info("blocks are not cached for now: %s", error)
        self._disk_works = not error
        now = time.time()
        for (block, data), size in zip(blocks, sizes, strict=True):
            if size is None:
                continue
            if self._backlog.get(block) is not data:  # dropped or replaced while it was being written
                _unlink(self._path(block))
                continue
            self._index.add(directory_key(block.version_id), block.index, size).touched = now
        await self._trim()

    async def _trim(self) -> None:
        paths: list[str] = []
        emptied: list[str] = []
        while self._index.size > self._capacity and (oldest := self._index.oldest()):
            key, index = oldest
            self._index.remove(key, index)
            paths.append(f"{self._root}/{key[:2]}/{key[2:]}/{index}")
            if not self._index.has_version(key):
                emptied.append(f"{self._root}/{key[:2]}/{key[2:]}")
        if paths:
            await self.lane.run_uncancelled(_remove, paths, emptied)

    def _directory(self, version_id: str) -> str:
        key = directory_key(version_id)
        return f"{self._root}/{key[:2]}/{key[2:]}"

    def _path(self, block: BlockId) -> str:
        return f"{self._directory(block.version_id)}/{block.index}"


def _digests_identity(version_id: str) -> bytes:
    return f"{version_id}/crc32*{BLOCK_SIZE}".encode("utf-8", "surrogatepass")


def _read_waiting(path: str, identity: bytes) -> Data | None:
    return read_block(path, identity, wait=True)


def _write_all(writes: list[Write]) -> tuple[list[int | None], str]:
    """The size of each file, None where the disk refused; and the last refusal in words."""
    sizes: list[int | None] = []
    refusal = ""
    for write in writes:
        try:
            sizes.append(write_block(write.path, write.identity, write.data))
        except OSError as error:
            sizes.append(None)
            refusal = str(error)
    return sizes, refusal


def _remove(paths: list[str], emptied: list[str]) -> None:
    for path in paths:
        _unlink(path)
    for directory in emptied:
        with contextlib.suppress(OSError):  # checksums stay
            os.rmdir(directory)


def _remove_all(doomed: list[str]) -> None:
    for directory in doomed:
        remove_directory(directory)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.debug("%s: %s", path, error)

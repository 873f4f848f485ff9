"""BlockCache: the blocks of object versions on this machine, in memory and on disk.

A block is in memory from the moment it arrives and goes to disk behind the reader's back; when the
disk refuses, it is not cached and nobody is told but the log. On a disk that is nearly full a block
only takes the place of older ones, and all of them give way to what is being written.

Invariants: keyed by version id, so never stale; `size` is what the files take; nothing unsent is
ever here, so anything may be trimmed at any time; files are written and removed by one task at a
time, a batch each, and only single blocks are erased beside it, by their entries. Everything is
private to the user (0700, 0600).

Must not know: the store, readers.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from b2mount.model import BlockId
from b2mount.reading.block_batch import GroupWrite, group_writes, remove, remove_all, set_aside, write_all
from b2mount.reading.block_file import BLOCK_SIZE, HEADER, Data, erase_block, read_blocks
from b2mount.reading.block_index import GROUP, LEAST, BlockIndex, CacheStatus, size_on_disk
from b2mount.reading.block_scan import scan
from b2mount.reading.cache_layout import directory_key, directory_of, file_of, group_identity
from b2mount.reading.disk_space import free_space, missing_space
from b2mount.reading.kept_digests import KeptDigests
from b2mount.reading.recent_blocks import RecentBlocks
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

MEMORY: Final = 80 << 20
"""Blocks in memory: more than all readers may read ahead (64 MiB), so that reading in order works
at full speed without any disk."""
_ALONE: Final = 1.6
"""Times as many where the disk takes none: what is not hashed yet must not be gone (integrity.BEHIND)."""
_REREAD: Final = 4 << 20
"""Blocks that came from disk, in memory for small reads that follow; more would only cost: the disk's
own cache has them too."""
_MOST_WAITING: Final = 96 << 20
"""More than all readahead that is on its way when it has to stop for the disk. What comes beyond it, as
somebody waits for it, is given and not kept."""
_STRAINED: Final = 72 << 20
"""Bytes that wait for the disk, though readahead has made room for it (flight_queue): readers outrun it."""
_GATHERED: Final = 0.05
"""Seconds in which blocks come together before they are written: a thread for each would cost more."""
_WRITERS: Final = 4
_BATCH: Final = 128
ROOM: Final = 64 << 20
"""Bytes that give way at once: a writer at full speed uses them up in a tenth of a second."""
_NOTED: Final = 60.0
"""Seconds between two notes on disk that a group was used."""


class BlockCache:
    """See the module. `load` before anything else, then `run` for the life of the mount."""

    def __init__(self, directory: Path, capacity: int, lane: ThreadLane, *, memory: int = MEMORY) -> None:
        self.lane = lane
        self._root = os.fspath(directory)
        self._capacity = capacity
        self._index = BlockIndex(capacity // LEAST)
        self._memory = memory
        self._recent = RecentBlocks(memory)
        self._reread = RecentBlocks(min(memory, _REREAD))
        self._backlog: dict[BlockId, Data] = {}
        self._arrived, self._writing = trio.Event(), trio.Lock()
        self._digests = KeptDigests(self._root, lane)
        self._doomed: list[str] = []
        self._hollow: set[tuple[str, int]] = set()
        self._note_disk(works=capacity > 0)
        self._given = 0
        """Counts what `make_room` has removed."""
        self._dropped = 0
        """Counts drops and evictions: bytes that were read meanwhile may be what was found wrong."""
        self._hits = self._misses = 0
        self.block_size = BLOCK_SIZE
        self.backlog_size = 0
        """Bytes that wait for the disk; whoever fetches ahead waits while it is large, till `on_written`."""
        self.on_written: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Learn what is on disk from names, sizes and times alone; remove strays; trim."""
        try:
            found = await self.lane.run_uncancelled(scan, self._root)
        except OSError as error:
            log.warning("no cached blocks, %s can't be read: %s", self._root, error)
            return
        self._digests.keys |= found.with_checksums
        for key, number, group in found.groups:
            self._index.add_group(key, number, group)
        await self._trim(self._capacity)

    async def run(self) -> None:
        """Write what arrives to disk, until cancelled; what is left then gets a few seconds."""
        try:
            while True:
                await self._arrived.wait()
                await trio.sleep(_GATHERED)
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
        self._hits += data is not None
        self._misses += data is None
        return data

    async def peek(self, block: BlockId) -> Data | None:
        """As `get`, but nobody counts it."""
        return self.at_hand(block) or await self._from_disk(block)

    def at_hand(self, block: BlockId) -> Data | None:
        """The block's bytes if they are in memory; nobody counts it."""
        return self._recent.get(block) or self._reread.get(block) or self._backlog.get(block)

    def count_miss(self) -> None:
        """Someone looked for a block and saw without `get` that it is not here."""
        self._misses += 1

    async def get_run(self, version_id: str, indexes: range) -> list[Data] | None:
        """The bytes of neighbouring blocks in order, in as many pieces as it suits; None unless all are
        in memory, or all on disk and undamaged. Cheaper than to get them one by one."""
        pieces = self._recent.get_run(version_id, indexes) or await self._run_from_disk(version_id, indexes)
        self._hits += len(indexes) if pieces is not None else 0
        return pieces

    async def _run_from_disk(self, version_id: str, indexes: range) -> list[Data] | None:
        """A verified piece for each group of the blocks."""
        key = directory_key(version_id)
        if not self._index.holds(key, indexes):
            return None
        pieces, dropped = list[Data](), self._dropped
        for first in range(indexes.start - indexes.start % GROUP, indexes.stop, GROUP):
            group = range(max(first, indexes.start), min(first + GROUP, indexes.stop))
            data = await self._read(version_id, group)
            if data is None or self._dropped != dropped or not self._index.holds(key, group):
                return None
            pieces.append(data)
        return pieces

    def holds(self, version_id: str, indexes: range) -> bool:
        """Whether all of these neighbouring blocks are on disk."""
        return self._index.holds(directory_key(version_id), indexes)

    async def _from_disk(self, block: BlockId) -> Data | None:
        key = directory_key(block.version_id)
        if (key, block.index) not in self._index:
            return None
        dropped = self._dropped
        data = await self._read(block.version_id, range(block.index, block.index + 1))
        if self._dropped != dropped:
            return await self.peek(block)
        if (key, block.index) not in self._index:
            return None  # trimmed meanwhile
        if data is None:
            self.drop(block)
            log.info("block %d of %s was damaged on disk; it will be fetched again", block.index, key)
            return None
        self._reread.add(block, data)
        return data

    async def _read(self, version_id: str, indexes: range) -> Data | None:
        """Neighbouring blocks of one group."""
        number, first = divmod(indexes.start, GROUP)
        key = directory_key(version_id)
        path = file_of(self._root, key, number)
        identity = group_identity(version_id, number)
        places = range(first, first + len(indexes))
        data: Data | None
        try:
            try:
                data = read_blocks(path, identity, places, wait=False)
            except BlockingIOError:
                data = await self.lane.run(partial(read_blocks, wait=True), path, identity, places)
            except FileNotFoundError:  # the index knows of files only while they are there
                log.info("somebody removed cached blocks of %s; they will be fetched again", key)
                self._index.remove(key, number)
                return None
        except OSError:
            return None
        if data is not None:
            self._note_use(key, number, path)
        return data

    def _note_use(self, key: str, number: int, path: str) -> None:
        group, now = self._index.touch(key, number), time.time()
        if group is not None and now - group.touched > _NOTED:
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
        if self._index.forget(directory_key(block.version_id), block.index):
            self._dropped += 1
            self._erase(block)

    def _erase(self, block: BlockId) -> None:
        """On disk. A file in which nothing is left is removed later, by the task that writes them."""
        key, number = directory_key(block.version_id), block.index // GROUP
        if not erase_block(file_of(self._root, key, number), block.index % GROUP):
            self._index.remove(key, number)
        if self._index.is_hollow(key, number):
            self._hollow.add((key, number))
            self._arrived.set()

    def evict(self, version_id: str) -> int:
        """Forget a version; returns the bytes that are free now."""
        held = self._recent.discard_version(version_id) + self._reread.discard_version(version_id)
        waiting = sum(len(data) for block, data in self._backlog.items() if block.version_id == version_id)
        self.backlog_size -= waiting
        for block in [block for block in self._backlog if block.version_id == version_id]:
            del self._backlog[block]
        freed = self._index.remove_version(directory_key(version_id))
        self._dropped += 1
        self._digests.keys.discard(directory_key(version_id))
        doomed = set_aside(self._root, directory_key(version_id))
        if doomed is not None:  # a thread removes the many files later
            self._doomed.append(doomed)
            self._arrived.set()
        return max(freed + waiting, held)

    @property
    def is_strained(self) -> bool:
        """Whether what arrives now may soon be in memory only, so that it is gone before long."""
        return self.backlog_size > _STRAINED or not self._disk_works

    def status(self) -> CacheStatus:
        """The cache at this moment; hits and misses since the start."""
        return CacheStatus(self._index.size, self._index.count, self._capacity, self._hits, self._misses)

    # -- the checksums that blocks must have ------------------------------------------------------

    async def digests(self, version_id: str) -> array[int] | None:
        """The CRC-32 of each block of a version, UNKNOWN some of them; None when none is known."""
        return await self._digests.get(version_id)

    async def keep_digests(self, version_id: str, digests: array[int]) -> None:
        """Remember what is known to be right of a version, as far as the disk lets us."""
        await self._digests.keep(version_id, digests)

    # -- the disk ---------------------------------------------------------------------------------

    def room(self) -> int:
        """Bytes that others could write to this disk if all blocks on it gave way."""
        return free_space(self._root) + self._index.size

    async def make_room(self, needed: int) -> bool:
        """Let blocks go, the least recently used first, until `needed` bytes or more have become free on
        the disk. True when that, or an equal call meanwhile, has freed anything."""
        before = self._given
        async with self._writing:
            if self._given == before:
                self._given += await self._trim(max(0, self._index.size - max(needed, ROOM)))
                self._given += await self._remove_doomed()
            return self._given > before

    async def _write_backlog(self) -> None:
        while self._backlog:
            async with self._writing:  # for one batch: a writer on a full disk may be waiting
                await self._write_batch()
            self.on_written()
        async with self._writing:
            await self._remove_doomed()
        self.on_written()  # also where what waited was dropped before its turn came
        if not (self._backlog or self._doomed or self._hollow):
            self._arrived = trio.Event()

    async def _write_batch(self) -> None:
        blocks = list(itertools.islice(self._backlog.items(), _BATCH))
        if self._capacity and blocks:
            await self._write(blocks)
        for block, data in blocks:
            if self._backlog.get(block) is data:
                del self._backlog[block]
                self.backlog_size -= len(data)

    async def _remove_doomed(self) -> int:
        doomed, self._doomed = self._doomed, []
        if doomed:
            await self.lane.run_uncancelled(remove_all, doomed)
        hollow, self._hollow = self._hollow, set()
        await self._remove([group for group in hollow if self._index.is_hollow(*group)])
        return len(doomed) + len(hollow)

    async def _write(self, blocks: list[tuple[BlockId, Data]]) -> None:
        writes = group_writes(self._root, blocks)
        counts, error = [0] * len(writes), "the disk is nearly full"
        sizes = [size_on_disk(len(data)) for _, data in blocks]
        if await self._find_place(sum(sizes) + HEADER * len(writes)):
            counts, error = await self._write_groups(writes)
        if error and self._disk_works:
            log.info("blocks are not cached for now: %s", error)
        self._note_disk(works=not error)
        for write, count in zip(writes, counts, strict=True):
            self._note_written(write.blocks[:count])
        await self._trim(self._capacity)

    async def _write_groups(self, writes: list[GroupWrite]) -> tuple[list[int], str]:
        """In several threads, each with files of its own: they wait for Python's lock, not the disk."""
        counts, errors = [0] * len(writes), []
        width = min(_WRITERS, 1 + sum(len(write.blocks) for write in writes) // 16, len(writes))

        async def write(first: int) -> None:
            done = await self.lane.run_uncancelled(write_all, writes[first::width])
            counts[first::width] = done[0]
            errors.append(done[1])

        async with trio.open_nursery() as nursery:
            for first in range(width):
                nursery.start_soon(write, first)
        return counts, max(errors)

    def _note_disk(self, *, works: bool) -> None:
        self._disk_works = works
        self._recent.capacity = self._memory if works else int(self._memory * _ALONE)

    def _note_written(self, blocks: list[tuple[BlockId, Data]]) -> None:
        now = time.time()
        for block, data in blocks:
            if self._backlog.get(block) is data:
                key = directory_key(block.version_id)
                self._index.add(key, block.index, len(data), HEADER).touched = now
            else:  # dropped or replaced while it was being written
                self._erase(block)

    async def _find_place(self, size: int) -> bool:
        """Room for so many bytes more; on a disk that is nearly full by as many less of ours."""
        missing = await self.lane.run_uncancelled(missing_space, self._root, size)
        if missing > self._index.size:
            return False
        if missing:
            await self._trim(self._index.size - missing)
        return True

    async def _trim(self, most: int) -> int:
        """Keep at most so many bytes; returns how many bytes went."""
        return await self._remove(self._index.beyond(most))

    async def _remove(self, groups: list[tuple[str, int]]) -> int:
        paths, emptied, freed = [], [], 0
        for key, number in groups:
            freed += self._index.remove(key, number)
            paths.append(file_of(self._root, key, number))
            if not self._index.has_version(key):
                emptied.append(directory_of(self._root, key))
        if paths:
            with trio.CancelScope(shield=True):
                await self.lane.run_uncancelled(remove, paths, emptied)
        return freed

"""BlockFetcher: a block from the cache, else from the flight it is in, else from a new flight. Where
there is nothing to compare a block with, its bytes are given as they arrive, before it is whole.

A reader who waits goes before anyone's readahead, and readahead takes turns by reader (see
flight_queue), so that sixteen of them share the line; it is bounded in bytes over all of them. Short
flights, which spend their time on waiting for the first byte, have places of their own, and more.

Invariants: at most one request per block in flight: the dict from block to flight is filled before
anything is awaited; a flight that failed leaves no trace and fails only those who wait for its
blocks; a waiter that is cancelled takes nobody else's flight down; at most `parallel` flights run,
and `short` short ones.

Must not know: files, handles, what readers will want next.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from b2mount.errors import B2MountError, CorruptData, StoreFailure, Unavailable
from b2mount.model import BlockId, ByteRange, ObjectVersion
from b2mount.reading.block_cache import BlockCache
from b2mount.reading.block_file import BLOCK_SIZE, Data
from b2mount.reading.block_index import CacheStatus
from b2mount.reading.flight import Cutter, Flight, count_of, joined, span_of
from b2mount.reading.flight_queue import FlightQueues
from b2mount.reading.integrity import SMALL, Integrity, VersionCheck, Witness
from b2mount.reading.line_speed import SHORT, LineSpeed
from b2mount.reading.version_hash import is_right
from b2mount.store.interface import ObjectStore

log = logging.getLogger(__name__)

AHEAD: Final = 64 << 20
"""Bytes that all readers together may be ahead of what they have read; less than the cache keeps in
memory, so that it holds with a full disk too."""
LONGEST: Final = SHORT // BLOCK_SIZE
"""Blocks in one flight, unless the line is faster than that many requests are worth."""
_BIG_WHOLES: Final = 4
"""Versions of more than one piece that are held in memory until they are checked, at once."""
_TRIES: Final = 4
_RECENTLY: Final = 5.0


def nothing_to_tell(_version: ObjectVersion) -> None:
    """For a fetcher whose readers keep no bytes of their own."""


class BlockFetcher:
    """See the module. Flights begin once `run` runs."""

    def __init__(
        self,
        store: ObjectStore,
        cache: BlockCache,
        *,
        parallel: int,
        short: int = 0,
        mended: Callable[[ObjectVersion], None] = nothing_to_tell,
        whole: int = SMALL,
    ) -> None:
        self._store = store
        self._cache = cache
        self._queues = FlightQueues(parallel, short)
        self._speed = LineSpeed()
        self._integrity = Integrity(cache, self._fetch_apart, self._spawn, mended, whole)
        self.on_begin: Callable[[ObjectVersion], None] = nothing_to_tell
        """Called with every version that somebody begins to read."""
        self._big_wholes = trio.Semaphore(_BIG_WHOLES)
        self._nursery: trio.Nursery | None = None
        self._flights: dict[BlockId, Flight] = {}
        self._owned: dict[object, set[Flight]] = {}
        self._active: dict[object, float] = {}
        self._ahead_size = 0
        self._is_over = False
        cache.on_written = self._launch

    async def run(self) -> None:
        """Carry flights out, until cancelled. Then everyone who still waits gets Unavailable."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._cache.run)
                self._launch()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._is_over = True
            for flight in set(self._flights.values()):
                self._land(flight, Unavailable("the mount is ending"))

    # -- for readers ------------------------------------------------------------------------------

    async def read(self, version: ObjectVersion, span: ByteRange, witness: Witness | None = None) -> Data:
        """The bytes of `span`, which lies within the version; nothing is read ahead. What one
        `witness` has been given is known to be right or makes a later read raise CorruptData."""
        if not span:
            return b""
        witness = witness or Witness()
        await self.begin(version, witness)
        indexes = range(span.start // BLOCK_SIZE, -(-span.stop // BLOCK_SIZE))
        pieces = await self._pieces(version, indexes, witness, span.stop - indexes[-1] * BLOCK_SIZE)
        if len(pieces) > 1:
            pieces = list(joined(pieces))
        first = span.start - indexes.start * BLOCK_SIZE
        if len(pieces) == 1:
            return memoryview(pieces[0])[first : first + span.size]
        surplus = sum(map(len, pieces)) - first - span.size
        pieces[0] = memoryview(pieces[0])[first:]
        pieces[-1] = memoryview(pieces[-1])[: len(pieces[-1]) - surplus]
        return b"".join(pieces)

    async def _pieces(
        self, version: ObjectVersion, indexes: range, witness: Witness, size: int
    ) -> list[Data]:
        """Blocks, of the last one `size` bytes or more."""
        if len(indexes) > 1:
            run = await self._cache.get_run(version.version_id, indexes)
            # the last one first: it may be held back, and what is mended meanwhile nobody has had
            if run is not None and all([await self._integrity.admit(i, witness) for i in reversed(indexes)]):
                return run
        self._demand(version, indexes)
        whole = [await self._get(version, index, witness) for index in indexes[:-1]]
        return [*whole, await self._get(version, indexes[-1], witness, size)]

    async def arrival(self, version: ObjectVersion, index: int) -> None:
        """Returns when a block that is on its way is here, without making it more urgent; at once when
        it is not on its way. Raises what the store raises, and CorruptData."""
        flight = self._flights.get(BlockId(version.version_id, index))
        if flight is not None:
            await flight.wait(index)

    async def begin(self, version: ObjectVersion, witness: Witness) -> None:
        """To be called before anything is wanted for a reader: what comes is checked then.
        Raises CorruptData when the reader has had wrong bytes."""
        self.on_begin(version)
        await self._integrity.begin(version, witness)

    def want(self, version: ObjectVersion, indexes: range, owner: object) -> int:
        """Fetch blocks in the background, unless they are here, for a reader `owner` who is to say
        `release` at its end. Returns the first block for which there is no room yet."""
        for run in self._absent(version, indexes, owner):
            size = span_of(version, run).size
            if self._ahead_size + size > AHEAD:
                return run.start
            flight = self._prepare(version, run)
            self._own(flight, owner)
            self._queues.of(flight).put(flight, owner)
            flight.counted = size
            self._ahead_size += size
        self._launch()
        return indexes.stop

    def allowance(self, owner: object) -> int:
        """How many bytes a reader may be ahead, among those that have read of late."""
        now = trio.current_time()
        self._active.pop(owner, None)
        self._active[owner] = now
        while (oldest := next(iter(self._active))) is not owner and self._active[oldest] < now - _RECENTLY:
            del self._active[oldest]
        return max(LONGEST * BLOCK_SIZE, AHEAD // len(self._active))

    @property
    def flight_size(self) -> int:
        """Bytes of the longest flights that are worth while on this line."""
        return self._speed.flight_size

    def takes_whole(self, version: ObjectVersion) -> bool:
        """Whether a version comes in one request for all of it, whatever is asked for."""
        return self._integrity.is_checked_whole(version)

    def lost(self, version: ObjectVersion, indexes: range) -> int | None:
        """The first block that is neither here nor on its way."""
        if self._cache.holds(version.version_id, indexes):
            return None
        for index in indexes:
            block = BlockId(version.version_id, index)
            if block not in self._flights and block not in self._cache:
                return index
        return None

    def release(self, owner: object) -> None:
        """A reader is done: its readahead ends, but for what others wait for or want too."""
        self._active.pop(owner, None)
        self._queues.drop(owner)
        for flight in self._owned.pop(owner, set()):
            flight.owners.discard(owner)
            if not flight.is_wanted:
                self._cancel(flight)
            elif flight.owners and not flight.is_running:
                self._queues.of(flight).put(flight, next(iter(flight.owners)))
            elif not flight.is_running:
                self._queues.of(flight).hurry(flight)
        self._launch()

    def evict(self, version_id: str) -> int:
        """Drop a version's blocks from the cache; returns the bytes that freed."""
        self._integrity.forget(version_id)
        return self._cache.evict(version_id)

    def status(self) -> CacheStatus:
        """The cache at this moment."""
        return self._cache.status()

    # -- one block --------------------------------------------------------------------------------

    async def _get(
        self, version: ObjectVersion, index: int, witness: Witness, size: int = BLOCK_SIZE
    ) -> Data:
        while True:
            data = await self._obtain(version, index, size)
            if len(data) < span_of(version, range(index, index + 1)).size:
                self._integrity.admit_part(index, witness)
                return data
            if await self._integrity.admit(index, witness):
                return data

    async def _obtain(self, version: ObjectVersion, index: int, size: int) -> Data:
        """The block, from wherever it is, or its beginning while it is on its way. Wrong bytes that
        show at once are fetched again."""
        block = BlockId(version.version_id, index)
        spoilt = 0
        while True:
            if block in self._cache:
                data = await self._cache.get(block)
                if data is not None:
                    return data
                continue
            if self._is_over:
                raise Unavailable("the mount is ending")
            self._cache.count_miss()
            self._demand(version, range(index, index + 1))
            try:
                enough = size if self._integrity.gives_parts(version, index) else BLOCK_SIZE
                return await self._flights[block].wait(index, enough)
            except CorruptData:
                spoilt += 1
                if spoilt == _TRIES:
                    log.warning("%s comes with wrong bytes, %d times in a row", version.path, spoilt)
                    raise

    def _demand(self, version: ObjectVersion, indexes: range) -> None:
        """See to it that these blocks are here or in flights that are urgent."""
        for index in indexes:
            flight = self._flights.get(BlockId(version.version_id, index))
            if flight is not None and not flight.is_running:
                self._queues.of(flight).hurry(flight)
        for run in self._absent(version, indexes, None):
            flight = self._prepare(version, run)
            self._queues.of(flight).hurry(flight)
        self._launch()

    # -- flights ----------------------------------------------------------------------------------

    def _absent(self, version: ObjectVersion, indexes: range, owner: object | None) -> Iterator[range]:
        """The runs of neighbouring blocks that are neither here nor in flight. Flights of readahead
        that hold some of the others get `owner` as one of theirs."""
        if self._cache.holds(version.version_id, indexes):
            return
        if self._integrity.is_checked_whole(version):
            if self.lost(version, indexes) is not None:
                yield range(count_of(version))
            return
        first, longest = indexes.start, self._speed.flight_size // BLOCK_SIZE
        for index in indexes:
            block = BlockId(version.version_id, index)
            flight = self._flights.get(block)
            if flight is not None and flight.owners and owner is not None:
                self._own(flight, owner)
            if flight is not None or block in self._cache:
                if first < index:
                    yield range(first, index)
                first = index + 1
            elif index + 1 - first == longest:
                yield range(first, index + 1)
                first = index + 1
        if first < indexes.stop:
            yield range(first, indexes.stop)

    def _prepare(self, version: ObjectVersion, indexes: range) -> Flight:
        flight = Flight(version, indexes, self._integrity.known(version))
        for index in indexes:
            self._flights.setdefault(BlockId(version.version_id, index), flight)
        return flight

    def _own(self, flight: Flight, owner: object) -> None:
        flight.owners.add(owner)
        self._owned.setdefault(owner, set()).add(flight)

    def _launch(self) -> None:
        while self._nursery is not None and (flight := self._queues.next(self._cache.backlog_size)):
            self._nursery.start_soon(self._fly, flight)

    async def _fly(self, flight: Flight) -> None:
        error: Exception = Unavailable("the mount is ending")
        try:
            with flight.scope:
                await self._fetch(flight)
        except B2MountError as failure:
            error = failure
        except Exception:
            log.exception("a bug while fetching from %s", flight.version.path)
            error = StoreFailure(f"fetching from {flight.version.path} failed")
        finally:
            self._queues.of(flight).landed(flight)
            self._land(flight, error)

    async def _fetch(self, flight: Flight) -> None:
        if not self._integrity.is_checked_whole(flight.version):
            await self._hand_on(flight)
            return
        if len(flight.indexes) <= LONGEST:
            blocks = await self._fetch_apart(flight.version, flight.indexes)
        else:
            async with self._big_wholes:
                blocks = await self._integrity.fetch_wave(flight.version, flight.indexes)
        if not await is_right(blocks, flight.version.sha1, self._cache.lane):
            raise CorruptData(f"the bytes of {flight.version.path} do not match their SHA-1")
        for data in blocks:
            self._arrive(flight, data)

    async def _fetch_apart(self, version: ObjectVersion, indexes: range) -> list[Data]:
        """Blocks as the store gives them now, past the cache and all flights."""
        blocks: list[Data] = []
        cutter = Cutter(blocks.append, span_of(version, indexes).size)
        await self._stream(version, indexes, cutter, cutter.feed)
        return blocks

    async def _hand_on(self, flight: Flight) -> None:
        cutter = Cutter(lambda data: self._arrive(flight, data), flight.size)
        flight.begun = cutter.chunks

        def take(chunk: bytes) -> None:
            cutter.feed(chunk)
            flight.grow()

        began = trio.current_time()
        await self._stream(flight.version, flight.indexes, cutter, take)
        self._speed.landed(flight.size, trio.current_time() - began)

    async def _stream(
        self, version: ObjectVersion, indexes: range, cutter: Cutter, take: Callable[[bytes], None]
    ) -> None:
        await self._store.read_range(version, span_of(version, indexes), take)
        if cutter.left:
            raise StoreFailure(f"the last {cutter.left} bytes of a range of {version.path} never came")

    def _arrive(self, flight: Flight, data: Data) -> None:
        if flight.is_over:
            return
        index = flight.next
        block = BlockId(flight.version.version_id, index)
        self._forget(flight, block)
        if not self._integrity.accepts(flight.version, index, data):
            flight.spoil(index, CorruptData(f"wrong bytes came for {flight.version.path}"))
            return
        self._cache.add(block, data)
        flight.arrive(index, data)
        self._integrity.note(flight.version, index)

    def _forget(self, flight: Flight, block: BlockId) -> None:
        if self._flights.get(block) is flight:
            del self._flights[block]

    def _cancel(self, flight: Flight) -> None:
        self._land(flight, Unavailable("nobody wanted it any more"))
        flight.scope.cancel()

    def _land(self, flight: Flight, error: Exception) -> None:
        """Take a flight out of the books; who still waits for a block of it gets `error`."""
        if not flight.is_over:
            flight.is_over = True
            for index in range(flight.next, flight.indexes.stop):
                self._forget(flight, BlockId(flight.version.version_id, index))
            flight.fail(error)
            self._ahead_size -= flight.counted
        for owner in flight.owners:
            self._owned.get(owner, set()).discard(flight)
        flight.owners.clear()
        self._launch()

    def _spawn(self, func: Callable[[VersionCheck], Awaitable[None]], check: VersionCheck) -> None:
        if self._nursery is None:
            check.is_running = False
        else:
            self._nursery.start_soon(func, check)

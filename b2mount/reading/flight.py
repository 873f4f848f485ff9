"""Flight: one ranged GET for neighbouring blocks of a version, handed over as the bytes arrive.

Invariants: a block arrives at most once; when a flight has landed, everyone who waits on it has got
what it waits for or an error; `next` is the first block that has not arrived whole.

Must not know: the cache, queues, other flights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import attrs
import trio

from b2mount.model import ByteRange, ObjectVersion
from b2mount.reading.block_file import BLOCK_SIZE, Data


def span_of(version: ObjectVersion, indexes: range) -> ByteRange:
    """The bytes of neighbouring blocks."""
    return ByteRange(indexes.start * BLOCK_SIZE, min(version.size, indexes.stop * BLOCK_SIZE))


def count_of(version: ObjectVersion) -> int:
    """How many blocks a version has."""
    return -(-version.size // BLOCK_SIZE)


@attrs.define(eq=False)
class Waiter:
    """One who waits for a block, or for so many bytes of its beginning; woken with them or with an
    error."""

    size: int
    woken: trio.Event = attrs.field(factory=trio.Event)
    data: Data | None = None
    error: Exception | None = None


@attrs.define(eq=False)
class Cutter:
    """Cuts a stream of chunks into blocks and hands each over when it is whole."""

    hand_over: Callable[[Data], None]
    left: int
    """Bytes of the stream that have not come yet."""
    chunks: list[Data] = attrs.field(factory=list, init=False)
    """What is here of the block that is not whole yet; always this list."""
    _size: int = attrs.field(default=0, init=False)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. More than were announced are ignored."""
        rest = memoryview(chunk)[: self.left]
        self.left -= len(rest)
        while rest:
            piece = rest[: BLOCK_SIZE - self._size]
            rest = rest[len(piece) :]
            self.chunks.append(piece)
            self._size += len(piece)
            if self._size == BLOCK_SIZE or not (rest or self.left):
                block = piece if len(self.chunks) == 1 else b"".join(self.chunks)
                self.chunks.clear()
                self._size = 0
                self.hand_over(block)


def joined(blocks: Sequence[Data]) -> Iterator[Data]:
    """Neighbouring blocks as fewer pieces, without a copy: those that were all a Cutter made of one chunk
    are that chunk, which no store hands over twice."""
    for _, group in itertools.groupby(blocks, key=_whole_of):
        some = list(group)
        whole = some[0].obj if isinstance(some[0], memoryview) else some[0]
        if isinstance(whole, bytes) and len(whole) == sum(map(len, some)):
            yield whole
        else:
            yield from some


def _whole_of(block: Data) -> int:
    return id(block.obj if isinstance(block, memoryview) else block)


@attrs.define(eq=False)
class Flight:
    """See the module. `owners` are the readers whose readahead it is."""

    version: ObjectVersion
    indexes: range
    check: object | None = None
    """Kept alive for as long as blocks of it may come."""
    owners: set[object] = attrs.field(factory=set)
    counted: int = 0
    """Its bytes in the account of all readahead."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    next: int = attrs.field(init=False)
    is_running: bool = False
    is_ahead: bool = False
    """Runs as readahead: nobody waited for it when it set off."""
    is_over: bool = False
    begun: Sequence[Data] = ()
    """What is here of the block `next`, where bytes are given before their block is whole."""
    _waiters: dict[int, list[Waiter]] = attrs.field(factory=dict)

    @next.default
    def _first(self) -> int:
        return self.indexes.start

    @property
    def size(self) -> int:
        """Bytes of all its blocks."""
        return span_of(self.version, self.indexes).size

    @property
    def is_wanted(self) -> bool:
        """Whether anyone waits for it or owns it."""
        return bool(self.owners or self._waiters)

    async def wait(self, index: int, size: int = BLOCK_SIZE) -> Data:
        """The block, when it has arrived; or its beginning, as soon as `size` bytes of it are here.
        Raises what the flight failed with."""
        if index == self.next and size <= sum(map(len, self.begun)):
            return b"".join(self.begun)
        waiter = Waiter(size)
        self._waiters.setdefault(index, []).append(waiter)
        try:
            await waiter.woken.wait()
        finally:
            self._leave(index, waiter)
        if waiter.error is not None:
            raise waiter.error
        assert waiter.data is not None
        return waiter.data

    def _leave(self, index: int, waiter: Waiter) -> None:
        others = self._waiters.get(index, [])
        if waiter in others:
            others.remove(waiter)
        if not others:
            self._waiters.pop(index, None)

    def grow(self) -> None:
        """More of the block `next` is here: wake those for whom it is enough."""
        size = sum(map(len, self.begun))
        for waiter in self._waiters.get(self.next, ()):
            if waiter.size <= size and waiter.data is None:
                waiter.data = b"".join(self.begun)
                waiter.woken.set()

    def arrive(self, index: int, data: Data) -> None:
        """Wake those who wait for a block."""
        self.next = index + 1
        for waiter in self._waiters.pop(index, ()):
            waiter.data = data
            waiter.woken.set()

    def spoil(self, index: int, error: Exception) -> None:
        """A block has come and is no good: tell those who wait for it."""
        self.next = index + 1
        for waiter in self._waiters.pop(index, ()):
            waiter.error = _again(error)
            waiter.woken.set()

    def fail(self, error: Exception) -> None:
        """Wake everyone who still waits."""
        waiters = [waiter for group in self._waiters.values() for waiter in group]
        self._waiters.clear()
        for waiter in waiters:
            waiter.error = _again(error)
            waiter.woken.set()


def _again(error: Exception) -> Exception:
    """An exception for each who raises it: a shared one would gather all their tracebacks."""
    return type(error)(*error.args)

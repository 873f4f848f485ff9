"""Filler: whole versions into the cache, many at once, behind the backs of those who read.

Invariants: what it asks for waits in the queue for readahead, where those who wait for bytes go first,
and is never more than LIMIT; once a version is filled, its bytes have been checked as a reader's
would be. Nothing goes on after `close`.

Must not know: files, which versions there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError, CorruptData
from b2mount.model import ByteRange, ObjectVersion
from b2mount.reading.fetcher import LONGEST, BlockFetcher
from b2mount.reading.flight import count_of, span_of
from b2mount.reading.integrity import Witness

LIMIT: Final = 28 << 20
"""Bytes on their way: seven connections of 25 MB/s fill a line of 125, and readers' own readahead has
more than that left."""
_TRIES: Final = 4
_PAUSE: Final = 0.05
"""Seconds until it is tried again when readers have taken all the room for readahead."""


@attrs.define(eq=False)
class Filler:
    """See the module."""

    _fetcher: BlockFetcher
    _size: int = 0
    _freed: trio.Event = attrs.field(factory=trio.Event)

    async def fill(self, version: ObjectVersion, arrived: Callable[[int], None]) -> None:
        """All of a version is in the cache when this returns, unless it has been trimmed meanwhile;
        `arrived` is told of bytes as they come. Raises what the store raises, and CorruptData."""
        witness = Witness()
        await self._fetcher.begin(version, witness)
        failures: list[B2MountError] = []
        async with trio.open_nursery() as nursery:
            for piece in self._pieces(version):
                await self._take_room(span_of(version, piece).size)
                nursery.start_soon(self._fill_piece, version, piece, arrived, failures)
        if failures:
            raise failures[0]
        check = witness.check
        if check is not None:
            while check.is_running:  # it may have further to go than a reader is held back for
                await check.settled.wait()
            await self._fetcher.read(version, ByteRange(version.size - 1, version.size), witness)

    def close(self) -> None:
        """End whatever is still on its way."""
        self._fetcher.release(self)

    def _pieces(self, version: ObjectVersion) -> list[range]:
        count = count_of(version)
        length = count if self._fetcher.takes_whole(version) else LONGEST
        return [range(at, min(count, at + length)) for at in range(0, count, length)]

    async def _take_room(self, size: int) -> None:
        while self._size and self._size + size > LIMIT:
            await self._freed.wait()
        self._size += size

    async def _fill_piece(
        self,
        version: ObjectVersion,
        piece: range,
        arrived: Callable[[int], None],
        failures: list[B2MountError],
    ) -> None:
        try:
            await self._have(version, piece)
            arrived(span_of(version, piece).size)
        except B2MountError as error:
            failures.append(error)
        finally:
            self._size -= span_of(version, piece).size
            self._freed.set()
            self._freed = trio.Event()

    async def _have(self, version: ObjectVersion, piece: range) -> None:
        for attempt in range(1, _TRIES + 1):
            while self._fetcher.want(version, piece, self) < piece.stop:  # noqa: ASYNC110 nobody tells
                await trio.sleep(_PAUSE)
            try:
                for index in piece:
                    await self._fetcher.arrival(version, index)
            except CorruptData:
                if attempt == _TRIES:
                    raise
            else:
                if attempt == _TRIES or self._fetcher.lost(version, piece) is None:
                    return  # if not, one of its requests has failed before anybody waited for it

"""ObjectReader: the bytes of one version for one open handle, with its own readahead.

Invariants: a reader never leaves its version; once closed, nothing is fetched ahead for it.

Must not know: paths, inodes, staged bytes.
"""

from __future__ import annotations

from b2mount.errors import NotFound, Stale
from b2mount.model import ByteRange, ObjectVersion
from b2mount.reading.block_file import BLOCK_SIZE, Data
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.integrity import Witness
from b2mount.reading.readahead import ReadaheadWindow


class ObjectReader:
    """See the module."""

    def __init__(self, version: ObjectVersion, fetcher: BlockFetcher) -> None:
        self.version = version
        self._fetcher = fetcher
        self._window = ReadaheadWindow(version.size, BLOCK_SIZE)
        self._witness = Witness()
        self._is_closed = False

    async def read(self, span: ByteRange) -> Data:
        """The bytes of `span`, which lies within the version. Raises what the store raises, Stale when
        somebody has deleted the version, and CorruptData when these bytes, or some this reader has had,
        were found wrong."""
        if not span:
            return b""
        await self._fetcher.begin(self.version, self._witness)
        if not self._is_closed:
            self._look_ahead(span)
        try:
            return await self._fetcher.read(self.version, span, self._witness)
        except NotFound as error:
            raise Stale(f"B2 has this version of {self.version.path} no more") from error

    def _look_ahead(self, span: ByteRange) -> None:
        asked = range(span.start // BLOCK_SIZE, -(-span.stop // BLOCK_SIZE))
        lost = self._fetcher.lost(self.version, asked)
        if lost is not None:
            self._window.missed(lost)
        for flight in self._window.after(span, self._fetcher.allowance(self), self._fetcher.flight_size):
            taken = self._fetcher.want(self.version, flight, self)
            if taken < flight.stop:
                self._window.taken(taken)
                return

    def close(self) -> None:
        """End its readahead. A read that is waiting still gets its bytes."""
        self._is_closed = True
        self._fetcher.release(self)

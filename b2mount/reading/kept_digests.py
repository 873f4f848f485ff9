"""KeptDigests: the checksums that the blocks of versions must have, on disk beside the blocks.

They stay when the blocks go. Invariants: what is not whole and undamaged reads as nothing known.

Must not know: how they came to be known.
"""

from __future__ import annotations

import logging
from array import array
from typing import Final

import attrs

from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.cache_layout import DIGESTS, directory_key, directory_of
from b2mount.reading.whole_file import read_whole, write_whole
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

UNKNOWN: Final = 0
"""In place of a checksum that nobody knows. Of the real ones one in four billion is taken for it."""


@attrs.define(eq=False)
class KeptDigests:
    """See the module."""

    root: str
    lane: ThreadLane
    keys: set[str] = attrs.field(factory=set)
    """Of the versions of which there are any."""

    async def get(self, version_id: str) -> array[int] | None:
        """The CRC-32 of each block of a version, UNKNOWN for some of them; None when none is known."""
        if directory_key(version_id) not in self.keys:
            return None
        try:
            data = await self.lane.run(read_whole, self._path(version_id), _identity(version_id))
        except OSError:
            return None
        return None if data is None or len(data) % 4 else array("I", data)

    async def keep(self, version_id: str, digests: array[int]) -> None:
        """Remember what is known to be right of a version, as far as the disk lets us."""
        path, identity = self._path(version_id), _identity(version_id)
        try:
            await self.lane.run_uncancelled(write_whole, path, identity, digests.tobytes())
        except OSError as error:
            log.info("checksums are not kept: %s", error)
            return
        self.keys.add(directory_key(version_id))

    def _path(self, version_id: str) -> str:
        return f"{directory_of(self.root, directory_key(version_id))}/{DIGESTS}"


def _identity(version_id: str) -> bytes:
    return f"{version_id}/crc32*{BLOCK_SIZE}".encode("utf-8", "surrogatepass")

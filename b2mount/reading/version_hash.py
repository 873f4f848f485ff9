"""The SHA-1 of a version, over its blocks in order.

Must not know: where blocks come from, what is done when it is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from b2mount.reading.block_file import Data, checksum_of
from b2mount.reading.flight import joined
from b2mount.threads import ThreadLane

_QUICK: Final = 256 * 1024
"""Bytes that are hashed sooner than a thread has begun."""


class VersionHash:
    """Takes the blocks of one version as they come, in order."""

    def __init__(self) -> None:
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def add(self, blocks: Sequence[Data]) -> None:
        """Hash blocks. For a thread, where they are many."""
        for data in joined(blocks):
            self._sha1.update(data)

    def take(self, blocks: Sequence[Data]) -> list[int]:
        """Hash blocks and return their checksums. For a thread."""
        self.add(blocks)
        return [checksum_of(data) for data in blocks]

    def matches(self, sha1: str | None) -> bool:
        """Whether that is the SHA-1, in hex, of all blocks so far; never where none is known."""
        return sha1 is not None and self._sha1.hexdigest() == sha1.lower()


async def is_right(blocks: Sequence[Data], sha1: str | None, lane: ThreadLane) -> bool:
    """Whether that is the SHA-1 of these blocks; found out in a thread where that is sooner done than a
    loop's pause."""
    whole = VersionHash()
    if sum(map(len, blocks)) > _QUICK:
        await lane.run(whole.add, blocks)
    else:
        whole.add(blocks)
    return whole.matches(sha1)

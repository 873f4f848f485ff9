"""Pure: the blocks that arrived or were read last, in memory, first in first out.

Not by last use: readers in order never come back, and what was read ahead for them must outlive what
they have had already. So a block stays until `capacity` bytes have come after it, whoever reads it.

Must not know: where blocks come from, trio.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from b2mount.model import BlockId

LEAST: Final = 1024
"""Bytes that a block counts at least when room is made: a tiny one takes hundreds beside its own."""


@attrs.define(eq=False)
class RecentBlocks:
    """At most `capacity` bytes of blocks, and one for each LEAST of them, by arrival."""

    capacity: int
    size: int = 0
    _blocks: OrderedDict[BlockId, bytes | memoryview] = attrs.field(factory=OrderedDict)

    def __contains__(self, block: BlockId) -> bool:
        return block in self._blocks

    def get(self, block: BlockId) -> bytes | memoryview | None:
        """Its bytes, if they are still here."""
        return self._blocks.get(block)

    def get_run(self, version_id: str, indexes: range) -> list[bytes | memoryview] | None:
        """Neighbouring blocks in order, if all of them are still here."""
        run: list[bytes | memoryview] = []
        for index in indexes:
            data = self._blocks.get(BlockId(version_id, index))
            if data is None:
                return None
            run.append(data)
        return run

    def add(self, block: BlockId, data: bytes | memoryview) -> None:
        """Keep a block; the oldest ones go until all fit."""
        self.discard(block)
        self._blocks[block] = data
        self.size += len(data)
        while self.size > self.capacity or len(self._blocks) * LEAST > self.capacity:
            _, oldest = self._blocks.popitem(last=False)
            self.size -= len(oldest)

    def discard(self, block: BlockId) -> None:
        """Forget a block. Fine when it is not here."""
        data = self._blocks.pop(block, None)
        if data is not None:
            self.size -= len(data)

    def discard_version(self, version_id: str) -> int:
        """Forget all blocks of a version; returns how many bytes that were."""
        before = self.size
        for block in [block for block in self._blocks if block.version_id == version_id]:
            self.discard(block)
        return before - self.size

"""Choices: decisions made of a fuzzer's bytes, so that a small change of bytes changes few decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs

T = TypeVar("T")


@attrs.define
class Choices:
    """Takes from the front; when all is used up, every decision is the first one."""

    data: bytes
    _place: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to decide by."""
        return self._place >= len(self.data)

    def take(self, most: int) -> bytes:
        """So many bytes, or as many as are left."""
        taken = self.data[self._place : self._place + most]
        self._place += len(taken)
        return taken

    def below(self, end: int) -> int:
        """A number from 0 to before `end`."""
        width = (max(end - 1, 1).bit_length() + 7) // 8
        return int.from_bytes(self.take(width)) % end

    def chance(self, one_in: int) -> bool:
        """True once in so many times; False when all is used up."""
        return not self.is_over and self.below(one_in) == 0

    def of(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.below(len(items))]

    def piece(self) -> bytes:
        """Some bytes, mostly few."""
        return self.take(self.below(64) if not self.chance(8) else self.below(4096))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data))

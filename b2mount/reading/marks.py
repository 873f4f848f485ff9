"""Pure: a set of numbers in one bit each: a terabyte has eight million blocks, which are 1 MB here and
more than half a gigabyte as a set of Python's.

Must not know: what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterable


class Marks:
    """See the module; `len` is how many are marked. Numbers from 0."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self._count = 0
        for number in numbers:
            self.add(number)

    def add(self, number: int) -> None:
        """Mark it."""
        place, bit = number >> 3, 1 << (number & 7)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits)))
        if not self._bits[place] & bit:
            self._bits[place] |= bit
            self._count += 1

    def discard(self, number: int) -> None:
        """Unmark it. Fine when it is not marked."""
        if number in self:
            self._bits[number >> 3] &= ~(1 << (number & 7))
            self._count -= 1

    def __contains__(self, number: int) -> bool:
        return number >> 3 < len(self._bits) and bool(self._bits[number >> 3] >> (number & 7) & 1)

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget all."""
        self._bits.clear()
        self._count = 0

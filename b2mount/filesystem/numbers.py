"""Which inode numbers belong to which part of a mount.

Each catalog of names below `.b2` has a range of its own, so that a number tells where it is known. The
live bucket has the first range: it would last for a million new inodes a second, for twelve days, and
beyond it nothing overflows but into ranges that begin much later.
"""

from __future__ import annotations

from typing import Final

ENTRANCE: Final = ".b2"
"""The directory at the mount's root that all other ranges are below."""

_BITS: Final = 40

LIVE: Final = 0
"""The range of the bucket as it is."""
TOP: Final = 1
"""Of `.b2` itself and `.b2/at`."""
TRASH: Final = 2
VERSIONS: Final = 3
NAMES: Final = 4
FIRST_VIEW: Final = 16
"""The first moment's; each further one has the next."""


def area_of(number: int) -> int:
    """The range that a number is in."""
    return number >> _BITS


def first_number(area: int) -> int:
    """The first number of a range."""
    return (area << _BITS) + 1

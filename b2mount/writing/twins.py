"""Twins: objects that this mount has sent or read lately, by their SHA-1, so that the same bytes under
another name need not be sent: B2 copies them, for one call of class C.

That two have the same SHA-1 is not taken for enough: the checksums of all blocks have to be the same, too,
and those are known only of bytes that went through this machine.

Must not know: the store, checksums.
"""

from __future__ import annotations

from typing import Final

import attrs
from cachetools import LRUCache

from b2mount.model import ObjectVersion

SMALLEST: Final = 10 << 20
"""Bytes from which on a copy is worth its call."""
MOST: Final = 10_000
"""Versions that are remembered; about 1 KB each."""


def _lately() -> LRUCache[tuple[str, int], ObjectVersion]:
    return LRUCache(MOST)


@attrs.define(eq=False)
class Twins:
    """See the module."""

    _known: LRUCache[tuple[str, int], ObjectVersion] = attrs.field(factory=_lately)

    def note(self, version: ObjectVersion) -> None:
        """It was sent or is being read here."""
        if version.size >= SMALLEST and version.sha1 is not None:
            self._known[(version.sha1, version.size)] = version

    def of(self, sha1: str, size: int) -> ObjectVersion | None:
        """The latest version that says of itself that it has such bytes; B2 may have it no more."""
        return self._known.get((sha1, size))

    def forget(self, version: ObjectVersion) -> None:
        """It is not there, or can't be copied."""
        if version.sha1 is not None:
            self._known.pop((version.sha1, version.size), None)

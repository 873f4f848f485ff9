"""Tree: where directory entries come from, read-only and without memory.

A live bucket is one Tree, a bucket as of a moment is another: the Namespace does not know which it
has. Every method asks the store afresh and may raise what the store raises.

Must not know: inodes, caches, what this mount changed.
"""

from __future__ import annotations

from typing import Protocol

from b2mount.model import Entry, ObjectPath, ObjectVersion
from b2mount.namespace.listing import Level
from b2mount.store.interface import ObjectPage


class Tree(Protocol):
    """A source of entries."""

    async def page(self, directory: ObjectPath, cursor: str, rows: int) -> Level:
        """The entries of a directory from `cursor` on (empty for the first), `rows` at most, one
        request."""
        ...

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One entry, None when there is none. One request, seldom more."""
        ...

    async def flat(self, root: ObjectPath, start: str, rows: int) -> ObjectPage:
        """The objects below a directory, at any depth, from the key `start` on, `rows` at most, one
        request."""
        ...

    async def subtree(self, directory: ObjectPath) -> list[ObjectVersion]:
        """Every object at or below the directory, placeholders and markers too, in key order."""
        ...

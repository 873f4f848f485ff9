"""AccountTree: every bucket that the key can see as a top directory, each of them a tree.

Invariants: what is asked about a bucket goes to its tree; only the directory of the buckets itself
is answered here, by one request for all of them.

Must not know: inodes, caches, what this mount changed.
"""

from __future__ import annotations

import attrs

from b2mount.model import DELIMITER, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.listing import Level
from b2mount.namespace.tree import Tree
from b2mount.store.interface import ObjectPage, ObjectStore


@attrs.frozen(eq=False)
class AccountTree:
    """A whole account."""

    _store: ObjectStore
    _buckets: Tree

    async def page(self, directory: ObjectPath, cursor: str, rows: int) -> Level:
        """The entries of a directory from `cursor` on, one request. Buckets come all at once."""
        if not directory.is_account:
            return await self._buckets.page(directory, cursor, rows)
        return Level(tuple(await self._entries()), None, None, (), None)

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One entry, None when there is none. One request, seldom more."""
        if not directory.is_account:
            return await self._buckets.entry(directory, name)
        return next((entry for entry in await self._entries() if entry.name == name), None)

    async def flat(self, root: ObjectPath, start: str, rows: int) -> ObjectPage:
        """As Tree, for a directory in a bucket: what is in several has no order in common."""
        return await self._buckets.flat(root, start, rows)

    async def subtree(self, directory: ObjectPath) -> list[ObjectVersion]:
        """Every object at or below the directory; bucket after bucket for the account."""
        if not directory.is_account:
            return await self._buckets.subtree(directory)
        found: list[ObjectVersion] = []
        for entry in await self._entries():
            found += await self._buckets.subtree(directory.directory(entry.name))
        return found

    async def _entries(self) -> list[Entry]:
        names = [bucket.name for bucket in await self._store.list_buckets()]
        return [Entry(name, Kind.DIRECTORY, None) for name in sorted(names, key=_order)]


def _order(name: str) -> str:
    """Directories stand where their keys would: `a-b/` before `a/`."""
    return name + DELIMITER

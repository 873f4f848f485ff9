"""PathGate: many may change names at once, but a directory that is being moved stands still.

Invariants: while `moving(path)` is held, nobody else is inside `using` a path under it; `using`
never waits for anything but a move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from b2mount.model import ObjectPath


@attrs.define(eq=False)
class PathGate:
    """Shared use of single paths, exclusive use of a directory's whole tree."""

    _used: Counter[ObjectPath] = attrs.field(factory=Counter)
    _moved: list[ObjectPath] = attrs.field(factory=list)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @asynccontextmanager
    async def using(self, *paths: ObjectPath) -> AsyncIterator[None]:
        """Hold `paths` still against moves of the directories above them."""
        while any(tree.holds(path) for tree in self._moved for path in paths):
            await self._changed.park()
        self._used.update(paths)
        try:
            yield
        finally:
            self._used.subtract(paths)
            for path in paths:
                if not self._used[path]:
                    del self._used[path]
            self._changed.unpark_all()

    @asynccontextmanager
    async def moving(self, *trees: ObjectPath) -> AsyncIterator[None]:
        """Hold everything under `trees`; waits until whoever is inside has left."""
        while any(a.holds(b) or b.holds(a) for a in self._moved for b in trees):
            await self._changed.park()
        self._moved.extend(trees)
        try:
            while any(tree.holds(path) for tree in trees for path in self._used):
                await self._changed.park()
            yield
        finally:
            for tree in trees:
                self._moved.remove(tree)
            self._changed.unpark_all()

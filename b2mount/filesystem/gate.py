"""PathGate: many may change names at once, but what is being moved stands still.

A place is a function that says its path, because a path may change while one waits for the gate:
what is inside is told the path that holds from then on.

Invariants: while a path is held by `moving`, nobody else is inside `using` or `moving` it or anything
under it, or `moving` a directory above it; `using` never waits for anything but a move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from b2mount.model import ObjectPath

Place = Callable[[], ObjectPath]


@attrs.define(eq=False)
class PathGate:
    """Shared use of single paths, exclusive use of a file or of a directory's whole tree."""

    _used: Counter[ObjectPath] = attrs.field(factory=Counter)
    _moved: list[ObjectPath] = attrs.field(factory=list)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @asynccontextmanager
    async def using(self, place: Place) -> AsyncIterator[ObjectPath]:
        """Hold a path still against moves of itself and of the directories above it."""
        path = place()
        while any(_covers(tree, path) for tree in self._moved):
            await self._changed.park()
            path = place()
        self._used[path] += 1
        try:
            yield path
        finally:
            self._used[path] -= 1
            if not self._used[path]:
                del self._used[path]
            self._changed.unpark_all()

    @asynccontextmanager
    async def moving(self, *places: Place) -> AsyncIterator[list[ObjectPath]]:
        """Hold paths and everything under them; waits until whoever is inside has left."""
        paths = [place() for place in places]
        while any(_covers(a, b) or _covers(b, a) for a in self._moved for b in paths):
            await self._changed.park()
            paths = [place() for place in places]
        self._moved.extend(paths)
        try:
            while any(_covers(tree, path) for tree in paths for path in self._used):
                await self._changed.park()
            yield paths
        finally:
            for path in paths:
                self._moved.remove(path)
            self._changed.unpark_all()


def _covers(tree: ObjectPath, path: ObjectPath) -> bool:
    return tree == path or tree.holds(path)

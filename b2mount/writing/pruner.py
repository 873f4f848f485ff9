"""Pruner: removes versions that this mount made and has superseded, beyond so many of a name.

What it removes and what not:

    a version that others made                 never: only ids that B2 gave to us are known here
    an empty version that was superseded       always, and it does not count: a shell's `>` makes one of the
                                               file that it writes anew
    a version that retention protects          never: it is forgotten
    one that an open file shows, that is being not before that is over
      read or that unsent bytes stand on
    one of a name that has been hidden, or     not now: others may have removed what came after it. It
      whose newest version is older            is looked at again after the next upload of the name
    what a rename has left under the old name  not as long as nothing new has that name: it is hidden,
      and what was removed                     not superseded

Right after an upload B2's own reply says that there is a newer version; later on it is asked (a HEAD, class
B). Deleting is free (class A), oldest first.

Invariants: at least the newest `keep` of ours that count stay; nothing here fails or delays an operation.
What is to go is chosen at one moment, when nobody uses it, and from then on `is_going` says so: nobody begins
to.

Must not know: who makes versions, and why.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs
import trio
from cachetools import LRUCache

from b2mount.errors import B2MountError, NotFound, NotPermitted, Unavailable
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.copying import in_parallel
from b2mount.writing.own_versions import OwnVersions

log = logging.getLogger(__name__)

InUse = Callable[[], Iterable[ObjectVersion | None]]

PARALLEL: Final = 8
LOOK_AGAIN: Final = 10.0
"""Seconds after which what could not be removed is tried again."""
SETTLING: Final = 5.0
"""Seconds that the end of a mount waits for removals; the next mount does the rest."""
GONE: Final = 50_000
"""Versions that are remembered as removed; about 200 bytes each. Names outlive them by a time to live."""


def _gone() -> LRUCache[str, None]:
    return LRUCache(GONE)


@attrs.define(eq=False)
class Pruner:
    """See the module. Nothing is removed but while `run` runs."""

    _store: ObjectStore
    _own: OwnVersions
    _keep: int
    """Versions of a name that stay, the current one among them."""
    _watched: list[InUse] = attrs.field(factory=list, init=False)
    _made: list[tuple[ObjectVersion, bool]] = attrs.field(factory=list, init=False)
    _waiting: set[ObjectPath] = attrs.field(factory=set, init=False)
    """Names to be looked at again."""
    _going: LRUCache[str, None] = attrs.field(factory=_gone, init=False)
    """The ids of versions that are removed, or about to be."""
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _settled: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Nothing is left to do but what waits for others."""

    def watch(self, in_use: InUse) -> None:
        """Somebody who can tell what must stay for now."""
        self._watched.append(in_use)

    def made(self, version: ObjectVersion, *, counts: bool = True) -> None:
        """B2 has confirmed a version of ours, which is the newest of its name now. One that does not count
        is removed when it is superseded, and those that are kept are so many besides."""
        self._made.append((version, counts))
        self._wake.set()
        if self._settled.is_set():
            self._settled = trio.Event()

    def is_going(self, version_id: str) -> bool:
        """Whether a version is removed, or about to be: who is not using it yet must not begin to."""
        return version_id in self._going

    async def run(self) -> None:
        """Remove, until cancelled. Begins with what an earlier mount left. Whoever is watched has to know by
        now what that one left unsent."""
        await self._own.open()
        try:
            self._waiting.update(await self._own.names_with_more(self._keep))
            while True:
                await self._round()
                if not self._made:
                    self._settled.set()
                with trio.move_on_after(LOOK_AGAIN if self._waiting else math.inf):
                    await self._wake.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._own.close()

    async def settle(self) -> None:
        """Wait, for a short time, until what can be removed now is removed."""
        with trio.move_on_after(SETTLING):
            await self._settled.wait()

    async def _round(self) -> None:
        made, self._made, self._wake = self._made, [], trio.Event()
        if made:
            await self._own.add(made)
        fresh = {version.path for version, _ in made}
        names, self._waiting = fresh | self._waiting, set()
        found: dict[ObjectPath, Sequence[ObjectVersion]] = {}

        async def look_at(path: ObjectPath) -> None:
            found[path] = await self._superseded(path, is_fresh=path in fresh)

        await in_parallel(PARALLEL, look_at, list(names))
        await in_parallel(PARALLEL, self._remove_all, self._choose(found))

    async def _superseded(self, path: ObjectPath, *, is_fresh: bool) -> Sequence[ObjectVersion]:
        """What may go, unless it is in use."""
        old = await self._own.beyond(path, self._keep)
        if not old or is_fresh:
            return old
        try:
            newest = await self._store.stat(path)
        except NotFound:
            log.debug("%s is hidden: its old versions stay", path)
        except Unavailable:
            self._waiting.add(path)
        except B2MountError as error:
            log.warning("old versions of %s stay: %s", path, error)
        else:
            return [version for version in old if version.uploaded_ms < newest.uploaded_ms]
        return []

    def _choose(
        self, found: Mapping[ObjectPath, Sequence[ObjectVersion]]
    ) -> list[tuple[ObjectPath, list[ObjectVersion]]]:
        """By name, what nobody uses; from now on nobody can."""
        used = {version.version_id for ask in self._watched for version in ask() if version is not None}
        chosen = []
        for path, old in found.items():
            free = [version for version in old if version.version_id not in used]
            self._going.update((version.version_id, None) for version in free)
            if len(free) < len(old):
                self._waiting.add(path)
            if free:
                chosen.append((path, free))
        return chosen

    async def _remove_all(self, chosen: tuple[ObjectPath, list[ObjectVersion]]) -> None:
        path, versions = chosen
        try:
            for version in versions:
                await self._remove(version)
        except Unavailable:
            self._waiting.add(path)
        except B2MountError as error:
            log.warning("old versions of %s stay: %s", path, error)
            for version in versions:
                self._going.pop(version.version_id, None)

    async def _remove(self, version: ObjectVersion) -> None:
        try:
            await self._store.delete_version(version)
        except NotPermitted as error:
            log.debug("version %s of %s stays: %s", version.version_id, version.path, error)
            self._going.pop(version.version_id, None)
        except NotFound:
            pass
        await self._own.forget([version])

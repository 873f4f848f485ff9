"""Strays: copies that a rename may have left under the new name although it was reported as failed: the reply
to the copy was lost, or the old name could not be hidden and the copy not be removed then.

A stray is removed as soon as B2 answers, when all of this is so: it is what a copy of the source would be,
it is not what the name showed before, the source still has its own name, and nobody is moving it just now.
So whoever did the rename again, here or elsewhere, keeps what came of it. And once this mount makes anything
else under the name, nothing there is a stray any more: `cp -p` makes what a copy of the source would be.

Invariants: of what is removed the same bytes are under the old name. Nothing here outlives the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import attrs

from b2mount.errors import B2MountError
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.copying import is_copy, may_pass, newest

log = logging.getLogger(__name__)


@attrs.frozen
class Stray:
    """What may be where it should not be."""

    source: ObjectVersion
    path: ObjectPath
    replaces: str | None
    """The id of the version that had the new name before, as far as it is known; None for nothing."""
    begun_ms: int
    """When the rename began, by B2's clock."""


@attrs.define(eq=False)
class Strays:
    """See the module."""

    _store: ObjectStore
    _in_use: Callable[[], Iterable[ObjectVersion]]
    """What is being moved or copied."""
    _owed: list[Stray] = attrs.field(factory=list, init=False)

    @property
    def are_owed(self) -> bool:
        """Whether there may be any."""
        return bool(self._owed)

    def may_be_at(self, path: ObjectPath) -> bool:
        """Whether one may be under this name."""
        return any(stray.path == path for stray in self._owed)

    def owe(self, stray: Stray) -> None:
        """It may be there."""
        self._owed.append(stray)

    def forget(self, path: ObjectPath) -> None:
        """Something is about to be made under this name: from now on nothing there is removed."""
        self._owed = [stray for stray in self._owed if stray.path != path]

    async def pay(self) -> bool:
        """Remove them; whether there were any. Raises what may pass; the rest is still owed then, and so is
        what somebody is moving just now."""
        has_paid = False
        for stray in list(self._owed):
            try:
                found = await self._found(stray)
                # in this order: whoever made what was found is at it still, or has hidden the source
                if any(version.version_id == stray.source.version_id for version in self._in_use()):
                    continue
                if found is not None and stray in self._owed:
                    log.info("%s is removed: the rename of %s had failed", stray.path, stray.source.path)
                    await self._store.delete_version(found)
                    has_paid = True
            except B2MountError as error:
                if may_pass(error, self._store):
                    raise
                log.warning("%s may be under its old name too: %s", stray.path, error)
            if stray in self._owed:
                self._owed.remove(stray)
        return has_paid

    async def _found(self, stray: Stray) -> ObjectVersion | None:
        there = await newest(self._store, stray.path)
        if there is None or there.version_id == stray.replaces or not is_copy(there, stray.source):
            return None
        if there.uploaded_ms < stray.begun_ms:
            return None
        source = await newest(self._store, stray.source.path)
        has_name = source is not None and source.version_id == stray.source.version_id
        return there if has_name else None

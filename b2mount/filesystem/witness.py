"""Witness: says so in the log when a close took the place of a version that others have made since the
file was opened here. The last close wins; the other version is still there to be restored.

It looks after the upload, in the background: only then is it sure what was replaced, and nobody has to
wait for it. It costs one listing (class C) for each edit of an object that B2 had. A change of attributes
alone gives way to others (see precedence), and needs none.
"""

from __future__ import annotations

import logging
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.model import Action, ObjectVersion
from b2mount.store.interface import ObjectStore, VersionCursor
from b2mount.writing.sealed_file import SealedFile

log = logging.getLogger(__name__)

WAITING: Final = 1000
"""Looks that may be due; beyond that they are left out, a warning being no promise worth a queue."""


ROWS: Final = 5
"""The version itself, those of it whose reply was lost, and what they have replaced."""


@attrs.frozen
class Look:
    """An upload that may have replaced what it should not."""

    base: ObjectVersion
    known: ObjectVersion
    ours: ObjectVersion


@attrs.define(eq=False)
class Witness:
    """See the module. Nothing is looked at but while `run` runs."""

    _store: ObjectStore
    _due: tuple[trio.MemorySendChannel[Look], trio.MemoryReceiveChannel[Look]] = attrs.field(
        factory=lambda: trio.open_memory_channel[Look](WAITING)
    )

    def uploaded(self, sealed: SealedFile, known: ObjectVersion | None, version: ObjectVersion) -> None:
        """B2 has it as `version`; until then this mount knew of `known`, maybe a copy that its own
        renames have made."""
        base = sealed.base_version
        if base is None or base.path != version.path:
            return
        if sealed.extents.staged_stop or sealed.size != base.size:
            try:
                self._due[0].send_nowait(Look(base, known or base, version))
            except trio.WouldBlock:
                log.debug("nobody looks what %s has replaced", version.path)

    async def run(self) -> None:
        """Look, one after the other, until cancelled."""
        async for look in self._due[1]:
            try:
                await self._look(look.base, look.known, look.ours)
            except B2MountError as error:
                log.debug("what %s has replaced is not known: %s", look.ours.path, error)

    async def _look(self, base: ObjectVersion, known: ObjectVersion, ours: ObjectVersion) -> None:
        path, expected = ours.path, (base.version_id, known.version_id)
        page = await self._store.list_versions(
            path.bucket, path.key, start=VersionCursor(path.key, ours.version_id), limit=ROWS
        )
        before = [v for v in page.versions if v.path == path and not _is_the_same(v, ours)]
        if not before or before[0].uploaded_ms < max(base.uploaded_ms, known.uploaded_ms):
            return  # what was expected there has been removed since
        if before[0].version_id not in expected and before[0].action is Action.UPLOAD:
            log.warning(
                "%s was changed by others while it was open here: version %s, made from %s, has taken the "
                "place of their version %s",
                path,
                ours.version_id,
                base.version_id,
                before[0].version_id,
            )


def _is_the_same(version: ObjectVersion, ours: ObjectVersion) -> bool:
    """Whether it is our upload, or an earlier try of it that B2 has taken without our hearing of it."""
    is_ours = version.version_id == ours.version_id
    return is_ours or (version.sha1 is not None and _contents(version) == _contents(ours))


def _contents(version: ObjectVersion) -> tuple[object, ...]:
    return version.action, version.size, version.sha1, version.content_type, version.info

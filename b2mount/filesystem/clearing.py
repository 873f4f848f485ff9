"""Clearer: with --unlink=delete, what a move has left hidden under the old name is deleted for good.

What is newer than the hide marker stays (others may have written the name since), and so does all of a name
of which a version is protected, is in use, or is what unsent bytes stand on: hidden, as without the option.

Invariants: nothing is deleted whose name is not hidden, or was not moved here; oldest first, so that no old
version shows again for a moment. What goes wrong is in the log: the move itself is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import attrs

from b2mount.errors import B2MountError, NotPermitted
from b2mount.filesystem.protecting import check_deletable
from b2mount.model import Action, ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore, VersionCursor
from b2mount.writing.copying import in_parallel

log = logging.getLogger(__name__)

PARALLEL = 8


@attrs.define(eq=False)
class Clearer:
    """See the module."""

    _store: ObjectStore
    _in_use: Callable[[], Iterable[ObjectVersion | None]]
    """What open files show, and what unsent bytes stand on."""

    async def clear(self, moved: Sequence[ObjectPath]) -> None:
        """These names have been moved away. Never raises."""
        found: list[list[ObjectVersion]] = []
        for bucket in {path.bucket for path in moved}:
            try:
                found += await self._hidden(bucket, sorted({p.key for p in moved if p.bucket == bucket}))
            except B2MountError as error:
                log.warning("what was moved stays under its old name, hidden: %s", error)
        used = {version.version_id for version in self._in_use() if version is not None}

        async def clear_one(versions: list[ObjectVersion]) -> None:
            path = versions[0].path
            if any(version.version_id in used for version in versions):
                log.info("%s stays, hidden: a version of it is in use", path)
                return
            try:
                for version in reversed(versions):
                    await self._store.delete_version(version)
            except B2MountError as error:
                log.warning("%s stays, hidden: %s", path, error)

        await in_parallel(PARALLEL, clear_one, found)

    async def _hidden(self, bucket: str, keys: Sequence[str]) -> list[list[ObjectVersion]]:
        """Of each of these names the newest hide marker and what is older, where all of it can be deleted."""
        found: dict[str, list[ObjectVersion]] = {key: [] for key in keys}
        protected: set[str] = set()
        prefix = _common(keys[0], keys[-1])
        cursor: VersionCursor | None = VersionCursor(keys[0], None)
        while cursor is not None and cursor.key <= keys[-1]:
            page = await self._store.list_versions(bucket, prefix, start=cursor)
            for version in page.versions:
                versions = found.get(version.path.key)
                if versions is None or version.action is Action.START:
                    continue
                if versions or version.action is Action.HIDE:
                    versions.append(version)
                try:
                    check_deletable(version, page.protections.get(version.version_id))
                except NotPermitted as error:
                    log.info("%s stays, hidden: %s", version.path, error)
                    protected.add(version.path.key)
            cursor = page.next_cursor
        return [versions for key, versions in found.items() if versions and key not in protected]


def _common(first: str, last: str) -> str:
    """How both begin, and so all between them."""
    size = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[: min(len(first), len(last)) if size is None else size]

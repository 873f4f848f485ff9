"""OwnVersions: the versions that mounts with this cache directory have made, so that they can be told from
everybody else's. In a spare file: to lose a row costs the storage of one old version and nothing else.

Invariants: a version is here only when B2 has confirmed it to us; at most MOST are kept, the latest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import attrs

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.spare_file import SpareFile

MOST: Final = 500_000
"""Rows; about 200 bytes each."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS made (
    number INTEGER PRIMARY KEY, version_id TEXT NOT NULL UNIQUE,
    bucket TEXT NOT NULL, key TEXT NOT NULL, uploaded_ms INTEGER NOT NULL, counts INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS made_by_name ON made (bucket, key);
"""
_ADD: Final = (
    "INSERT OR IGNORE INTO made (version_id, bucket, key, uploaded_ms, counts) VALUES (?, ?, ?, ?, ?)"
)
_OF_NAME: Final = (
    "SELECT version_id, uploaded_ms, counts FROM made WHERE bucket = ? AND key = ? "
    "ORDER BY uploaded_ms DESC, number DESC"
)
_NAMES_WITH_MORE: Final = (
    "SELECT bucket, key FROM made GROUP BY bucket, key HAVING sum(counts) > ? OR count(*) > sum(counts)"
)


@attrs.define(eq=False)
class OwnVersions:
    """See the module. `open` it first. Never raises but for bugs: what goes wrong is in the log, and old
    versions stay."""

    _file: SpareFile

    @classmethod
    def kept_in(cls, path: Path, lane: ThreadLane) -> Self:
        """With this file."""
        return cls(SpareFile(path, _SCHEMA, lane))

    async def open(self) -> None:
        """Make or open the file."""
        await self._file.open()

    async def close(self) -> None:
        """Let go of the file."""
        await self._file.close()

    async def add(self, made: Iterable[tuple[ObjectVersion, bool]]) -> None:
        """B2 has these, and they are ours. With each goes whether it counts among those that are kept."""
        rows = [
            (each.version_id, each.path.bucket, each.path.key, each.uploaded_ms, counts)
            for each, counts in made
        ]

        def work(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany(_ADD, rows)
                connection.execute(
                    "DELETE FROM made WHERE number <= (SELECT max(number) FROM made) - ?", (MOST,)
                )

        await self._file.run(work, None)

    async def forget(self, gone: Iterable[ObjectVersion]) -> None:
        """These are gone from B2, or are not to be removed."""
        rows = [(version.version_id,) for version in gone]

        def work(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("DELETE FROM made WHERE version_id = ?", rows)

        await self._file.run(work, None)

    async def beyond(self, path: ObjectPath, keep: int) -> list[ObjectVersion]:
        """Those of a name beyond the newest `keep` that count, oldest first, and all that don't count but
        the newest of all; just what deleting needs."""

        def work(connection: sqlite3.Connection) -> list[ObjectVersion]:
            rows: Sequence[tuple[str, int, int]] = connection.execute(
                _OF_NAME, (path.bucket, path.key)
            ).fetchall()
            return _beyond(path, rows, keep)[::-1]

        return await self._file.run(work, [])

    async def names_with_more(self, keep: int) -> list[ObjectPath]:
        """The names that may have some beyond the newest `keep`."""

        def work(connection: sqlite3.Connection) -> list[ObjectPath]:
            return [ObjectPath(*row) for row in connection.execute(_NAMES_WITH_MORE, (keep,))]

        return await self._file.run(work, [])


def _beyond(path: ObjectPath, rows: Sequence[tuple[str, int, int]], keep: int) -> list[ObjectVersion]:
    beyond, kept = [], 0
    for place, (version_id, uploaded_ms, counts) in enumerate(rows):
        if place and not (counts and kept < keep):
            beyond.append(ObjectVersion(path, version_id, 0, uploaded_ms))
        else:
            kept += counts
    return beyond

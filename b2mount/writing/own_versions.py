"""OwnVersions: the versions that mounts with this cache directory have made, so that they can be told from
everybody else's. In a SQLite file of its own: to lose a row costs the storage of one old version and nothing
else, so nothing waits for the disk, and a broken file is begun anew.

Invariants: a version is here only when B2 has confirmed it to us; at most MOST are kept, the latest.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import attrs

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST: Final = 500_000
"""Rows; about 200 bytes each."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY, version_id TEXT NOT NULL UNIQUE,
    bucket TEXT NOT NULL, key TEXT NOT NULL, uploaded_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_name ON versions (bucket, key);
"""
_ADD: Final = "INSERT OR IGNORE INTO versions (version_id, bucket, key, uploaded_ms) VALUES (?, ?, ?, ?)"
_OF_NAME: Final = (
    "SELECT version_id, uploaded_ms FROM versions WHERE bucket = ? AND key = ? "
    "ORDER BY uploaded_ms DESC, number DESC LIMIT -1 OFFSET ?"
)
_NAMES_WITH_MORE: Final = "SELECT bucket, key FROM versions GROUP BY bucket, key HAVING count(*) > ?"


@attrs.define(eq=False)
class OwnVersions:
    """See the module. `open` it first. Never raises but for bugs: what goes wrong is in the log, and old
    versions stay."""

    _path: Path
    _lane: ThreadLane
    _connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Make or open the file."""
        self._connection = await self._lane.run_uncancelled(_open, str(self._path))

    async def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._lane.run_uncancelled(connection.close)

    async def add(self, made: Iterable[ObjectVersion]) -> None:
        """B2 has these, and they are ours."""
        rows = [(each.version_id, each.path.bucket, each.path.key, each.uploaded_ms) for each in made]

        def work(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany(_ADD, rows)
                connection.execute(
                    "DELETE FROM versions WHERE number <= (SELECT max(number) FROM versions) - ?", (MOST,)
                )

        await self._run(work, None)

    async def forget(self, gone: Iterable[ObjectVersion]) -> None:
        """These are gone from B2, or are not to be removed."""
        rows = [(version.version_id,) for version in gone]

        def work(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("DELETE FROM versions WHERE version_id = ?", rows)

        await self._run(work, None)

    async def beyond(self, path: ObjectPath, keep: int) -> list[ObjectVersion]:
        """Those of a name beyond the newest `keep`, oldest first; just what deleting needs."""

        def work(connection: sqlite3.Connection) -> list[ObjectVersion]:
            rows: Sequence[tuple[str, int]] = connection.execute(
                _OF_NAME, (path.bucket, path.key, keep)
            ).fetchall()
            return [ObjectVersion(path, version_id, 0, uploaded_ms) for version_id, uploaded_ms in rows][::-1]

        return await self._run(work, [])

    async def names_with_more(self, keep: int) -> list[ObjectPath]:
        """The names that have more than `keep`."""

        def work(connection: sqlite3.Connection) -> list[ObjectPath]:
            return [ObjectPath(*row) for row in connection.execute(_NAMES_WITH_MORE, (keep,))]

        return await self._run(work, [])

    async def _run(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        connection = self._connection
        if connection is None:
            return otherwise
        try:
            return await self._lane.run_uncancelled(work, connection)
        except (sqlite3.Error, OSError) as error:
            log.info("old versions stay, for %s can't be used: %s", self._path, error)
            return otherwise


def _open(path: str) -> sqlite3.Connection | None:
    for tries in (1, 2):
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(path, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            log.info("%s can't be used (%s)%s", path, error, ", it is begun anew" if tries == 1 else "")
            if connection is not None:
                connection.close()
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(path + end).unlink()
        else:
            return connection
    return None

"""Twins: objects by their SHA-1 and size, so that the same bytes under another name need not be sent: B2
copies them, for one call of class C.

Known are those that this machine has sent or read, and those that listings have shown, which say SHA-1 and
size of every object for nothing; across mounts, in a file. That two have the same SHA-1 is not taken for
enough: see SameBytes.

Must not know: the store, checksums.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import attrs
import trio
from cachetools import LRUCache

from b2mount.model import ObjectVersion
from b2mount.threads import ThreadLane
from b2mount.writing.records import UNREADABLE, version_from_json, version_to_json
from b2mount.writing.spare_file import SpareFile

SMALLEST: Final = 10 << 20
"""Bytes from which on a copy is worth its call. Sending is free, but takes its time: a second for so much at
100 Mbit/s, where a copy takes some tenths. A copy costs $0.000004, as a listing does."""
MOST: Final = 10_000
"""Versions that are remembered in memory; about 1 KB each."""
MOST_ON_DISK: Final = 200_000
"""About 500 bytes each."""
PAUSE: Final = 5.0
"""Seconds in which news gather for one transaction."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS twins (
    number INTEGER PRIMARY KEY, sha1 TEXT NOT NULL, size INTEGER NOT NULL, version TEXT NOT NULL,
    UNIQUE (sha1, size));
"""

_Key = tuple[str, int]


def _lately() -> LRUCache[_Key, ObjectVersion]:
    return LRUCache(MOST)


@attrs.define(eq=False)
class Twins:
    """See the module. What is noted reaches the file only while `run` runs."""

    _file: SpareFile | None = None
    """None to remember nothing across mounts."""
    _known: LRUCache[_Key, ObjectVersion] = attrs.field(factory=_lately, init=False)
    _news: LRUCache[_Key, ObjectVersion] = attrs.field(factory=_lately, init=False)
    """Those that are not in the file yet."""
    _work: trio.Event = attrs.field(factory=trio.Event, init=False)

    @classmethod
    def kept_in(cls, path: Path, lane: ThreadLane) -> Self:
        """With a file for the next mount."""
        return cls(SpareFile(path, _SCHEMA, lane))

    def note(self, version: ObjectVersion) -> None:
        """It was sent or read here, or a listing has shown it."""
        if version.size < SMALLEST or version.sha1 is None:
            return
        key = (version.sha1, version.size)
        before = self._known.get(key)
        self._known[key] = version
        if self._file is not None and (before is None or before.version_id != version.version_id):
            self._news[key] = version
            self._work.set()

    async def of(self, sha1: str, size: int) -> ObjectVersion | None:
        """The latest version that says of itself that it has such bytes; B2 may have it no more."""
        known = self._known.get((sha1, size))
        return known if known is not None or size < SMALLEST else await self._remembered(sha1, size)

    async def forget(self, version: ObjectVersion) -> None:
        """It is not there, or can't be copied."""
        assert version.sha1 is not None
        key = (version.sha1, version.size)
        self._known.pop(key, None)
        self._news.pop(key, None)
        if self._file is not None:
            await self._file.run(
                lambda connection: _write(connection, "DELETE FROM twins WHERE sha1 = ? AND size = ?", [key]),
                None,
            )

    async def run(self) -> None:
        """Keep what is noted, until cancelled."""
        if self._file is None:
            return
        await self._file.open()
        try:
            while True:
                await self._work.wait()
                await trio.sleep(PAUSE)
                await self._keep(self._file)
        finally:
            with trio.CancelScope(shield=True):
                await self._keep(self._file)
                await self._file.close()

    async def _keep(self, file: SpareFile) -> None:
        self._work = trio.Event()
        rows = [(sha1, size, version_to_json(version)) for (sha1, size), version in self._news.items()]
        self._news.clear()

        def work(connection: sqlite3.Connection) -> None:
            _write(connection, "INSERT OR REPLACE INTO twins (sha1, size, version) VALUES (?, ?, ?)", rows)
            oldest = "DELETE FROM twins WHERE number <= (SELECT max(number) FROM twins) - ?"
            _write(connection, oldest, [(MOST_ON_DISK,)])

        if rows:
            await file.run(work, None)

    async def _remembered(self, sha1: str, size: int) -> ObjectVersion | None:
        if self._file is None:
            return None

        def work(connection: sqlite3.Connection) -> str | None:
            select = "SELECT version FROM twins WHERE sha1 = ? AND size = ?"
            row = connection.execute(select, (sha1, size)).fetchone()
            return None if row is None else str(row[0])

        text = await self._file.run(work, None)
        try:
            return None if text is None else version_from_json(text)
        except UNREADABLE:
            return None


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    with connection:
        connection.executemany(statement, rows)

"""SpareFile: a SQLite file that is nice to have: to lose a row costs a little, once. So nothing waits for the
disk, and a broken file is begun anew.

Must not know: what is in it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from b2mount.threads import ThreadLane

log = logging.getLogger(__name__)

T = TypeVar("T")


@attrs.define(eq=False)
class SpareFile:
    """See the module. `open` it first. Never raises but for bugs: what goes wrong is in the log."""

    _path: Path
    _schema: str
    _lane: ThreadLane
    _connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Make or open the file."""
        self._connection = await self._lane.run_uncancelled(_open, str(self._path), self._schema)

    async def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._lane.run_uncancelled(connection.close)

    async def run(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `work` returns, in a thread; `otherwise` where the file can't be used."""
        connection = self._connection
        if connection is None:
            return otherwise
        try:
            return await self._lane.run_uncancelled(work, connection)
        except (sqlite3.Error, OSError) as error:
            log.info("%s can't be used: %s", self._path, error)
            return otherwise


def _open(path: str, schema: str) -> sqlite3.Connection | None:
    for tries in (1, 2):
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(path, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(schema)
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

"""The emulator's SQLite file: its tables, and transactions.

Invariants: one connection, used by one thread at a time. What a transaction has done survives the
death of the process; SQLite's write-ahead log sees to it.

Must not know: what the rows mean.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS buckets (
    number INTEGER PRIMARY KEY AUTOINCREMENT, bucket_id TEXT UNIQUE, name TEXT UNIQUE COLLATE NOCASE,
    document TEXT);

-- Names are BLOBs, so that they sort by bytes. `visible` is 1 for the version that a download by
-- name gets: the newest one (unfinished large files aside) if it is an upload.
CREATE TABLE IF NOT EXISTS versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER, name BLOB, timestamp INTEGER, tie INTEGER,
    action TEXT, visible INTEGER DEFAULT 0, file_id TEXT, size INTEGER, sha1 TEXT, md5 TEXT,
    attributes TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS versions_in_order
    ON versions (bucket, name, timestamp DESC, tie DESC);
CREATE INDEX IF NOT EXISTS names_in_order ON versions (bucket, name) WHERE visible = 1;
CREATE INDEX IF NOT EXISTS unfinished ON versions (bucket, number) WHERE action = 'start';

CREATE TABLE IF NOT EXISTS parts (
    part INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER, number INTEGER, size INTEGER, sha1 TEXT,
    md5 TEXT, timestamp INTEGER, UNIQUE (version, number));

-- The owner is a version's number, or minus a part's. `start` is where in the owner's bytes it begins.
CREATE TABLE IF NOT EXISTS segments (
    owner INTEGER, start INTEGER, blob TEXT, offset INTEGER, length INTEGER,
    PRIMARY KEY (owner, start)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS segments_by_blob ON segments (blob);

CREATE TABLE IF NOT EXISTS keys (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT UNIQUE, document TEXT);
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, kind TEXT, key_id TEXT, subject TEXT, expires INTEGER, document TEXT)
    WITHOUT ROWID;
"""


class Database:
    """One SQLite connection. `path` None keeps everything in memory."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.touch(mode=0o600)  # it holds keys
        self._connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connection.row_factory = sqlite3.Row
        self._depth = 0
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")

    def close(self) -> None:
        self._connection.close()

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """One statement; its rows are read from the cursor."""
        return self._connection.execute(statement, values)

    def executemany(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        self._connection.executemany(statement, rows)

    def one(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """The first row, if there is one."""
        row: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return row

    def all(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing. Inside another one it is a part of that."""
        self._depth += 1
        if self._depth == 1:
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._depth == 1:
                self._connection.execute("ROLLBACK")
            raise
        else:
            if self._depth == 1:
                self._connection.execute("COMMIT")
        finally:
            self._depth -= 1

    def setting(self, name: str) -> str | None:
        """A value kept by `keep`."""
        row = self.one("SELECT value FROM settings WHERE name = ?", name)
        return None if row is None else str(row["value"])

    def keep(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

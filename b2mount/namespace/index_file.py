"""IndexFile: the listings of an index of names in SQLite: plain functions for a thread.

A listing is one row; the entries of a long one are in parts of their own. Each carries a checksum over
all that it says, and a damaged one is an error, as are all of SQLite's.

Nothing is synced while the index is in use: a killed process loses nothing by that, and after a power
cut nobody believes the file (see change_log). `close` syncs it all.

Must not know: trio, what the bytes mean.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from b2mount.model import DELIMITER
from b2mount.namespace.change_log import Change

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (index_id TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS listings (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL,
    asked_ns INTEGER NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_age ON listings (asked_ns);
CREATE TABLE IF NOT EXISTS parts (
    listing INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (listing, number));
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON listings BEGIN
    DELETE FROM parts WHERE listing = OLD.id;
END;
"""
_LEVEL: Final = 1
_SHORT: Final = 64 * 1024
"""Bytes of a listing that is read together with the one before it."""
SUFFIXES: Final = ("", "-wal", "-shm")
ERRORS: Final = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, zlib.error)
"""What a broken file may raise, in whatever way it is broken."""


@attrs.frozen
class StoredListing:
    """One row."""

    listing_id: int
    key: str
    sequence: int
    """Its place in the order of all questions and changes."""
    asked_ns: int
    """When it was asked for, by the wall clock."""
    body: bytes

    @property
    def identity(self) -> bytes:
        """What the body must not be taken for that of another one."""
        return f"{self.listing_id} {self.key} {self.sequence} {self.asked_ns}".encode("utf-8", "replace")


@attrs.define(eq=False)
class IndexFile:
    """An open file. Every method may raise ERRORS."""

    _path: Path
    _writer: sqlite3.Connection
    _reader: sqlite3.Connection
    sequence: int
    """The highest that was stored."""
    next_id: int

    @classmethod
    def open(cls, path: Path, index_id: str) -> IndexFile:
        """Make it, or open it and see that it is the one."""
        writer = _connect(path)
        writer.executescript(_SCHEMA)
        if writer.execute("SELECT count(*) FROM about").fetchone() == (0,):
            writer.execute("INSERT INTO about VALUES (?, 0)", (index_id,))
        ((found, sequence),) = writer.execute("SELECT index_id, sequence FROM about").fetchall()
        if found != index_id:
            raise ValueError("this is another index")
        (latest,) = writer.execute(
            "SELECT max(coalesce((SELECT max(id) FROM listings), 0),"
            " coalesce((SELECT max(listing) FROM parts), 0))"
        ).fetchone()
        return cls(path, writer, _connect(path), int(sequence), int(latest) + 1)

    def write(self, sequence: int, changes: Sequence[Change], listings: Sequence[StoredListing]) -> None:
        """Drop what changes tell is not true any more, then keep these listings, in one transaction."""
        rows = [(*attrs.astuple(each), *_packed(each.identity, each.body)) for each in listings]
        with _transaction(self._writer) as connection:
            for change in changes:
                connection.execute(*_deletion(change))
            connection.executemany("DELETE FROM listings WHERE key = ?", [(row[1],) for row in rows])
            insert = "INSERT INTO listings VALUES (?, ?, ?, ?, ?, ?)"
            connection.executemany(insert, [(*row[:4], *row[5:]) for row in rows])
            connection.execute("UPDATE about SET sequence = max(sequence, ?)", (sequence,))

    def write_part(self, listing_id: int, number: int, body: bytes) -> None:
        """A part of a listing that is still to come."""
        data, checksum = _packed(f"{listing_id} {number}".encode(), body)
        with _transaction(self._writer) as connection:
            row = (listing_id, number, data, checksum)
            connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?)", row)

    def read(self, key: str, following: int) -> list[StoredListing]:
        """The listing of a key, if there is one, and up to `following` short ones whose keys come next."""
        query = "SELECT id, key, sequence, asked_ns, body, checksum FROM listings WHERE key "
        rows = self._reader.execute(f"{query} = ?", (key,)).fetchall()
        if rows and following:
            later = f"{query} > ? AND length(body) < ? ORDER BY key LIMIT ?"
            rows += self._reader.execute(later, (key, _SHORT, following)).fetchall()
        return [_checked(row) for row in rows]

    def read_part(self, listing_id: int, number: int) -> bytes | None:
        """None when the listing has gone."""
        query = "SELECT body, checksum FROM parts WHERE listing = ? AND number = ?"
        rows = self._reader.execute(query, (listing_id, number)).fetchall()
        return _unpacked(f"{listing_id} {number}".encode(), *rows[0]) if rows else None

    def drop_older(self, asked_ns: int, most: int) -> bool:
        """Drop up to `most` listings that were asked for before, and parts without a listing. False when
        there were none."""
        with _transaction(self._writer) as connection:
            oldest = "SELECT id FROM listings WHERE asked_ns < ? LIMIT ?"
            gone = connection.execute(f"DELETE FROM listings WHERE id IN ({oldest})", (asked_ns, most))
            return gone.rowcount > 0

    def drop_strays(self) -> None:
        """Drop parts without a listing, as a killed process leaves them. Nothing else may be under way."""
        with _transaction(self._writer) as connection:
            connection.execute("DELETE FROM parts WHERE listing NOT IN (SELECT id FROM listings)")

    def close(self) -> None:
        """All of it is durable then."""
        self._reader.close()
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()
        for path in (self._path, self._path.parent):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def remove_index(path: Path) -> None:
    """Delete the files; fine when there are none. Raises OSError."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _deletion(change: Change) -> tuple[str, tuple[str | int, ...]]:
    if not change.is_below:
        return "DELETE FROM listings WHERE key = ? AND sequence <= ?", (change.key, change.sequence)
    if change.key == DELIMITER:  # the whole account
        return "DELETE FROM listings WHERE sequence <= ?", (change.sequence,)
    # keys end in a slash, and the sign after it ends the range
    end = change.key[:-1] + chr(ord(change.key[-1]) + 1)
    within = "DELETE FROM listings WHERE key >= ? AND key < ? AND sequence <= ?"
    return within, (change.key, end, change.sequence)


def _packed(identity: bytes, body: bytes) -> tuple[bytes, int]:
    data = zlib.compress(body, _LEVEL)
    return data, zlib.crc32(data, zlib.crc32(identity))


def _unpacked(identity: bytes, data: bytes, checksum: int) -> bytes:
    if zlib.crc32(data, zlib.crc32(identity)) != checksum:
        raise ValueError("a damaged listing")
    return zlib.decompress(data)


def _checked(row: tuple[int, str, int, int, bytes, int]) -> StoredListing:
    listing = StoredListing(*row[:5])
    return attrs.evolve(listing, body=_unpacked(listing.identity, row[4], row[5]))

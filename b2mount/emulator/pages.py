"""Listings of names and of versions, page by page. No HTTP.

Invariants: every page starts with an index seek; a folder row is followed by a seek past all that
lies in the folder, so that a page costs what it shows and not what it hides.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from b2mount.emulator.clock import Clock, parse_file_id
from b2mount.emulator.database import Database
from b2mount.emulator.errors import bad_request
from b2mount.emulator.files import COLUMNS, version_of
from b2mount.emulator.names import successor, to_bytes
from b2mount.emulator.records import Bucket, Folder, Page, Version

LARGEST_PAGE: Final = 10_000

Seek = Callable[[bytes], sqlite3.Cursor]
"""Rows in order from the least name on, read as they are asked for."""


@attrs.frozen
class _Query:
    """What a listing asked for, in bytes."""

    prefix: bytes
    delimiter: bytes
    limit: int

    def folder(self, name: bytes) -> bytes | None:
        """The folder that swallows this name, if one does."""
        if not self.delimiter:
            return None
        at = name.find(self.delimiter, len(self.prefix))
        return None if at < 0 else name[: at + len(self.delimiter)]


class Pages:
    """The two listings of a bucket."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def names(
        self, bucket: Bucket, *, prefix: str = "", delimiter: str = "", start: str = "", limit: int = 100
    ) -> Page:
        """The visible version of each name, from `start` (inclusive) on, and folder rows."""
        query = _Query(to_bytes(prefix), to_bytes(delimiter), limit)

        def seek(least: bytes) -> sqlite3.Cursor:
            return self._database.execute(
                f"SELECT {COLUMNS} WHERE v.bucket = ? AND v.name >= ? AND v.visible = 1"
                " ORDER BY v.bucket, v.name",
                bucket.number,
                least,
            )

        return _page(query, _rows(query, seek, max(query.prefix, to_bytes(start))))

    def versions(
        self,
        bucket: Bucket,
        *,
        prefix: str = "",
        delimiter: str = "",
        start: str = "",
        start_id: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Every version, from (`start`, `start_id`) (inclusive) on, and folder rows. The start need
        not exist any more. Raises ApiError 400 invalid_file_id."""
        query = _Query(to_bytes(prefix), to_bytes(delimiter), limit)
        least = max(query.prefix, to_bytes(start))
        first: Iterable[sqlite3.Row] = ()
        if start_id is not None:
            first = self._rest_of_name(bucket, to_bytes(start), start_id)
            least = max(query.prefix, to_bytes(start) + b"\0")

        def seek(least: bytes) -> sqlite3.Cursor:
            return self._database.execute(
                f"SELECT {COLUMNS} WHERE v.bucket = ? AND v.name >= ?"
                " ORDER BY v.bucket, v.name, v.timestamp DESC, v.tie DESC",
                bucket.number,
                least,
            )

        return _page(query, _rows(query, seek, least, first))

    def _rest_of_name(self, bucket: Bucket, name: bytes, start_id: str) -> sqlite3.Cursor:
        parsed = parse_file_id(start_id)
        if parsed is None:
            raise bad_request(f"Invalid fileId: {start_id}", "invalid_file_id")
        number, timestamp = parsed
        return self._database.execute(
            f"SELECT {COLUMNS} WHERE v.bucket = ? AND v.name = ? AND (v.timestamp, v.tie) <= (?, ?)"
            " ORDER BY v.timestamp DESC, v.tie DESC",
            bucket.number,
            name,
            timestamp,
            self._clock.tie(number),
        )


def _rows(
    query: _Query, seek: Seek, least: bytes, first: Iterable[sqlite3.Row] = ()
) -> Iterator[Version | Folder]:
    """All rows in order, folded into folders; the reader stops when the page is full."""
    for row in first:
        name = bytes(row["name"])
        if not name.startswith(query.prefix) or query.folder(name) is not None:
            break
        yield version_of(row)
    position: bytes | None = least
    while position is not None:
        cursor, position = seek(position), None
        for row in cursor:
            name = bytes(row["name"])
            if not name.startswith(query.prefix):
                return
            folder = query.folder(name)
            if folder is not None:
                cursor.close()
                yield Folder(folder.decode())
                position = successor(folder)
                break
            yield version_of(row)


def _page(query: _Query, rows: Iterator[Version | Folder]) -> Page:
    shown = tuple(itertools.islice(rows, query.limit))
    following = next(rows, None)
    if following is None:
        return Page(shown, None)
    if shown and isinstance(shown[-1], Folder):
        return Page(shown, _past(shown[-1].name) or following.name)
    return Page(shown, following.name, following.file_id if isinstance(following, Version) else None)


def _past(folder: str) -> str | None:
    """A name after all that lie in the folder and before all others, if there is one in UTF-8."""
    try:
        return (successor(folder.encode()) or b"").decode() or None
    except UnicodeDecodeError:
        return None

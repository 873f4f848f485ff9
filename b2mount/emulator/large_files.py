"""Large files: started, fed with parts, finished or cancelled. No HTTP.

Invariants: an unfinished large file is a version with action "start" and no bytes; its parts have
theirs, each part on its own. Finishing hands the parts' segments over; no byte is copied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from b2mount.emulator.contents import Contents
from b2mount.emulator.database import Database
from b2mount.emulator.errors import ApiError, bad_request
from b2mount.emulator.files import COLUMNS, FileTable, version_of
from b2mount.emulator.records import START, UPLOAD, Attributes, Bucket, Content, Part, Segment, Version

MAX_PARTS: Final = 10_000
MAX_FILE_BYTES: Final = 10_000_000_000_000


class LargeFiles:
    """Every unfinished large file. `minimum_part` is checked at finish, as B2 does."""

    def __init__(
        self, database: Database, contents: Contents, files: FileTable, *, minimum_part: int
    ) -> None:
        self._database = database
        self._contents = contents
        self._files = files
        self._minimum_part = minimum_part

    def start(
        self, bucket: Bucket, name: str, attributes: Attributes, *, timestamp: int | None = None
    ) -> Version:
        """Raises ApiError 400 for a bad name or info."""
        nothing = Content((), 0, "none", None)
        return self._files.put(bucket, name, nothing, attributes, timestamp=timestamp, expected_action=START)

    def get(self, file_id: str) -> Version:
        """An unfinished large file. Raises ApiError 400 for anything else."""
        try:
            version = self._files.get(file_id)
        except ApiError as exc:
            raise bad_request(f"No active upload for: {file_id}") from exc
        if version.action != START:
            raise bad_request(f"No active upload for: {file_id}")
        return version

    def put_part(self, file_id: str, number: int, content: Content) -> Part:
        """Add a part, or replace the one of that number. Raises ApiError 400."""
        if not 1 <= number <= MAX_PARTS:
            raise bad_request(f"Part number must be between 1 and {MAX_PARTS}: {number}")
        with self._contents.changes():
            version = self.get(file_id)
            self._drop_part(version, number)
            part = Part(number, content.size, content.sha1, content.md5, self._files.clock.now())
            cursor = self._database.execute(
                "INSERT INTO parts (version, number, size, sha1, md5, timestamp) VALUES (?, ?, ?, ?, ?, ?)",
                version.number,
                number,
                part.size,
                part.sha1,
                part.md5,
                part.timestamp,
            )
            self._contents.give(-(cursor.lastrowid or 0), content.segments)
        return part

    def parts(self, file_id: str, start: int = 1, limit: int = MAX_PARTS) -> list[Part]:
        """In order of their numbers. Raises ApiError 400."""
        version = self.get(file_id)
        rows = self._rows(version, start, limit)
        return [Part(r["number"], r["size"], r["sha1"], r["md5"], r["timestamp"]) for r in rows]

    def finish(self, file_id: str, sha1s: Sequence[str]) -> Version:
        """The parts become one file, dated when it was started. Raises ApiError 400."""
        with self._contents.changes():
            version = self.get(file_id)
            rows = self._rows(version, 1, MAX_PARTS)
            self._check_parts(rows, sha1s)
            size = sum(row["size"] for row in rows)
            segments = tuple(self._segments(rows))
            for row in rows:
                self._contents.release(-row["part"])
            self._contents.give(version.number, segments)
            self._database.execute("DELETE FROM parts WHERE version = ?", version.number)
            self._database.execute(
                "UPDATE versions SET action = ?, size = ? WHERE number = ?", UPLOAD, size, version.number
            )
            self._files.refresh(self._files.bucket_number(version), version.name)
        return self._files.get(file_id)

    def cancel(self, file_id: str) -> Version:
        """Forget the file and its parts. Raises ApiError 400."""
        version = self.get(file_id)
        with self._contents.changes():
            self._files.remove(version)
        return version

    def unfinished(self, bucket: Bucket, prefix: str, start_id: int, limit: int) -> list[Version]:
        """In order of their ids; `start_id` is the number in the id of the first."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} WHERE v.bucket = ? AND v.number >= ? AND v.action = 'start' ORDER BY v.number",
            bucket.number,
            start_id,
        )
        found: list[Version] = []
        for row in rows:
            version = version_of(row)
            if version.name.startswith(prefix):
                found.append(version)
            if len(found) == limit:
                break
        return found

    def _rows(self, version: Version, start: int, limit: int) -> list[sqlite3.Row]:
        return self._database.all(
            "SELECT * FROM parts WHERE version = ? AND number >= ? ORDER BY number LIMIT ?",
            version.number,
            start,
            limit,
        )

    def _segments(self, rows: list[sqlite3.Row]) -> Iterator[Segment]:
        for row in rows:
            yield from self._contents.segments(-row["part"], 0, row["size"])

    def _drop_part(self, version: Version, number: int) -> None:
        old = self._database.one(
            "SELECT part FROM parts WHERE version = ? AND number = ?", version.number, number
        )
        if old is not None:
            self._contents.release(-old["part"])
            self._database.execute("DELETE FROM parts WHERE part = ?", old["part"])

    def _check_parts(self, rows: list[sqlite3.Row], sha1s: Sequence[str]) -> None:
        if len(sha1s) < 2 or len(rows) < 2:
            raise bad_request("large files must have at least 2 parts")
        for position, sha1 in enumerate(sha1s):
            number = position + 1
            if position >= len(rows) or rows[position]["number"] != number:
                raise bad_request(f"Part number {number} has not been uploaded", "missing_part")
            if rows[position]["sha1"].removeprefix("unverified:") != sha1.removeprefix("unverified:"):
                raise bad_request(f"Sha1 mismatch for part number {number}", "part_sha1_mismatch")
        if len(rows) != len(sha1s):
            raise bad_request(f"{len(rows)} parts have been uploaded, {len(sha1s)} were named", "bad_request")
        for row in rows:
            if row["size"] < (1 if row is rows[-1] else self._minimum_part):
                raise bad_request(f"Part number {row['number']} is smaller than {self._minimum_part} bytes")
        if sum(row["size"] for row in rows) > MAX_FILE_BYTES:
            raise bad_request(f"Large files must not exceed {MAX_FILE_BYTES} bytes")

"""Which bytes belong to whom: segments of blobs, shared by copies, reclaimed when nobody has them.

Invariants: an owner's segments cover its bytes without gap, in order of `start`. A blob is removed
only after the transaction that dropped the last segment of it.

Must not know: versions, parts; they are owners, by number.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from b2mount.emulator.blobs import Blobs
from b2mount.emulator.database import Database
from b2mount.emulator.records import Content, Segment

CHUNK: Final = 1 << 20


class Contents:
    """The segments of every owner."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.blobs = blobs
        self._database = database
        self._released: set[str] = set()

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        """A transaction; blobs that it sets free are removed when it has happened."""
        try:
            with self._database.transaction():
                yield
        except BaseException:
            self._released.clear()
            raise
        released, self._released = self._released, set()
        self.blobs.remove(blob for blob in released if not self._is_used(blob))

    def give(self, owner: int, segments: Iterator[Segment] | tuple[Segment, ...]) -> None:
        """The owner, who had no bytes, has these. Inside `changes`."""
        rows: list[tuple[int, int, str, int, int]] = []
        start = 0
        for segment in segments:
            rows.append((owner, start, segment.blob, segment.offset, segment.length))
            start += segment.length
        self._database.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", iter(rows))

    def release(self, owner: int) -> None:
        """The owner has no bytes any more. Inside `changes`."""
        for row in self._database.all("SELECT DISTINCT blob FROM segments WHERE owner = ?", owner):
            self._released.add(row["blob"])
        self._database.execute("DELETE FROM segments WHERE owner = ?", owner)

    def segments(self, owner: int, start: int, stop: int) -> tuple[Segment, ...]:
        """The segments of bytes start..stop (stop not included), cut to size, empty ones left out."""
        if stop <= start:
            return ()
        first = self._database.one(
            "SELECT start FROM segments WHERE owner = ? AND start <= ? ORDER BY start DESC LIMIT 1",
            owner,
            start,
        )
        rows = self._database.all(
            "SELECT * FROM segments WHERE owner = ? AND start >= ? AND start < ? ORDER BY start",
            owner,
            first["start"] if first else 0,
            stop,
        )
        return tuple(self._cut(rows, start, stop))

    def read(self, owner: int, start: int, stop: int) -> bytes:
        """The bytes themselves; for small spans."""
        return b"".join(self.blobs.read(segment) for segment in self.segments(owner, start, stop))

    def hashed(self, segments: tuple[Segment, ...]) -> Content:
        """What a copy of these bytes is, its SHA-1 found by reading them. Touches blobs only, so that
        it may run in another thread while they are pinned."""
        digest = hashlib.sha1(usedforsecurity=False)
        for segment in segments:
            for start in range(0, segment.length, CHUNK):
                length = min(CHUNK, segment.length - start)
                digest.update(self.blobs.read(Segment(segment.blob, segment.offset + start, length)))
        return Content(segments, sum(s.length for s in segments), digest.hexdigest(), None)

    def discard(self, content: Content) -> None:
        """A content that nobody was given: it can go."""
        self.blobs.remove(segment.blob for segment in content.segments if not self._is_used(segment.blob))

    def sweep(self) -> int:
        """Remove blobs that nobody has: leftovers of a process that died. How many there were."""
        stray = [blob for blob in self.blobs.names() if not self._is_used(blob)]
        self.blobs.remove(stray)
        return len(stray)

    def _cut(self, rows: list[sqlite3.Row], start: int, stop: int) -> Iterator[Segment]:
        for row in rows:
            skip = max(0, start - row["start"])
            length = min(row["length"], stop - row["start"]) - skip
            if length > 0:
                yield Segment(row["blob"], row["offset"] + skip, length)

    def _is_used(self, blob: str) -> bool:
        return self._database.one("SELECT 1 FROM segments WHERE blob = ? LIMIT 1", blob) is not None

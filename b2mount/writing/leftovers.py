"""What a cache directory holds of what B2 does not have yet, seen from outside: without taking it from a
mount that works in it, and without changing anything.

Must not know: the store, Journal's queue of changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import attrs

from b2mount.model import ObjectPath
from b2mount.writing.lock_holder import holder_of
from b2mount.writing.records import UNREADABLE, count_of, path_of


@attrs.frozen
class LeftFile:
    """A file that is on record as unsent."""

    path: ObjectPath
    size: int
    since: float
    """Unix seconds of its close."""


@attrs.frozen
class Leftovers:
    """What one state directory (of one source) holds."""

    directory: Path
    files: tuple[LeftFile, ...] = ()
    renames: int = 0
    uploads: frozenset[str] = frozenset()
    """Ids of large files in B2 that were started and are to be finished or cancelled."""
    unreadable: int = 0
    """Records that a mount of this version can't read."""
    trouble: str | None = None
    """Why nothing is known."""
    process: int | None = None
    """The process that works in it."""


def leftovers(cache_dir: Path) -> list[Leftovers]:
    """Of every source that was mounted with this cache directory, by name. Raises OSError."""
    found = []
    for journal in sorted(cache_dir.glob("*/journal.sqlite3")):
        process = holder_of(journal.parent / "staging")
        try:
            found.append(attrs.evolve(_read(journal), process=process))
        except (sqlite3.Error, OSError) as error:
            found.append(Leftovers(journal.parent, trouble=str(error), process=process))
    return found


def _read(journal: Path) -> Leftovers:
    with closing(sqlite3.connect(f"file:{quote(str(journal))}?mode=ro", uri=True, timeout=2)) as connection:
        records = [text for (text,) in connection.execute("SELECT record FROM files ORDER BY sequence")]
        (renames,) = connection.execute("SELECT count(*) FROM moves").fetchone()
        uploads = [upload_id for (upload_id,) in connection.execute("SELECT upload_id FROM large_files")]
    files = list(_files(records))
    known = frozenset(upload_id for upload_id in uploads if not upload_id.startswith("?"))
    return Leftovers(journal.parent, tuple(files), renames, known, len(records) - len(files))


def _files(records: Iterable[str]) -> Iterable[LeftFile]:
    for text in records:
        try:
            record = json.loads(text)
            yield LeftFile(
                path_of(record["path"]), count_of(record["attributes"]["size"]), float(record["since"])
            )
        except UNREADABLE:
            continue

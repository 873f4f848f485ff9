"""BucketState: a B2 account without HTTP. Buckets, files, large files, listings, keys.

`BucketState(None)` keeps all in memory, for fakes; `BucketState(directory)` in a SQLite file and a
tree of blobs, where everything is still there after the process was killed. One state per
directory at a time: another one raises DirectoryInUse.

Invariants: refusals are ApiError, with the status and code that B2 would send. Every method is
plain and quick, but for the writing of bytes; not safe for several threads at once.

Must not know: HTTP, accounts' tokens, who asks.
"""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from typing import IO, Final

from b2mount.emulator.blobs import Blobs, DiskBlobs, MemoryBlobs
from b2mount.emulator.buckets import BucketTable
from b2mount.emulator.clock import Clock
from b2mount.emulator.contents import Contents
from b2mount.emulator.database import Database
from b2mount.emulator.errors import ApiError, DirectoryInUse, bad_request
from b2mount.emulator.files import FileTable
from b2mount.emulator.large_files import LargeFiles
from b2mount.emulator.pages import Pages
from b2mount.emulator.records import UPLOAD, Bucket, Content, Version

MAX_SINGLE_BYTES: Final = 5_000_000_000
"""One upload, one part, one copy."""
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class BucketState:
    """The whole account: `buckets`, `files`, `large_files`, `pages`, and copying between them."""

    def __init__(
        self, directory: Path | None = None, *, clock: Clock | None = None, minimum_part: int = 5_000_000
    ) -> None:
        self._lock: IO[bytes] | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory)
        self.clock = clock or Clock()
        self.database = Database(None if directory is None else directory / "state.sqlite3")
        self.blobs: Blobs = MemoryBlobs() if directory is None else DiskBlobs(directory / "objects")
        self.contents = Contents(self.database, self.blobs)
        self.buckets = BucketTable(self.database)
        self.files = FileTable(self.database, self.contents, self.clock)
        self.large_files = LargeFiles(self.database, self.contents, self.files, minimum_part=minimum_part)
        self.pages = Pages(self.database, self.clock)
        if self.database.setting("closed") != "yes":
            self.contents.sweep()
        self.database.keep("closed", "no")

    def close(self) -> None:
        """Let go of the directory. Without it nothing is lost either, but the next start looks for strays."""
        self.database.keep("closed", "yes")
        self.database.close()
        if self._lock is not None:
            self._lock.close()

    def store(self, data: bytes) -> Content:
        """Bytes for `files.put` or `large_files.put_part`."""
        writer = self.blobs.create()
        writer.write(data)
        return writer.finish()

    def read(self, version: Version, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes start..stop of a version (stop not included)."""
        return self.contents.read(version.number, start, version.size if stop is None else stop)

    def copied(self, source: Version, range_: str | None = None) -> Content:
        """The source's bytes, or a "bytes=a-b" range of them, for another version or a part. Raises
        ApiError 400 source_too_large, or for a source that is no finished upload."""
        content = self.copy_source(source, range_)
        return content if content.sha1 else self.contents.hashed(content.segments)

    def copy_source(self, source: Version, range_: str | None = None) -> Content:
        """As `copied`, but nothing is read: where the SHA-1 is not known it is empty."""
        if source.action != UPLOAD:
            raise bad_request(f"File {source.file_id} is not a finished file")
        start, stop = copy_span(range_, source.size)
        if stop - start > MAX_SINGLE_BYTES:
            raise bad_request(f"Copy source too big: {stop - start}", "source_too_large")
        segments = self.contents.segments(source.number, start, stop)
        if stop - start == source.size and len(source.sha1) == 40:
            return Content(segments, source.size, source.sha1, source.md5)
        return Content(segments, stop - start, "", None)

    def bucket_of(self, version: Version) -> Bucket:
        return self.buckets.get(version.bucket_id)


def _locked(directory: Path) -> IO[bytes]:
    """The lock on a directory; it goes with the process."""
    file = open(directory / "lock", "wb")  # noqa: SIM115 open as long as the state is
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        file.close()
        raise DirectoryInUse(f"{directory} is in use by another emulator") from exc
    return file


def copy_span(text: str | None, size: int) -> tuple[int, int]:
    """What "bytes=a-b" means in a copy of a file of that size. Raises ApiError 400, 416."""
    if text is None:
        return 0, size
    found = _RANGE.fullmatch(text.strip())
    if found is None or not found[1]:
        raise bad_request(f"Bad range: {text}")
    start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    if stop <= start:
        raise bad_request(f"Bad range: {text}")
    if start >= size:
        raise ApiError(416, "range_not_satisfiable", "The requested range is outside the size of the file")
    return start, min(stop, size)

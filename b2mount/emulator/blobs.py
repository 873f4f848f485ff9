"""Where bytes lie: immutable blobs, named by the emulator, on disk or in memory.

Invariants: a blob is written once and never changed. A blob that is pinned (a download reads it)
is not removed before it is let go.

Must not know: what a blob belongs to.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import io
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from b2mount.emulator.records import Content, Segment


class BlobWriter:
    """Takes the bytes of one blob, hashing on the way. End with `finish` or `discard`."""

    def __init__(self, blob: str, target: BinaryIO, drop: Callable[[str], None], *, with_md5: bool) -> None:
        self.size = 0
        self._blob = blob
        self._target = target
        self._drop = drop
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None

    def write(self, data: bytes | bytearray) -> None:
        """Add bytes. Raises OSError for a full disk."""
        self._sha1.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        self.size += len(data)
        self._target.write(data)

    @property
    def sha1(self) -> str:
        """Of what was written so far."""
        return self._sha1.hexdigest()

    def finish(self) -> Content:
        """The bytes are all there. No bytes need no blob."""
        self._target.close()
        if not self.size:
            self._drop(self._blob)
        segments = (Segment(self._blob, 0, self.size),) if self.size else ()
        return Content(segments, self.size, self.sha1, self._md5.hexdigest() if self._md5 else None)

    def discard(self) -> None:
        """Forget it all. May be called after `finish`, when nobody got the content."""
        self._target.close()
        self._drop(self._blob)


class _MemoryTarget(io.BytesIO):
    """Hands its bytes over when it is closed."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        super().__init__()
        self._keep = keep

    def close(self) -> None:
        if not self.closed:
            self._keep(self.getvalue())
        super().close()


class Blobs(Protocol):
    """A place for blobs."""

    def create(self, *, with_md5: bool = True) -> BlobWriter:
        """A new blob. The MD5 costs more time than all the rest together."""
        ...

    def read(self, segment: Segment) -> bytes: ...

    def remove(self, blobs: Iterable[str]) -> None:
        """Nobody refers to them any more. Never raises for one that is gone."""
        ...

    def names(self) -> Iterator[str]: ...

    def path(self, blob: str) -> Path | None:
        """The file that holds it, if files hold blobs here."""
        ...

    def pinned(self, blobs: Iterable[str]) -> contextlib.AbstractContextManager[None]:
        """Inside, these blobs are not removed."""
        ...


class _Pins(ABC):
    """Who reads what, and what is to be removed after that."""

    def __init__(self) -> None:
        self._readers: collections.Counter[str] = collections.Counter()
        self._doomed: set[str] = set()

    def remove(self, blobs: Iterable[str]) -> None:
        for blob in blobs:
            if self._readers[blob]:
                self._doomed.add(blob)
            else:
                self._drop(blob)

    @contextlib.contextmanager
    def pinned(self, blobs: Iterable[str]) -> Iterator[None]:
        held = list(blobs)
        self._readers.update(held)
        try:
            yield
        finally:
            self._readers.subtract(held)
            free = {blob for blob in held if not self._readers[blob]}
            for blob in free:
                del self._readers[blob]
            for blob in free & self._doomed:
                self._doomed.discard(blob)
                self._drop(blob)

    @abstractmethod
    def _drop(self, blob: str) -> None:
        """Delete it now."""


class MemoryBlobs(_Pins):
    """Blobs in this process, for tests."""

    def __init__(self) -> None:
        super().__init__()
        self._blobs: dict[str, bytes] = {}

    def create(self, *, with_md5: bool = True) -> BlobWriter:
        blob = uuid.uuid4().hex
        target = _MemoryTarget(functools.partial(self._blobs.__setitem__, blob))
        return BlobWriter(blob, target, self._drop, with_md5=with_md5)

    def read(self, segment: Segment) -> bytes:
        return self._blobs[segment.blob][segment.offset : segment.offset + segment.length]

    def names(self) -> Iterator[str]:
        return iter(list(self._blobs))

    def path(self, blob: str) -> Path | None:
        return None

    def _drop(self, blob: str) -> None:
        self._blobs.pop(blob, None)


class DiskBlobs(_Pins):
    """A file for each blob, in up to 256 folders."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def create(self, *, with_md5: bool = True) -> BlobWriter:
        blob = uuid.uuid4().hex
        file = self._file(blob)
        file.parent.mkdir(exist_ok=True)
        return BlobWriter(blob, open(file, "xb"), self._drop, with_md5=with_md5)

    def read(self, segment: Segment) -> bytes:
        with open(self._file(segment.blob), "rb", buffering=0) as file:
            return os.pread(file.fileno(), segment.length, segment.offset)

    def names(self) -> Iterator[str]:
        for file in self._directory.glob("??/*"):
            yield file.name

    def path(self, blob: str) -> Path | None:
        return self._file(blob)

    def _drop(self, blob: str) -> None:
        self._file(blob).unlink(missing_ok=True)

    def _file(self, blob: str) -> Path:
        return self._directory / blob[:2] / blob

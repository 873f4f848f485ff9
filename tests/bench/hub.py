"""What the benchmark does to the emulator behind the peers' backs.

It goes to the emulator's state directly, so it is neither delayed nor counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from b2mount.emulator.faults import Fault
from b2mount.emulator.records import Attributes, Bucket, Content, Segment, Version
from b2mount.emulator.seeding import numbered
from b2mount.emulator.server import EmulatorServer
from b2mount.emulator.shaping import Shape
from tests.bench.library import Piece
from tests.bench.measure import Traffic
from tests.bench.sampler import Progress, Sampler

ATTRIBUTES: Final = Attributes("text/plain", {"src_last_modified_millis": "1700000000123"})
PLACEHOLDER: Final = ".bzEmpty"
"""What keeps an empty directory alive: no file of anybody's."""
LIBRARY: Final = "bench-library"
"""A bucket, and the name of the only file in it."""
PAGE: Final = 10_000


@attrs.frozen
class Access:
    """Where the emulator is, and a key that may do everything."""

    url: str
    key_id: str
    key: str


@attrs.frozen
class Activity:
    """What the emulator has been asked so far."""

    traffic: Traffic
    requests: int
    """Those that arrived, answered or not."""


@attrs.frozen
class Stored:
    """The newest version of a name."""

    version_id: str
    size: int


@attrs.frozen(eq=False)
class Hub:
    """An emulator that runs in this process. What goes in and out can be sent to another one."""

    server: EmulatorServer
    _sampler: Sampler = attrs.field(init=False)

    @_sampler.default
    def _make_sampler(self) -> Sampler:
        return Sampler(self.server.counts)

    def access(self) -> Access:
        return Access(self.server.url, self.server.key_id, self.server.application_key)

    def set_shape(self, shape: Shape) -> None:
        self.server.shape = shape

    def set_faults(self, faults: tuple[Fault, ...]) -> None:
        """These and no others."""
        self.server.faults.replace(faults)

    def watch(self) -> None:
        """Note from now on how many bytes pass."""
        self._sampler.begin()

    def watched(self) -> Progress:
        """What passed since `watch`."""
        return self._sampler.end()

    def activity(self) -> Activity:
        counts = self.server.counts.snapshot()
        billed = counts["transactions"]
        traffic = Traffic(billed["A"], billed["B"], billed["C"], counts["bytes_in"], counts["bytes_out"])
        return Activity(traffic, sum(counts["calls"].values()))

    def store_library(self, path: Path) -> None:
        """Keep a local file's bytes, for `create_bucket`."""
        self.server.run(lambda: self._store_library(path))

    def create_bucket(self, name: str, files: Mapping[str, Piece]) -> None:
        """A bucket with pieces of the library in it."""
        self.server.run(lambda: self._create_bucket(name, files))

    def create_endless(self, name: str, sizes: Mapping[str, int]) -> None:
        """A bucket with files of any size that are the library again and again: they take no room. B2
        knows no SHA-1 of them, as of big files that some programs send."""
        self.server.run(lambda: self._create_endless(name, sizes))

    def seed_bucket(self, name: str, count: int, per_folder: int) -> None:
        """A bucket with so many files of ten bytes, in numbered directories; a million take a minute."""
        self.server.run(lambda: self.server.state.buckets.create(name))
        self.server.seed(name, numbered(count, per_folder=per_folder), size=10)

    def remove_bucket(self, name: str) -> None:
        """Delete it with all that was ever in it."""
        self.server.run(lambda: self._remove_bucket(self._bucket(name)))

    def listing(self, bucket: str) -> dict[str, Stored]:
        """The files that are there."""
        return self.server.run(lambda: self._listing(self._bucket(bucket)))

    def sha1(self, bucket: str, name: str) -> str:
        """Of the file's bytes, all of them read for it."""
        state = self.server.state
        return self.server.run(lambda: state.copied(self._visible(bucket, name), "bytes=0-").sha1)

    def _store_library(self, path: Path) -> None:
        state = self.server.state
        writer = state.blobs.create()
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                writer.write(data)
        state.files.put(state.buckets.create(LIBRARY), LIBRARY, writer.finish(), ATTRIBUTES)

    def _create_bucket(self, name: str, files: Mapping[str, Piece]) -> None:
        state = self.server.state
        bucket, library = state.buckets.create(name), self._visible(LIBRARY, LIBRARY)
        with state.contents.changes():
            for file, piece in files.items():
                segments = state.contents.segments(library.number, piece.offset, piece.offset + piece.size)
                state.files.put(bucket, file, state.contents.hashed(segments), ATTRIBUTES)

    def _create_endless(self, name: str, sizes: Mapping[str, int]) -> None:
        state = self.server.state
        bucket, library = state.buckets.create(name), self._visible(LIBRARY, LIBRARY)
        with state.contents.changes():
            for file, size in sizes.items():
                segments: list[Segment] = []
                for start in range(0, size, library.size):
                    segments += state.contents.segments(library.number, 0, min(library.size, size - start))
                state.files.put(bucket, file, Content(tuple(segments), size, "none", None), ATTRIBUTES)

    def _remove_bucket(self, bucket: Bucket) -> None:
        state = self.server.state
        with state.contents.changes():
            while versions := list(_versions(state.pages.versions(bucket, limit=PAGE).rows)):
                for version in versions:
                    state.files.remove(version)
        state.buckets.delete(bucket.bucket_id)

    def _listing(self, bucket: Bucket) -> dict[str, Stored]:
        files: dict[str, Stored] = {}
        start: str | None = ""
        while start is not None:
            page = self.server.state.pages.names(bucket, start=start, limit=PAGE)
            for version in _versions(page.rows):
                if version.name.rpartition("/")[2] != PLACEHOLDER:
                    files[version.name] = Stored(version.file_id, version.size)
            start = page.next_name
        return files

    def _bucket(self, name: str) -> Bucket:
        bucket = self.server.state.buckets.named(name)
        if bucket is None:
            raise LookupError(f"no bucket {name}")
        return bucket

    def _visible(self, bucket: str, name: str) -> Version:
        version = self.server.state.files.visible(self._bucket(bucket), name)
        if version is None:
            raise LookupError(f"no file {name} in {bucket}")
        return version


def _versions(rows: tuple[object, ...]) -> Iterator[Version]:
    """The rows without folders, of which a listing without a delimiter has none."""
    return (row for row in rows if isinstance(row, Version))

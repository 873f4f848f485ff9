"""MemoryStore: an ObjectStore in plain dicts, with B2's rules for versions, names and listings.

Self-contained, not on the emulator's BucketState: that one is SQLite and files, and gives replies
for HTTP; this one is small and quick. Both pass the same contract suite (tests/contract), so tests of
the services may take it for B2. Its clock never stands still: every version is newer than the one
before, so there are no ties.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import mimetypes
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

import attrs
import trio

from b2mount.errors import (
    AccessDenied,
    AlreadyExists,
    BadName,
    Conflict,
    CorruptData,
    InvalidArgument,
    KeyMissing,
    NotEmpty,
    NotFound,
    NotPermitted,
    NotSupported,
    TooLarge,
)
from b2mount.model import (
    NO_INFO,
    Action,
    ByteRange,
    ByteSource,
    Encryption,
    Literal,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Protection,
    Retention,
    RetentionMode,
)
from b2mount.store.interface import (
    Account,
    Bucket,
    MultipartUpload,
    ObjectPage,
    ObjectStore,
    PartRecord,
    VersionCursor,
    VersionPage,
)
from b2mount.store.upload_body import pieces_of

LARGEST_REQUEST = 5_000_000_000
DELIVERY_SIZE = 64 * 1024
PAST_EVERYTHING = chr(0x10FFFF)

ALL_CAPABILITIES = frozenset(
    {
        "listBuckets",
        "writeBuckets",
        "deleteBuckets",
        "listFiles",
        "readFiles",
        "shareFiles",
        "writeFiles",
        "deleteFiles",
    }
)
"""What a mount may make use of."""
MASTER = ALL_CAPABILITIES | {"bypassGovernance"}


@attrs.define(eq=False)
class Row:
    """One version and its bytes."""

    version: ObjectVersion
    data: bytearray = attrs.field(factory=bytearray)
    content_sha1: str | None = None
    parts: dict[int, bytes] = attrs.field(factory=dict)
    protection: Protection = attrs.field(factory=Protection)
    key: str = ""
    """Which key it is encrypted with (SSE-C)."""


@attrs.define(eq=False)
class BucketRows:
    """One bucket: rows by key, newest first; the keys sorted."""

    bucket: Bucket
    default: Encryption = Encryption.NONE
    rows: dict[str, list[Row]] = attrs.field(factory=dict)
    keys: list[str] = attrs.field(factory=list)

    def add(self, row: Row) -> None:
        key = row.version.path.key
        if key not in self.rows:
            bisect.insort(self.keys, key)
            self.rows[key] = []
        self.rows[key].append(row)
        self.rows[key].sort(key=lambda r: -r.version.uploaded_ms)

    def remove(self, row: Row) -> None:
        key = row.version.path.key
        self.rows[key].remove(row)
        if not self.rows[key]:
            del self.rows[key]
            self.keys.remove(key)

    def current(self, key: str) -> Row | None:
        """The newest finished row, unless that is a hide marker."""
        for row in self.rows.get(key, ()):
            if row.version.action is not Action.START:
                return row if row.version.action is Action.UPLOAD else None
        return None


class MemoryStore(ObjectStore):
    """See the module. `seed`, `contents`, `corrupt`, `protect`, `encrypts` and `use_key` are for tests."""

    def __init__(
        self,
        *buckets: str,
        minimum_part_size: int = 5_000_000,
        recommended_part_size: int = 100_000_000,
        capabilities: frozenset[str] = MASTER,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._account = Account(
            account_id="memory",
            capabilities=capabilities,
            buckets=None,
            prefix="",
            download_url="http://memory.invalid",
            minimum_part_size=minimum_part_size,
            recommended_part_size=recommended_part_size,
        )
        self._now_ms = now_ms
        self._last_ms = 0
        self._numbers = itertools.count(1)
        self._by_id: dict[str, Row] = {}
        self._mode, self._key = Encryption.NONE, ""
        self._refused: set[tuple[str, str]] = set()
        self._buckets: dict[str, BucketRows] = {}
        for name in buckets or ("bucket",):
            self._add_bucket(name)

    # -- for tests -------------------------------------------------------------------------

    def seed(self, path: ObjectPath, data: bytes = b"", info: Mapping[str, str] = NO_INFO) -> ObjectVersion:
        """Put an object without an await."""
        return self._put(path, data, ObjectMetadata(info=info))

    def contents(self, bucket: str = "bucket") -> dict[str, bytes]:
        """The bytes of every visible object, by key."""
        state = self._bucket(bucket)
        visible = ((key, state.current(key)) for key in state.keys)
        return {key: bytes(row.data) for key, row in visible if row is not None}

    def corrupt(self, version: ObjectVersion, offset: int) -> None:
        """Flip the bits of one stored byte; its SHA-1 stays what it was."""
        self._row(version.version_id).data[offset] ^= 0xFF

    def protect(self, version: ObjectVersion) -> None:
        """Put a legal hold on a version."""
        self._row(version.version_id).protection = Protection(legal_hold=True)

    def lock(self, bucket: str = "bucket") -> None:
        """Switch Object Lock on."""
        rows = self._bucket(bucket)
        rows.bucket = attrs.evolve(rows.bucket, has_file_lock=True)

    def newest(self, key: str, bucket: str = "bucket") -> ObjectVersion:
        """What a name shows now."""
        row = self._bucket(bucket).current(key)
        assert row is not None
        return row.version

    def encrypts(self, bucket: str, default: Encryption) -> None:
        """Let a bucket have a default encryption."""
        self._bucket(bucket).default = default

    def use_key(self, mode: Encryption, key: str = "") -> None:
        """Be a store with --encryption from now on."""
        self._mode, self._key = mode, key

    # -- ObjectStore: encryption --------------------------------------------------------------

    @property
    def setting(self) -> str:
        return "" if self._mode is Encryption.NONE else f"{self._mode.value} {self._key}"

    def check_key(self, version: ObjectVersion) -> None:
        refused = (version.version_id, self._key) in self._refused
        if version.encryption is Encryption.SSE_C and (not self._key or refused):
            raise KeyMissing(f"{version.path} is encrypted with another key")

    async def try_key(self, version: ObjectVersion) -> None:
        self.check_key(version)
        if version.encryption is Encryption.SSE_C and version.size:
            await self.read_range(version, ByteRange(0, 1), lambda data: None)

    def _readable(self, version: ObjectVersion) -> Row:
        self.check_key(version)
        row = self._upload_row(version.version_id)
        if row.key and row.key != self._key:
            self._refused.add((version.version_id, self._key))
            self.check_key(version)
        return row

    def _encrypted(self, row: Row) -> Row:
        mode = self._mode
        if mode is Encryption.NONE:
            mode = self._bucket(row.version.path.bucket).default
        row.version = attrs.evolve(row.version, encryption=mode)
        row.key = self._key if mode is Encryption.SSE_C else ""
        return row

    # -- ObjectStore: account and buckets -----------------------------------------------------

    @property
    def account(self) -> Account:
        return self._account

    @property
    def now_ms(self) -> int:
        return max(self._last_ms, self._now_ms())

    async def list_buckets(self) -> tuple[Bucket, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self._buckets[name].bucket for name in sorted(self._buckets))

    async def create_bucket(self, name: str) -> Bucket:
        await trio.lowlevel.checkpoint()
        if name in self._buckets:
            raise AlreadyExists(f"the bucket name {name} is taken")
        legal = 6 <= len(name) <= 63 and all(c.isascii() and (c.isalnum() or c == "-") for c in name)
        if not legal or name.startswith("b2-"):
            raise BadName(f"not a bucket name: {name!r}")
        return self._add_bucket(name)

    async def delete_bucket(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._bucket(name).rows:
            raise NotEmpty(f"the bucket {name} still holds something")
        del self._buckets[name]

    # -- listings ----------------------------------------------------------------------------

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        await trio.lowlevel.checkpoint()
        state = self._bucket(bucket)
        objects: list[ObjectVersion] = []
        prefixes: list[str] = []
        for key, folder in _names(state, prefix, delimiter, start):
            row = state.current(key)
            if row is None or (folder and prefixes and prefixes[-1] == folder):
                continue
            if len(objects) + len(prefixes) == limit:
                return ObjectPage(tuple(objects), tuple(prefixes), folder or key)
            if folder:
                prefixes.append(folder)
            else:
                objects.append(row.version)
        return ObjectPage(tuple(objects), tuple(prefixes), None)

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        await trio.lowlevel.checkpoint()
        state = self._bucket(bucket)
        versions: list[ObjectVersion] = []
        prefixes: list[str] = []
        for key, folder in _names(state, prefix, delimiter, start.key if start else ""):
            if folder and prefixes and prefixes[-1] == folder:
                continue
            rows = [row.version for row in state.rows[key]]
            if start is not None and start.key == key and start.version_id is not None:
                rows = list(itertools.dropwhile(lambda v: v.version_id != start.version_id, rows))
            for version in rows[:1] if folder else rows:
                if len(versions) + len(prefixes) == limit:
                    cursor = VersionCursor(folder or key, None if folder else version.version_id)
                    return VersionPage(tuple(versions), tuple(prefixes), cursor, self._of(versions))
                if folder:
                    prefixes.append(folder)
                else:
                    versions.append(version)
        return VersionPage(tuple(versions), tuple(prefixes), None, self._of(versions))

    def _of(self, versions: Sequence[ObjectVersion]) -> dict[str, Protection]:
        found = {version.version_id: self._row(version.version_id).protection for version in versions}
        return {version_id: each for version_id, each in found.items() if each != Protection()}

    async def stat(self, path: ObjectPath) -> ObjectVersion:
        await trio.lowlevel.checkpoint()
        row = self._bucket(path.bucket).current(path.key)
        if row is None:
            raise NotFound(f"no such object: {path}")
        return row.version

    # -- bytes ---------------------------------------------------------------------------------

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        await trio.lowlevel.checkpoint()
        data = bytes(self._readable(version).data)
        for start in range(span.start, span.stop, DELIVERY_SIZE):
            deliver(data[start : min(span.stop, start + DELIVERY_SIZE)])
            await trio.lowlevel.checkpoint()
        whole = span == ByteRange(0, version.size)
        if whole and version.sha1 is not None and version.sha1 != _sha1(data):
            raise CorruptData(f"the bytes of {version.path} do not match their SHA-1")

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        await trio.lowlevel.checkpoint()
        if source.size > LARGEST_REQUEST:
            raise TooLarge(f"{path} is too large for one request")
        return self._put(path, b"".join(pieces_of(source)), metadata)

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        await trio.lowlevel.checkpoint()
        source = self._readable(version)
        if len(source.data) >= LARGEST_REQUEST:
            raise TooLarge(f"{version.path} is too large to be copied in one request")
        if metadata is None:
            metadata = ObjectMetadata(source.version.content_type, source.version.info)
        return self._put(path, bytes(source.data), metadata, source.content_sha1)

    # -- large files ---------------------------------------------------------------------------

    async def start_multipart(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        await trio.lowlevel.checkpoint()
        row = self._encrypted(Row(self._version(path, metadata, Action.START)))
        self._add(row)
        return MultipartUpload(row.version.version_id, path, _metadata_of(row.version))

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        await trio.lowlevel.checkpoint()
        return self._add_part(upload, number, b"".join(pieces_of(source)))

    async def copy_part(
        self, upload: MultipartUpload, number: int, version: ObjectVersion, span: ByteRange
    ) -> PartRecord:
        await trio.lowlevel.checkpoint()
        data = bytes(self._readable(version).data[span.start : span.stop])
        return self._add_part(upload, number, data)

    async def finish_multipart(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        await trio.lowlevel.checkpoint()
        row = self._row(upload.upload_id)
        if row.version.action is Action.UPLOAD:
            return row.version
        parts = [row.parts[number] for number in sorted(row.parts)]
        wanted = list(range(1, len(sha1s) + 1))
        if sorted(row.parts) != wanted or [_sha1(part) for part in parts] != list(sha1s):
            raise Conflict("the parts that B2 has are not the ones named")
        if len(parts) < 2 or any(len(p) < self._account.minimum_part_size for p in parts[:-1]):
            raise Conflict("large files need at least two parts, all but the last of the minimum size")
        row.data = bytearray(b"".join(parts))
        row.parts = {}
        row.version = attrs.evolve(row.version, size=len(row.data), action=Action.UPLOAD)
        row.version = attrs.evolve(row.version, sha1=row.version.info.get("large_file_sha1"))
        return row.version

    async def abort_multipart(self, upload: MultipartUpload) -> None:
        await trio.lowlevel.checkpoint()
        row = self._by_id.get(upload.upload_id)
        if row is not None and row.version.action is Action.START:
            self._remove(row)

    async def list_parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        await trio.lowlevel.checkpoint()
        parts = self._unfinished_row(upload.upload_id).parts
        return tuple(PartRecord(n, len(parts[n]), _sha1(parts[n])) for n in sorted(parts))

    async def list_unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
        await trio.lowlevel.checkpoint()
        state = self._bucket(bucket)
        rows = (row for key in state.keys if key.startswith(prefix) for row in state.rows[key])
        return tuple(
            MultipartUpload(row.version.version_id, row.version.path, _metadata_of(row.version))
            for row in rows
            if row.version.action is Action.START
        )

    # -- removing ------------------------------------------------------------------------------

    async def hide(self, path: ObjectPath) -> None:
        await trio.lowlevel.checkpoint()
        rows = self._bucket(path.bucket).rows.get(path.key, [])
        finished = [row for row in rows if row.version.action is not Action.START]
        if not finished:
            raise NotFound(f"no such object: {path}")
        if finished[0].version.action is Action.UPLOAD:
            self._add(Row(self._version(path, ObjectMetadata("application/x-bz-hide-marker"), Action.HIDE)))

    async def delete_version(self, version: ObjectVersion) -> None:
        await trio.lowlevel.checkpoint()
        row = self._by_id.get(version.version_id)
        if row is not None and row.protection.forbids(self._now_ms()):
            raise NotPermitted(f"{version.path} is under a legal hold or retention")
        if row is not None:
            self._remove(row)

    # -- protecting ----------------------------------------------------------------------------

    async def protection(self, version: ObjectVersion) -> Protection:
        await trio.lowlevel.checkpoint()
        return self._row(version.version_id).protection

    async def set_retention(self, version: ObjectVersion, retention: Retention | None) -> None:
        await trio.lowlevel.checkpoint()
        row, now_ms = self._lockable(version), self._now_ms()
        if retention is not None and retention.until_ms <= now_ms:
            raise InvalidArgument("a retention must end in the future")
        old = row.protection.retention
        if old is not None and old.until_ms > now_ms and _is_less(retention, old):
            if old.mode is RetentionMode.COMPLIANCE:
                raise NotPermitted("compliance can't be made less")
            if "bypassGovernance" not in self._account.capabilities:
                raise AccessDenied("no bypassGovernance")
        row.protection = attrs.evolve(row.protection, retention=retention)

    async def set_legal_hold(self, version: ObjectVersion, *, on: bool) -> None:
        await trio.lowlevel.checkpoint()
        row = self._lockable(version)
        row.protection = attrs.evolve(row.protection, legal_hold=on)

    def _lockable(self, version: ObjectVersion) -> Row:
        row = self._row(version.version_id)
        if not self._bucket(version.path.bucket).bucket.has_file_lock:
            raise NotSupported("the bucket has no Object Lock")
        return row

    # -- links ---------------------------------------------------------------------------------

    async def authorize_download(self, bucket: str, prefix: str, seconds: int) -> str:
        await trio.lowlevel.checkpoint()
        self._bucket(bucket)
        return f"memory-{bucket}-{prefix}-{seconds}"

    def under_way(self, path: ObjectPath) -> int:
        return 0  # it takes everything at one moment

    def url(self, path: ObjectPath) -> str:
        return f"{self._account.download_url}/file/{path.bucket}/{quote(path.key)}"

    def url_of(self, version: ObjectVersion) -> str:
        return f"{self._account.download_url}/b2api/v3/b2_download_file_by_id?fileId={version.version_id}"

    # -- inside --------------------------------------------------------------------------------

    def _add_bucket(self, name: str) -> Bucket:
        bucket = Bucket(name, f"{next(self._numbers):024x}", is_public=False)
        self._buckets[name] = BucketRows(bucket)
        return bucket

    def _bucket(self, name: str) -> BucketRows:
        if name not in self._buckets:
            raise NotFound(f"no such bucket: {name}")
        return self._buckets[name]

    def _row(self, version_id: str) -> Row:
        if version_id not in self._by_id:
            raise NotFound(f"no such version: {version_id}")
        return self._by_id[version_id]

    def _upload_row(self, version_id: str) -> Row:
        row = self._row(version_id)
        if row.version.action is not Action.UPLOAD:
            raise NotFound(f"not an object: {version_id}")
        return row

    def _unfinished_row(self, upload_id: str) -> Row:
        row = self._row(upload_id)
        if row.version.action is not Action.START:
            raise NotFound(f"no unfinished upload: {upload_id}")
        return row

    def _version(self, path: ObjectPath, metadata: ObjectMetadata, action: Action) -> ObjectVersion:
        self._bucket(path.bucket)
        if not path.key or len(path.key.encode()) > 1024 or any(ord(c) < 32 or c == "\x7f" for c in path.key):
            raise BadName(f"B2 refuses such a name: {path.key!r}")
        self._last_ms = max(self._last_ms + 1, self._now_ms())
        content_type = metadata.content_type
        if content_type == "b2/x-auto":
            content_type = mimetypes.guess_type(path.key)[0] or "application/octet-stream"
        return ObjectVersion(
            path=path,
            version_id=f"4_z{self._buckets[path.bucket].bucket.bucket_id}_{next(self._numbers):010d}",
            size=0,
            uploaded_ms=self._last_ms,
            content_type=content_type,
            info={key.lower(): value for key, value in metadata.info.items()},
            action=action,
        )

    def _put(
        self, path: ObjectPath, data: bytes, metadata: ObjectMetadata, sha1: str | None = None
    ) -> ObjectVersion:
        version = self._version(path, metadata, Action.UPLOAD)
        content_sha1 = sha1 or _sha1(data)
        version = attrs.evolve(version, size=len(data), sha1=content_sha1)
        row = self._encrypted(Row(version, bytearray(data), content_sha1))
        self._add(row)
        return row.version

    def _add_part(self, upload: MultipartUpload, number: int, data: bytes) -> PartRecord:
        if len(data) > LARGEST_REQUEST:
            raise TooLarge("a part is at most 5 GB")
        row = self._unfinished_row(upload.upload_id)
        if row.key and row.key != self._key:
            raise AccessDenied("the large file was started with another key")
        row.parts[number] = data
        return PartRecord(number, len(data), _sha1(data))

    def _add(self, row: Row) -> None:
        self._by_id[row.version.version_id] = row
        self._bucket(row.version.path.bucket).add(row)

    def _remove(self, row: Row) -> None:
        del self._by_id[row.version.version_id]
        self._bucket(row.version.path.bucket).remove(row)


def _is_less(new: Retention | None, old: Retention) -> bool:
    weaker = old.mode is RetentionMode.COMPLIANCE and new is not None and new.mode is not old.mode
    return new is None or weaker or new.until_ms < old.until_ms


def _names(state: BucketRows, prefix: str, delimiter: str, start: str) -> Iterator[tuple[str, str]]:
    """The keys below `prefix` from `start` on, each with the folder that it folds into or ''."""
    keys = state.keys
    for index in range(bisect.bisect_left(keys, max(prefix, start)), len(keys)):
        key = keys[index]
        if not key.startswith(prefix):
            return
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        yield key, prefix + head + found if found else ""


def _metadata_of(version: ObjectVersion) -> ObjectMetadata:
    return ObjectMetadata(version.content_type, version.info)


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def literal(data: bytes) -> ByteSource:
    """The bytes as a source."""
    return ByteSource((Literal(data),))

"""ObjectStore: what the services need of B2, with its promises.

Every verb may raise: NotAuthorized, AccessDenied, OverQuota, Unavailable, StoreFailure. Transient
trouble (5xx, 408, 429, lost connections, damaged uploads, expired tokens) has been retried inside
the verb, with back-off and Retry-After, for as long as the store was told; what leaves as
Unavailable has had its time. Every wait is finite. A verb whose reply was lost and whose work was
done succeeds. Cancelling a verb is safe: it may or may not have happened.

Must not know: b2sdk, HTTP, and why anybody wants the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from b2mount.errors import StoreFailure
from b2mount.model import (
    ByteRange,
    ByteSource,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Protection,
    Retention,
)


@attrs.frozen
class Bucket:
    """One bucket of the account."""

    name: str
    bucket_id: str
    is_public: bool
    has_file_lock: bool = False


@attrs.frozen
class Account:
    """What the key in use may do, and B2's limits for it."""

    account_id: str
    capabilities: frozenset[str]
    buckets: tuple[str, ...] | None
    """Names of the buckets that the key is bound to; None for any bucket."""
    prefix: str
    """The key sees only names that start so; empty for all."""
    download_url: str
    minimum_part_size: int
    recommended_part_size: int
    expires_ms: int | None = None
    """When the key ends, in Unix milliseconds; None for never."""


@attrs.frozen
class ObjectPage:
    """One page of the newest versions under a prefix, in byte order of the keys."""

    objects: tuple[ObjectVersion, ...]
    prefixes: tuple[str, ...]
    """With a delimiter: the keys, ending in it, under which there is more. Never the asked prefix itself."""
    next_key: str | None
    """Pass it as `start` for the next page; None at the end. Need not be a name that exists."""


@attrs.frozen
class VersionCursor:
    """Where a listing of versions goes on (inclusive)."""

    key: str
    version_id: str | None
    _mark: str | None = attrs.field(default=None, eq=False, repr=False)
    """The version of the key at which a page has begun before: the last that was the 1st, 2nd, 4th, 8th..."""
    _pages: int = attrs.field(default=0, eq=False, repr=False)
    """That have begun in the midst of the key."""

    def followed_by(self, key: str, version_id: str | None) -> VersionCursor:
        """Where the page that begins here says that the next one does. Raises StoreFailure when that leads
        nowhere: back, or round in a circle of versions, which is noticed after three rounds at most."""
        if key > self.key:
            return VersionCursor(key, version_id)
        if key < self.key or version_id in (self.version_id, self._mark):
            raise StoreFailure("B2's listing does not move on")
        pages = self._pages + 1
        is_marked = not pages & pages - 1
        return VersionCursor(key, version_id, version_id if is_marked else self._mark, pages)


@attrs.frozen
class VersionPage:
    """One page of all versions (uploads, hide markers, unfinished), by key, newest first."""

    versions: tuple[ObjectVersion, ...]
    prefixes: tuple[str, ...]
    next_cursor: VersionCursor | None
    protections: Mapping[str, Protection] = attrs.field(factory=dict)
    """By version id, as far as the key may see them: those of versions that have any."""


@attrs.frozen
class MultipartUpload:
    """A large file that was started and not finished yet."""

    upload_id: str
    path: ObjectPath
    metadata: ObjectMetadata
    started_ms: int = attrs.field(default=0, eq=False)
    """Unix milliseconds, where B2 said it; 0 where nobody asked."""


@attrs.frozen
class PartRecord:
    """A part that B2 has."""

    number: int
    size: int
    sha1: str


class ObjectStore(Protocol):
    """A B2 account. One verb is one B2 request (fetching a token or an upload URL aside)."""

    @property
    def account(self) -> Account:
        """The key's rights and B2's limits, as of the last authorization."""
        ...

    @property
    def setting(self) -> str:
        """The encryption that new versions are asked to have, in words: equal for equal ones, of a key
        no more than whether it is the same. Empty when that is left to the bucket."""
        ...

    @property
    def now_ms(self) -> int:
        """The time by B2's clock, in milliseconds since 1970, as far as its latest answer tells: to two
        seconds when the clock of this machine is wrong."""
        ...

    def check_key(self, version: ObjectVersion) -> None:
        """Raises KeyMissing when it is known that this store has not the key to a version. No call."""
        ...

    async def try_key(self, version: ObjectVersion) -> None:
        """As check_key; where it is not known, B2 is asked (a GET of one byte), once for a version."""
        ...

    async def list_buckets(self) -> tuple[Bucket, ...]:
        """The buckets that the key can see, by name. For a key bound to buckets: those."""
        ...

    async def create_bucket(self, name: str) -> Bucket:
        """Make a private bucket. Raises AlreadyExists, BadName."""
        ...

    async def delete_bucket(self, name: str) -> None:
        """Raises NotEmpty when it holds any version, NotFound."""
        ...

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        """The newest versions of the names that start with `prefix`, from `start` (inclusive) on,
        hidden names left out. At most `limit` rows (1..10000), objects and prefixes together; a
        page may be shorter, even empty, and still have a next one. Raises NotFound for the bucket."""
        ...

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        """All versions under `prefix`. Otherwise as list_objects."""
        ...

    async def stat(self, path: ObjectPath) -> ObjectVersion:
        """The newest version of a name (a HEAD, class B). Raises NotFound, for a hidden name too."""
        ...

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        """Fetch bytes of one version by its id. `deliver` is called on the trio side, in order, as
        the bytes arrive, each time with an object of its own; all of `span` has been delivered when
        this returns. `span` must lie within the version's size. A connection lost in the middle goes
        on from the byte it had; nothing is delivered twice. When the span is the whole object and B2
        knows its SHA-1, that is checked (after the fact: CorruptData is raised when the bytes have
        already been delivered).
        Raises NotFound when the version was deleted, KeyMissing (B2 is asked once for a version)."""
        ...

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        """Upload a new version in one request, its SHA-1 verified by B2. `source` is at most 5 GB.
        Raises BadName, TooLarge; OSError if the local bytes can't be read."""
        ...

    async def start_multipart(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        """Begin a large file; it is invisible until finished and dated from now."""
        ...

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        """Send part `number` (1..10000); sending a number again replaces it."""
        ...

    async def copy_part(
        self, upload: MultipartUpload, number: int, version: ObjectVersion, span: ByteRange
    ) -> PartRecord:
        """Make part `number` of bytes that B2 already has (at most 5 GB). Raises KeyMissing."""
        ...

    async def finish_multipart(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        """Make it a version; `sha1s` are the parts' in order, at least two. Fine when it is finished
        already. Raises NotFound when the upload is gone, Conflict or StoreFailure when B2 has other
        parts, or too small ones."""
        ...

    async def abort_multipart(self, upload: MultipartUpload) -> None:
        """Drop it with its parts. Fine when it is gone already; a finished one stays."""
        ...

    async def list_parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        """The parts that B2 has, by number. Raises NotFound when the upload is gone."""
        ...

    async def list_unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
        """Large files that were started and neither finished nor cancelled."""
        ...

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        """Copy a whole version (at most 5 GB) inside B2 to `path`, with its own metadata or, when
        given, with `metadata` instead. It is encrypted as a new object would be, whatever the source
        is. Raises NotFound, TooLarge, BadName, KeyMissing."""
        ...

    async def hide(self, path: ObjectPath) -> None:
        """Make the name disappear from listings; its versions stay. Fine when it is hidden
        already. Raises NotFound when there is no such name."""
        ...

    async def delete_version(self, version: ObjectVersion) -> None:
        """Remove one version for good. Fine when it is gone already. Raises NotPermitted when
        retention or a legal hold protects it."""
        ...

    async def protection(self, version: ObjectVersion) -> Protection:
        """Retention and legal hold (b2_get_file_info, class B). Raises NotFound."""
        ...

    async def set_retention(self, version: ObjectVersion, retention: Retention | None) -> None:
        """Keep a version from being deleted; None removes that. Raises NotPermitted for less of it than
        compliance, and AccessDenied for less than governance without bypassGovernance; InvalidArgument
        for what is over, NotSupported in a bucket without Object Lock, NotFound."""
        ...

    async def set_legal_hold(self, version: ObjectVersion, *, on: bool) -> None:
        """Keep a version from being deleted until that is set off. Raises NotSupported in a bucket
        without Object Lock, NotFound."""
        ...

    async def authorize_download(self, bucket: str, prefix: str, seconds: int) -> str:
        """A token that lets anybody read names that start with `prefix`, for at most 7 days."""
        ...

    def under_way(self, path: ObjectPath) -> int:
        """Bytes sent so far by each put and put_part for `path` that is not done yet, all together."""
        ...

    def url(self, path: ObjectPath) -> str:
        """The file's download URL by name, percent-encoded as B2 wants it."""
        ...

    def url_of(self, version: ObjectVersion) -> str:
        """The download URL of this very version, by its id: B2 has no authorizations for such ones."""
        ...

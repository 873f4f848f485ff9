"""The words of the project as frozen values: paths, versions, ranges, attributes, sources of bytes.

Invariants: every value here is immutable and compares by content; a ByteRange is half-open with
0 <= start <= stop. Sizes and offsets are bytes, times are integers (ns or ms, as the name says).

Must not know: any I/O, any other module of ours.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import attrs

DELIMITER: Final = "/"
PLACEHOLDER: Final = ".bzEmpty"
"""The object that keeps an empty directory alive, as Backblaze's web page writes it."""

AUTOMATIC: Final = "b2/x-auto"
"""The content type with which B2 decides by the name."""
NO_INFO: Final[Mapping[str, str]] = MappingProxyType({})


@attrs.frozen(order=True, weakref_slot=False)
class ObjectPath:
    """Where an object is: a bucket and a key. A directory's key is empty or ends in `/`.

    With an empty bucket name it is the whole account: a directory whose directories are the buckets.
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"b2://{self.bucket}/{self.key}"

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory's path."""
        return not self.key or self.key.endswith(DELIMITER)

    @property
    def as_directory(self) -> ObjectPath:
        """The directory of this name; itself when it is one."""
        return self if self.is_directory else ObjectPath(self.bucket, self.key + DELIMITER)

    @property
    def is_account(self) -> bool:
        """Whether this is the directory of the buckets."""
        return not self.bucket

    @property
    def is_bucket(self) -> bool:
        """Whether this is the root of a bucket."""
        return not self.key and bool(self.bucket)

    @property
    def name(self) -> str:
        """The last component, without a slash; a bucket's name for its root."""
        return self.key.rstrip(DELIMITER).rpartition(DELIMITER)[2] if self.key else self.bucket

    @property
    def parent(self) -> ObjectPath:
        """The directory that holds this path: the account for the root of a bucket, which is its own
        parent."""
        if not self.key:
            return ObjectPath("", "")
        head, slash, _ = self.key.removesuffix(DELIMITER).rpartition(DELIMITER)
        return ObjectPath(self.bucket, head + slash)

    @property
    def placeholder(self) -> ObjectPath:
        """The path of the object that keeps this directory alive when it is empty."""
        return ObjectPath(self.bucket, self.key + PLACEHOLDER)

    @property
    def of_placeholder(self) -> ObjectPath:
        """The directory that this object keeps alive; any other path as it is."""
        return self.parent if self.name == PLACEHOLDER and not self.is_directory else self

    def file(self, name: str) -> ObjectPath:
        """The path of the file `name` in this directory. In the account it is the bucket's."""
        return ObjectPath(self.bucket, self.key + name) if self.bucket else ObjectPath(name, "")

    def directory(self, name: str) -> ObjectPath:
        """The path of the directory `name` in this directory."""
        return ObjectPath(self.bucket, self.key + name + DELIMITER) if self.bucket else ObjectPath(name, "")

    def holds(self, other: ObjectPath) -> bool:
        """Whether `other` is this directory or anything below it."""
        if not self.bucket:
            return True
        return self.is_directory and self.bucket == other.bucket and other.key.startswith(self.key)

    def below(self, directory: ObjectPath) -> str:
        """This path as seen from a directory that holds it."""
        return self.key.removeprefix(directory.key) if directory.bucket else f"{self.bucket}/{self.key}"

    def moved(self, old: ObjectPath, new: ObjectPath) -> ObjectPath:
        """This path after `old` (itself, or a directory above it) was renamed to `new`."""
        return ObjectPath(new.bucket, new.key + self.key.removeprefix(old.key))


@attrs.frozen(order=True)
class ByteRange:
    """The bytes start <= offset < stop of a file or an object."""

    start: int = attrs.field()
    stop: int = attrs.field()

    @stop.validator
    def _check(self, _attribute: object, stop: int) -> None:
        if not 0 <= self.start <= stop:
            raise ValueError(f"not a range: {self.start}..{stop}")

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start

    def __bool__(self) -> bool:
        return self.stop > self.start

    def intersect(self, other: ByteRange) -> ByteRange:
        """The common bytes; an empty range where there are none."""
        start = max(self.start, other.start)
        return ByteRange(start, max(start, min(self.stop, other.stop)))


class Action(enum.Enum):
    """What a row of B2's version list stands for."""

    UPLOAD = "upload"
    HIDE = "hide"
    START = "start"


class Encryption(enum.Enum):
    """What B2 does to the bytes of an object before it stores them."""

    NONE = "none"
    SSE_B2 = "SSE-B2"
    """With a key of its own: who may read the object need not know."""
    SSE_C = "SSE-C"
    """With a key that comes with every request, and that B2 does not keep."""


@attrs.frozen
class ObjectVersion:
    """One immutable upload of an object (or a hide marker, or an unfinished large file)."""

    path: ObjectPath
    version_id: str
    size: int
    uploaded_ms: int
    content_type: str = "application/octet-stream"
    sha1: str | None = None
    """Hex SHA-1 of all the bytes where B2 vouches for it (contentSha1) or the writer said it
    (large_file_sha1); None where neither does."""
    info: Mapping[str, str] = attrs.field(default=NO_INFO, hash=False)
    """Object info, keys lower case, without decoding of values beyond B2's own."""
    action: Action = Action.UPLOAD
    encryption: Encryption = Encryption.NONE


class RetentionMode(enum.Enum):
    """Who may take a retention back."""

    GOVERNANCE = "governance"
    """A key with bypassGovernance."""
    COMPLIANCE = "compliance"
    """Nobody."""


@attrs.frozen
class Retention:
    """A version can't be deleted before a moment."""

    mode: RetentionMode
    until_ms: int


@attrs.frozen
class Protection:
    """What keeps a version from being deleted."""

    retention: Retention | None = None
    legal_hold: bool = False
    unseen: frozenset[str] = frozenset()
    """Capabilities that the key lacks for being told all of it."""

    def forbids(self, now_ms: int) -> bool:
        """Whether the version can't be deleted at a moment."""
        return self.legal_hold or (self.retention is not None and self.retention.until_ms > now_ms)


class BlockId(NamedTuple):
    """A fixed-size piece of one object version. A tuple, since it is looked up a hundred times for each
    MiB that is read."""

    version_id: str
    index: int  # type: ignore[assignment]  # nobody looks for values in it, as tuple.index would


@attrs.frozen(weakref_slot=False)
class ObjectMetadata:
    """What is written beside the bytes of a new version and can't change afterwards."""

    content_type: str = AUTOMATIC
    info: Mapping[str, str] = attrs.field(default=NO_INFO, hash=False)


class Kind(enum.Enum):
    """What a directory entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"

    @property
    def is_special(self) -> bool:
        """Whether it has no bytes of its own: an empty object stands for it, and its info says all."""
        return self not in (Kind.FILE, Kind.DIRECTORY)


TYPE_BITS: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        Kind.FILE: stat.S_IFREG,
        Kind.DIRECTORY: stat.S_IFDIR,
        Kind.SYMLINK: stat.S_IFLNK,
        Kind.FIFO: stat.S_IFIFO,
        Kind.SOCKET: stat.S_IFSOCK,
        Kind.CHARACTER_DEVICE: stat.S_IFCHR,
        Kind.BLOCK_DEVICE: stat.S_IFBLK,
    }
)
"""What the mode of an entry says of its kind."""


@attrs.frozen(weakref_slot=False)
class Attributes:
    """What `stat` says of an entry, in our own words."""

    kind: Kind
    mode: int
    """Permission bits with set-id and sticky bits (07777); the type is `kind`."""
    uid: int
    gid: int
    size: int
    modified_ns: int
    changed_ns: int
    accessed_ns: int
    target: str | None = None
    """Where a symlink points to."""
    device: int = 0
    """Which device a device node stands for, as `st_rdev` says it."""


@attrs.frozen
class AttributeChange:
    """What `chmod`, `chown`, `utimes` ask for; None leaves a field as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    modified_ns: int | None = None
    accessed_ns: int | None = None


@attrs.frozen
class Entry:
    """A name in a directory as a tree reports it: what the store says, before any local change."""

    name: str
    kind: Kind
    version: ObjectVersion | None
    """The object behind a file or symlink; a directory's placeholder when it has one."""


@attrs.frozen
class FileSlice:
    """Bytes of a local file, by its path so that a retry can open it again."""

    path: str
    offset: int
    size: int


@attrs.frozen
class Zeros:
    """A run of zero bytes."""

    size: int


@attrs.frozen
class Literal:
    """Bytes in memory."""

    data: bytes = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.data)


@attrs.frozen
class ByteSource:
    """Bytes to send, piece after piece; can be read again from the start any number of times."""

    pieces: tuple[FileSlice | Zeros | Literal, ...] = ()

    @property
    def size(self) -> int:
        """Number of bytes of all pieces."""
        return sum(piece.size for piece in self.pieces)

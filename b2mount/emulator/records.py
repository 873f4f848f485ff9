"""What the emulator keeps, as frozen values.

Invariants: names are str, sizes are bytes, times are milliseconds since 1970 UTC. A version's
bytes are a Content: segments of immutable blobs, in order.

Must not know: HTTP, SQLite.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

UPLOAD: Final = "upload"
START: Final = "start"
HIDE: Final = "hide"
FOLDER: Final = "folder"

EMPTY_SHA1: Final = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
EMPTY_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
HIDE_TYPE: Final = "application/x-bz-hide-marker"


@attrs.frozen
class Segment:
    """A stretch of a blob."""

    blob: str
    offset: int
    length: int


@attrs.frozen
class Content:
    """Bytes that are stored, and what is known of them."""

    segments: tuple[Segment, ...]
    size: int
    sha1: str
    """40 hex digits, "unverified:..." or "none"."""
    md5: str | None


@attrs.frozen
class Encryption:
    """How a version is (said to be) encrypted. `key_md5` for SSE-C only, base64."""

    mode: str
    key_md5: str | None = None


@attrs.frozen
class Retention:
    """Governance or compliance until a time; (None, None) is none."""

    mode: str | None = None
    until: int | None = None


@attrs.frozen
class Attributes:
    """What an uploader says of a file besides its name and bytes."""

    content_type: str
    info: Mapping[str, str] = attrs.Factory(dict)
    encryption: Encryption | None = None
    retention: Retention = Retention()
    legal_hold: str | None = None

    def to_json(self) -> str:
        document: dict[str, Any] = {"content_type": self.content_type}
        if self.info:
            document["info"] = dict(self.info)
        if self.encryption is not None:
            document["encryption"] = [self.encryption.mode, self.encryption.key_md5]
        if self.retention.mode is not None:
            document["retention"] = [self.retention.mode, self.retention.until]
        if self.legal_hold is not None:
            document["legal_hold"] = self.legal_hold
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    @functools.lru_cache(maxsize=10_000)
    def from_json(cls, text: str) -> Attributes:
        document = json.loads(text)
        encryption = document.get("encryption")
        return cls(
            document["content_type"],
            document.get("info", {}),
            Encryption(*encryption) if encryption else None,
            Retention(*document.get("retention", ())),
            document.get("legal_hold"),
        )


@attrs.frozen
class Version:
    """One version of a name: an upload, a hide marker or an unfinished large file."""

    number: int
    """Grows with every version ever made; the versions of one instant are ordered by it."""
    file_id: str
    bucket_id: str
    name: str
    action: str
    timestamp: int
    size: int
    sha1: str
    md5: str | None
    attributes: Attributes


@attrs.frozen
class Folder:
    """A row of a listing with a delimiter: names that begin so are not shown one by one."""

    name: str


@attrs.frozen
class Part:
    """A part of an unfinished large file."""

    number: int
    size: int
    sha1: str
    md5: str | None
    timestamp: int


@attrs.frozen
class Page:
    """A page of a listing of names or versions."""

    rows: tuple[Version | Folder, ...]
    next_name: str | None
    next_id: str | None = None


@attrs.frozen
class Bucket:
    """A bucket, all but its files."""

    number: int
    bucket_id: str
    name: str
    type: str
    revision: int = 1
    info: Mapping[str, str] = attrs.Factory(dict)
    cors_rules: tuple[Mapping[str, Any], ...] = ()
    lifecycle_rules: tuple[Mapping[str, Any], ...] = ()
    encryption: str | None = None
    """"SSE-B2" or None."""
    file_lock: bool = False
    retention_mode: str | None = None
    retention_period: Mapping[str, Any] | None = None
    replication: Mapping[str, Any] | None = None
    notification_rules: tuple[Mapping[str, Any], ...] = ()

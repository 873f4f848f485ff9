"""Downloads: by id and by name, GET and HEAD, ranges, the headers of the reply.

Invariants: the blobs of a running download are pinned; deleting the version does not cut it off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import attrs

from b2mount.emulator.call import Fields, Service
from b2mount.emulator.errors import ApiError, not_found, unauthorized
from b2mount.emulator.file_calls import OVERRIDES
from b2mount.emulator.keys import ACCOUNT, DOWNLOAD, Key, Token
from b2mount.emulator.names import check_header_value
from b2mount.emulator.records import UPLOAD, Bucket, Segment, Version
from b2mount.emulator.settings import SSE_C, check_readable, encryption_headers

SAFE: Final = "!$'()*-./:;=@_~"
"""Bytes that B2 leaves as they are, next to letters and digits."""
_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*")
_PLAIN_HEADERS: Final = {
    "b2-content-disposition": "Content-Disposition",
    "b2-content-language": "Content-Language",
    "b2-expires": "Expires",
    "b2-cache-control": "Cache-Control",
    "b2-content-encoding": "Content-Encoding",
}
_OVERRIDE_HEADERS: Final = dict(
    zip(
        OVERRIDES,
        (
            "Content-Disposition",
            "Content-Language",
            "Expires",
            "Cache-Control",
            "Content-Encoding",
            "Content-Type",
        ),
        strict=True,
    )
)


@attrs.frozen
class Download:
    """What is to be sent."""

    status: int
    headers: dict[str, str]
    segments: tuple[Segment, ...]
    size: int


def by_name(service: Service, bucket_name: str, name: str) -> tuple[Bucket, Version | None]:
    """The bucket and the version that a name shows. Raises ApiError 404 for the bucket."""
    bucket = service.state.buckets.named(bucket_name)
    if bucket is None:
        raise not_found(f"Bucket does not exist: {bucket_name}")
    return bucket, service.state.files.visible(bucket, name)


def by_id(service: Service, file_id: str) -> tuple[Bucket, Version]:
    """Raises ApiError 400, 404; hide markers and unfinished files can't be downloaded."""
    version = service.state.files.get(file_id)
    if version.action != UPLOAD:
        raise not_found(f"File with id {file_id} is not a finished file")
    return service.state.bucket_of(version), version


def overrides(fields: Fields, query: Mapping[str, str]) -> Mapping[str, str]:
    """The headers that a request asks for, in its body or in its query. Raises ApiError 400."""
    given = {name: fields.optional_text(name) or query.get(name) for name in OVERRIDES}
    return {name: text for name, text in given.items() if text is not None}


def check_allowed(
    service: Service, bucket: Bucket, name: str, token: str | None, overrides: Mapping[str, str]
) -> Key:
    """Whose eyes see the reply. Raises ApiError 401."""
    if token is None:
        if bucket.type != "allPublic" or overrides:
            raise ApiError(401, "missing_auth_token", "Authorization is required")
        return Key("", "", "", ("readFiles", "readFileRetentions", "readFileLegalHolds"))
    found = service.keys.check(token, ACCOUNT, DOWNLOAD)
    if found.kind == DOWNLOAD:
        _check_download_token(found, bucket, name, overrides)
        return found.key
    if bucket.type != "allPublic":
        if not found.key.may("readFiles"):
            raise unauthorized()
        if found.key.buckets is not None and bucket.bucket_id not in found.key.buckets:
            raise unauthorized()
        if found.key.prefix is not None and not name.startswith(found.key.prefix):
            raise unauthorized()
    return found.key


def prepare(
    service: Service,
    bucket: Bucket,
    version: Version,
    key: Key,
    headers: Mapping[str, str],
    overrides: Mapping[str, str],
) -> Download:
    """The reply to a download of this version. Raises ApiError 400, 403, 416."""
    check_readable(version.attributes.encryption, encryption_headers(headers))
    span = byte_range(headers.get("Range"), version.size)
    reply = _headers(bucket, version, key)
    for name, header in _OVERRIDE_HEADERS.items():
        if name in overrides:
            check_header_value(overrides[name])
            reply[header] = overrides[name]
    start, stop = span or (0, version.size)
    reply["Content-Length"] = str(stop - start)
    reply["Date"] = service.state.clock.http_date()
    if span is not None:
        reply["Content-Range"] = f"bytes {start}-{stop - 1}/{version.size}"
    segments = service.state.contents.segments(version.number, start, stop)
    return Download(200 if span is None else 206, reply, segments, stop - start)


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """What a Range header means for a file of that size: (start, stop), None for the whole file (also
    when the header is malformed). Raises ApiError 416."""
    found = None if text is None else _RANGE.fullmatch(text)
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise ApiError(416, "range_not_satisfiable", "The requested range is outside the size of the file")
    return start, stop


def encoded(text: str) -> str:
    """A name or info value as it travels in a header."""
    return quote(text, safe=SAFE)


def _check_download_token(token: Token, bucket: Bucket, name: str, overrides: Mapping[str, str]) -> None:
    if token.subject != bucket.bucket_id or not name.startswith(token.details["prefix"]):
        raise unauthorized()
    for key, value in token.details["overrides"].items():
        if overrides.get(key) != value:
            raise unauthorized(f"{key} must be as in the download authorization")


def _headers(bucket: Bucket, version: Version, key: Key) -> dict[str, str]:
    attributes = version.attributes
    reply = {
        "Accept-Ranges": "bytes",
        "Content-Type": attributes.content_type,
        "x-bz-content-sha1": version.sha1,
        "x-bz-file-id": version.file_id,
        "x-bz-file-name": encoded(version.name),
        "X-Bz-Upload-Timestamp": str(version.timestamp),
        "Cache-Control": bucket.info.get("Cache-Control", "max-age=0, no-cache, no-store"),
    }
    for name, value in attributes.info.items():
        if name in _PLAIN_HEADERS:
            reply[_PLAIN_HEADERS[name]] = value
        else:
            reply[f"X-Bz-Info-{name}"] = encoded(value)
    if attributes.encryption is not None and attributes.encryption.mode == SSE_C:
        reply["X-Bz-Server-Side-Encryption-Customer-Algorithm"] = "AES256"
        reply["X-Bz-Server-Side-Encryption-Customer-Key-Md5"] = attributes.encryption.key_md5 or ""
    elif attributes.encryption is not None:
        reply["X-Bz-Server-Side-Encryption"] = "AES256"
    if bucket.file_lock:
        reply.update(_lock_headers(version, key))
    return reply


def _lock_headers(version: Version, key: Key) -> dict[str, str]:
    reply: dict[str, str] = {}
    hidden: list[str] = []
    retention = version.attributes.retention
    if not key.may("readFileRetentions"):
        hidden += ["X-Bz-File-Retention-Mode", "X-Bz-File-Retention-Retain-Until-Timestamp"]
    elif retention.mode is not None:
        reply["X-Bz-File-Retention-Mode"] = retention.mode
        reply["X-Bz-File-Retention-Retain-Until-Timestamp"] = str(retention.until)
    if not key.may("readFileLegalHolds"):
        hidden.append("X-Bz-File-Legal-Hold")
    elif version.attributes.legal_hold is not None:
        reply["X-Bz-File-Legal-Hold"] = version.attributes.legal_hold
    if hidden:
        reply["X-Bz-Client-Unauthorized-To-Read"] = ",".join(hidden)
    return reply

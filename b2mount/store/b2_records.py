"""B2's records, as the JSON and the headers have them, -> ObjectVersion, Bucket and the rest.

Invariants: nothing that a server sends makes these functions raise anything but StoreFailure; a
row of a listing that makes no sense is left out, a reply about one thing that makes no sense is
StoreFailure.

Must not know: how the records came here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeGuard
from urllib.parse import unquote_plus

from b2mount.errors import StoreFailure
from b2mount.model import (
    Action,
    Encryption,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Protection,
    Retention,
    RetentionMode,
)
from b2mount.store.interface import (
    Bucket,
    MultipartUpload,
    ObjectPage,
    PartRecord,
    VersionCursor,
    VersionPage,
)

Record = Mapping[str, object]

LARGEST_NUMBER: Final = 2**63 - 1
ACTIONS: Final = {
    "upload": Action.UPLOAD,
    "copy": Action.UPLOAD,
    "hide": Action.HIDE,
    "start": Action.START,
}
ENCRYPTIONS: Final = {"SSE-B2": Encryption.SSE_B2, "SSE-C": Encryption.SSE_C}
MODES: Final = {mode.value: mode for mode in RetentionMode}
DEFAULT_TYPE: Final = "application/octet-stream"
INFO_HEADER: Final = "x-bz-info-"
SSE_B2_HEADER: Final = "x-bz-server-side-encryption"
SSE_C_HEADER: Final = "x-bz-server-side-encryption-customer-algorithm"
STANDARD_HEADERS: Final = {
    "content-disposition": "b2-content-disposition",
    "content-language": "b2-content-language",
    "content-encoding": "b2-content-encoding",
    "expires": "b2-expires",
}
"""Info that a download shows as a plain header. (Cache-Control too, but B2 also makes one up.)"""


def record(reply: object) -> Record:
    """The reply as an object of JSON. Raises StoreFailure."""
    if not isinstance(reply, dict):
        raise StoreFailure("B2's reply makes no sense: not an object")
    return reply


def text(reply: Record, field: str) -> str:
    """A field that must be there. Raises StoreFailure."""
    value = _text(reply, field)
    if value is None:
        raise StoreFailure(f"B2's reply makes no sense: no {field}")
    return value


def version(reply: object, bucket: str) -> ObjectVersion:
    """One file object. Raises StoreFailure."""
    found = _version(record(reply), bucket)
    if found is None:
        raise StoreFailure("B2's reply makes no sense: not a file")
    return found


def version_in_headers(headers: Mapping[str, str], path: ObjectPath) -> ObjectVersion:
    """The answer to a HEAD of `path`. Raises StoreFailure."""
    lower = {name.lower(): value for name, value in headers.items()}
    if unquote_plus(lower.get("x-bz-file-name", "")) != path.key:
        raise StoreFailure("B2's reply is about another object than was asked for")
    info = {
        name.removeprefix(INFO_HEADER): unquote_plus(value)
        for name, value in lower.items()
        if name.startswith(INFO_HEADER)
    }
    for header, key in STANDARD_HEADERS.items():
        if header in lower:
            info.setdefault(key, lower[header])
    row: dict[str, object] = {
        "action": "upload",
        "fileId": lower.get("x-bz-file-id"),
        "fileName": path.key,
        "contentLength": _digits(lower.get("content-length")),
        "uploadTimestamp": _digits(lower.get("x-bz-upload-timestamp")),
        "contentType": lower.get("content-type"),
        "contentSha1": lower.get("x-bz-content-sha1"),
        "fileInfo": info,
        "serverSideEncryption": {"mode": _mode_in(lower)},
    }
    return version(row, path.bucket)


def object_page(reply: object, bucket: str, prefix: str, start: str) -> ObjectPage:
    """A page of b2_list_file_names. Raises StoreFailure when it would not lead on."""
    page = record(reply)
    versions, prefixes = _rows(page, bucket, prefix)
    next_key = _text(page, "nextFileName")
    if next_key is not None and next_key <= start:
        raise StoreFailure("B2's listing does not move on")
    uploads = tuple(found for found in versions if found.action is Action.UPLOAD)
    return ObjectPage(uploads, prefixes, next_key)


def version_page(reply: object, bucket: str, prefix: str, start: VersionCursor | None) -> VersionPage:
    """A page of b2_list_file_versions. Raises StoreFailure when it would not lead on."""
    page = record(reply)
    versions, prefixes = _rows(page, bucket, prefix)
    protections = dict(_protections(page))
    next_key = _text(page, "nextFileName")
    if next_key is None:
        return VersionPage(versions, prefixes, None, protections)
    next_id = _text(page, "nextFileId")
    cursor = start.followed_by(next_key, next_id) if start else VersionCursor(next_key, next_id)
    return VersionPage(versions, prefixes, cursor, protections)


def protection(reply: object) -> Protection:
    """Retention and legal hold of a file object. Raises StoreFailure."""
    row = record(reply)
    retention, hold = row.get("fileRetention"), row.get("legalHold")
    seen = {"readFileRetentions": retention, "readFileLegalHolds": hold}
    hidden = [name for name, value in seen.items() if _is_hidden(value)]
    return Protection(_retention(_value(retention)), _value(hold) == "on", frozenset(hidden))


def row_count(reply: object) -> int:
    """How many rows a page is billed for."""
    return len(_items(record(reply), "files"))


def buckets(reply: object) -> tuple[Bucket, ...]:
    """The answer to b2_list_buckets, by name."""
    found = (_bucket(item) for item in _items(record(reply), "buckets"))
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.name))


def bucket(reply: object) -> Bucket:
    """One bucket. Raises StoreFailure."""
    found = _bucket(record(reply))
    if found is None:
        raise StoreFailure("B2's reply makes no sense: not a bucket")
    return found


def multipart_uploads(reply: object, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
    """A page of b2_list_unfinished_large_files."""
    versions = _rows(record(reply), bucket, prefix)[0]
    return tuple(multipart_upload(found) for found in versions)


def multipart_upload(found: ObjectVersion) -> MultipartUpload:
    """An unfinished large file, of its row."""
    metadata = ObjectMetadata(found.content_type, found.info)
    return MultipartUpload(found.version_id, found.path, metadata, found.uploaded_ms)


def parts(reply: object) -> tuple[PartRecord, ...]:
    """A page of b2_list_parts."""
    return tuple(part(item) for item in _items(record(reply), "parts"))


def part(reply: object) -> PartRecord:
    """One part. Raises StoreFailure."""
    item = record(reply)
    number, size, sha1 = _number(item, "partNumber"), _number(item, "contentLength"), _sha1(item)
    if number is None or size is None or sha1 is None:
        raise StoreFailure("B2's reply makes no sense: not a part")
    return PartRecord(number, size, sha1)


def next_part_number(reply: object) -> int | None:
    """Where a listing of parts goes on."""
    return _number(record(reply), "nextPartNumber")


def next_file_id(reply: object) -> str | None:
    """Where a listing of unfinished files goes on."""
    return _text(record(reply), "nextFileId")


# -- inside --------------------------------------------------------------------------------


def _rows(page: Record, bucket: str, prefix: str) -> tuple[tuple[ObjectVersion, ...], tuple[str, ...]]:
    versions: list[ObjectVersion] = []
    prefixes: list[str] = []
    for item in _items(page, "files"):
        name = _text(item, "fileName")
        if name is None or not name.startswith(prefix):
            continue
        if item.get("action") == "folder":
            if name != prefix and name not in prefixes[-1:]:
                prefixes.append(name)
        elif (found := _version(item, bucket)) is not None:
            versions.append(found)
    return tuple(versions), tuple(prefixes)


def _version(row: Record, bucket: str) -> ObjectVersion | None:
    action = ACTIONS.get(str(row.get("action", "upload")))
    name, version_id = _text(row, "fileName"), _text(row, "fileId")
    size = _number(row, "contentLength" if "contentLength" in row else "size")
    uploaded_ms = _number(row, "uploadTimestamp")
    if action is Action.HIDE or action is Action.START:
        size = 0
    if action is None or name is None or version_id is None or size is None or uploaded_ms is None:
        return None
    info = _info(row.get("fileInfo"))
    return ObjectVersion(
        path=ObjectPath(bucket, name),
        version_id=version_id,
        size=size,
        uploaded_ms=uploaded_ms,
        content_type=_text(row, "contentType") or DEFAULT_TYPE,
        sha1=(_sha1(row) or _hex(info.get("large_file_sha1"))) if action is Action.UPLOAD else None,
        info=info,
        action=action,
        encryption=_encryption(row.get("serverSideEncryption")),
    )


def _protections(page: Record) -> Iterator[tuple[str, Protection]]:
    for row in _items(page, "files"):
        version_id = _text(row, "fileId")
        if version_id is not None and (_value(row.get("fileRetention")) or _value(row.get("legalHold"))):
            found = protection(row)
            if found.legal_hold or found.retention is not None:
                yield version_id, found


def _value(shown: object) -> object:
    """What needs a capability to be seen."""
    return shown.get("value") if isinstance(shown, dict) else None


def _is_hidden(shown: object) -> bool:
    return isinstance(shown, dict) and shown.get("isClientAuthorizedToRead") is False


def _retention(value: object) -> Retention | None:
    """None where there is none: then B2 says so in nulls."""
    if not isinstance(value, dict):
        return None
    mode, until_ms = MODES.get(str(value.get("mode"))), _number(value, "retainUntilTimestamp")
    return Retention(mode, until_ms) if mode is not None and until_ms is not None else None


def _encryption(value: object) -> Encryption:
    """None where nothing is said of it, as for hide markers."""
    mode = value.get("mode") if isinstance(value, dict) else None
    return ENCRYPTIONS.get(mode, Encryption.NONE) if isinstance(mode, str) else Encryption.NONE


def _mode_in(headers: Mapping[str, str]) -> str | None:
    if SSE_C_HEADER in headers:
        return "SSE-C"
    return "SSE-B2" if SSE_B2_HEADER in headers else None


def _bucket(item: Record) -> Bucket | None:
    name, bucket_id = _text(item, "bucketName"), _text(item, "bucketId")
    if name is None or bucket_id is None:
        return None
    lock = item.get("fileLockConfiguration")
    value = lock.get("value") if isinstance(lock, dict) else None
    has_lock = isinstance(value, dict) and value.get("isFileLockEnabled") is True
    return Bucket(name, bucket_id, item.get("bucketType") == "allPublic", has_lock)


def _items(page: Record, field: str) -> list[Record]:
    items = page.get(field)
    if not isinstance(items, list):
        raise StoreFailure(f"B2's reply makes no sense: no {field}")
    return [item for item in items if isinstance(item, dict)]


def _text(row: Record, field: str) -> str | None:
    """A string that is not empty."""
    value = row.get(field)
    return value if value and _is_text(value) else None


def _is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string without lone surrogates, which no request could carry."""
    return isinstance(value, str) and (value.isascii() or not re.search("[\ud800-\udfff]", value))


def _number(row: Record, field: str) -> int | None:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= LARGEST_NUMBER else None


def _digits(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,19}", value) else None


def _sha1(row: Record) -> str | None:
    """contentSha1 where B2 vouches for it: not "none", not "unverified:..."."""
    value = row.get("contentSha1")
    return _hex(value) if isinstance(value, str) else None


def _hex(value: str | None) -> str | None:
    return value.lower() if value is not None and re.fullmatch("[0-9a-fA-F]{40}", value) else None


def _info(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key.lower(): each for key, each in value.items() if _is_text(key) and _is_text(each)}

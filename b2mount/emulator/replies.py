"""B2's JSON for buckets, versions, parts and keys. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from b2mount.emulator.keys import Key
from b2mount.emulator.records import FOLDER, HIDE, START, Bucket, Encryption, Folder, Part, Retention, Version

Document = dict[str, Any]

AT_ONCE: Final = 250
"""Rows of a listing that are described in one piece: 3 ms, for which nobody else is answered."""


@attrs.frozen
class Listed:
    """The reply to a listing, its rows as they were when it was asked for, and not yet described."""

    rows: Sequence[Version | Folder]
    describe: Callable[[Version | Folder], Document]
    rest: Document
    """What follows the rows; not empty."""

    def pieces(self) -> Iterator[bytes]:
        """The reply's JSON, a few rows at a time."""
        yield b'{"files":['
        for first in range(0, len(self.rows), AT_ONCE):
            described = [self.describe(row) for row in self.rows[first : first + AT_ONCE]]
            yield b"," * bool(first) + as_json(described)[1:-1]
        yield b"]," + as_json(self.rest)[1:]


def as_json(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """As B2 writes it: no blanks, no escapes but those that must be. In place of half a surrogate pair, which
    an error may repeat of the request that it complains of, there is a question mark."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def encryption_document(encryption: Encryption | None, *, with_key: bool = True) -> Document:
    if encryption is None:
        return {"mode": None, "algorithm": None}
    document: Document = {"mode": encryption.mode, "algorithm": "AES256"}
    if encryption.key_md5 is not None and with_key:
        document["customerKeyMd5"] = encryption.key_md5
    return document


def retention_document(retention: Retention) -> Document:
    return {"mode": retention.mode, "retainUntilTimestamp": retention.until}


def shown(allowed: bool, value: Any) -> Document:
    """A value that needs a capability of its own to be seen."""
    return {"isClientAuthorizedToRead": allowed, "value": value if allowed else None}


def version_document(
    row: Version | Folder, account_id: str, key: Key, *, bucket_id: str = "", api: int = 4
) -> Document:
    """A file object, as replies and listings have it."""
    if isinstance(row, Folder):
        return _folder_document(row, account_id, bucket_id)
    attributes = row.attributes
    size = row.size if row.action != START else 0
    document: Document = {
        "accountId": account_id,
        "action": row.action,
        "bucketId": row.bucket_id,
        "contentLength": size,
        "contentMd5": row.md5,
        "contentSha1": row.sha1,
        "contentType": attributes.content_type,
        "fileId": row.file_id,
        "fileInfo": dict(attributes.info),
        "fileName": row.name,
        "uploadTimestamp": row.timestamp,
    }
    if api == 1:
        document["size"] = size
    if row.action != HIDE:
        document["fileRetention"] = shown(
            key.may("readFileRetentions"), retention_document(attributes.retention)
        )
        document["legalHold"] = shown(key.may("readFileLegalHolds"), attributes.legal_hold)
        document["serverSideEncryption"] = encryption_document(
            attributes.encryption, with_key=row.action == START
        )
    return document


def _folder_document(row: Folder, account_id: str, bucket_id: str) -> Document:
    return {
        "accountId": account_id,
        "action": FOLDER,
        "bucketId": bucket_id,
        "contentLength": 0,
        "contentMd5": None,
        "contentSha1": None,
        "contentType": None,
        "fileId": None,
        "fileInfo": {},
        "fileName": row.name,
        "uploadTimestamp": 0,
    }


def part_document(part: Part, file_id: str, encryption: Encryption | None) -> Document:
    return {
        "contentLength": part.size,
        "contentMd5": part.md5,
        "contentSha1": part.sha1,
        "fileId": file_id,
        "partNumber": part.number,
        "serverSideEncryption": encryption_document(encryption),
        "uploadTimestamp": part.timestamp,
    }


def bucket_document(bucket: Bucket, account_id: str, key: Key) -> Document:
    default_encryption = {
        "mode": bucket.encryption,
        "algorithm": "AES256" if bucket.encryption is not None else None,
    }
    file_lock = {
        "isFileLockEnabled": bucket.file_lock,
        "defaultRetention": {"mode": bucket.retention_mode, "period": bucket.retention_period},
    }
    return {
        "accountId": account_id,
        "bucketId": bucket.bucket_id,
        "bucketInfo": dict(bucket.info),
        "bucketName": bucket.name,
        "bucketType": bucket.type,
        "corsRules": list(bucket.cors_rules),
        "defaultServerSideEncryption": shown(key.may("readBucketEncryption"), default_encryption),
        "fileLockConfiguration": shown(key.may("readBucketRetentions"), file_lock),
        "lifecycleRules": list(bucket.lifecycle_rules),
        "options": ["s3"],
        "replicationConfiguration": shown(key.may("readBucketReplications"), bucket.replication),
        "revision": bucket.revision,
    }


def key_document(key: Key, account_id: str, *, api: int, with_secret: bool = False) -> Document:
    document: Document = {
        "accountId": account_id,
        "applicationKeyId": key.key_id,
        "capabilities": list(key.capabilities),
        "expirationTimestamp": key.expires,
        "keyName": key.name,
        "namePrefix": key.prefix,
        "options": ["s3"],
    }
    if api >= 4:
        document["bucketIds"] = None if key.buckets is None else list(key.buckets)
    else:
        document["bucketId"] = key.buckets[0] if key.buckets else None
    if with_secret:
        document["applicationKey"] = key.secret
    return document

"""API calls about large files and copies. Copies are two steps: hashing may take a while in between."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from b2mount.emulator.bucket_state import MAX_SINGLE_BYTES
from b2mount.emulator.call import Call, Fields
from b2mount.emulator.clock import parse_file_id
from b2mount.emulator.content_types import resolve
from b2mount.emulator.errors import bad_request
from b2mount.emulator.file_calls import describe
from b2mount.emulator.keys import PART, UPLOAD
from b2mount.emulator.records import Attributes, Bucket, Content, Version
from b2mount.emulator.replies import Document, part_document
from b2mount.emulator.settings import (
    check_readable,
    encryption_setting,
    legal_hold_setting,
    retention_setting,
)

MAX_UNFINISHED = 100
MAX_LISTED_PARTS = 1000


@attrs.frozen
class Copy:
    """A copy that waits for the SHA-1 of what it takes; `complete` does the rest."""

    content: Content
    complete: Callable[[Content], Document]


def get_upload_url(call: Call) -> Document:
    bucket = call.bucket()
    return {
        "authorizationToken": call.service.keys.issue(UPLOAD, call.key, bucket.bucket_id),
        "bucketId": bucket.bucket_id,
        "uploadUrl": f"{call.base_url}/b2api/v{call.version}/b2_upload_file/"
        f"{bucket.bucket_id}/c001_v0001000_t0000",
    }


def get_upload_part_url(call: Call) -> Document:
    version = _large_file(call)
    return {
        "authorizationToken": call.service.keys.issue(PART, call.key, version.file_id),
        "fileId": version.file_id,
        "uploadUrl": f"{call.base_url}/b2api/v{call.version}/b2_upload_part/{version.file_id}/0000",
    }


def start_large_file(call: Call) -> Document:
    bucket, name, fields = call.bucket(), call.fields.text("fileName"), call.fields
    call.check_name(name)
    attributes = _with_locks(
        call,
        bucket,
        Attributes(
            resolve(fields.text("contentType"), name),
            fields.info(),
            encryption_setting(fields.optional_object("serverSideEncryption")),
        ),
    )
    timestamp = fields.optional_integer("customUploadTimestamp")
    check_timestamp(timestamp, call.state.clock.now())
    return describe(call, call.state.large_files.start(bucket, name, attributes, timestamp=timestamp))


def finish_large_file(call: Call) -> Document:
    version = _large_file(call)
    sha1s = call.fields.texts("partSha1Array")
    if sha1s is None:
        raise bad_request("required field partSha1Array is missing")
    return describe(call, call.state.large_files.finish(version.file_id, sha1s))


def cancel_large_file(call: Call) -> Document:
    version = call.state.large_files.cancel(_large_file(call).file_id)
    return {
        "accountId": call.service.keys.account_id,
        "bucketId": version.bucket_id,
        "fileId": version.file_id,
        "fileName": version.name,
    }


def list_parts(call: Call) -> Document:
    version = _large_file(call)
    start = call.fields.optional_integer("startPartNumber") or 1
    limit = call.fields.count("maxPartCount", 100, MAX_LISTED_PARTS)
    parts = call.state.large_files.parts(version.file_id, start, limit + 1)
    return {
        "nextPartNumber": parts[limit].number if len(parts) > limit else None,
        "parts": [part_document(p, version.file_id, version.attributes.encryption) for p in parts[:limit]],
    }


def list_unfinished_large_files(call: Call) -> Document:
    bucket = call.bucket()
    prefix, start_id = call.fields.optional_text("namePrefix") or "", call.fields.optional_text("startFileId")
    call.check_name(prefix)
    start = parse_file_id(start_id) if start_id else (0, 0)
    if start is None:
        raise bad_request(f"Invalid fileId: {start_id}", "invalid_file_id")
    limit = call.fields.count("maxFileCount", 100, MAX_UNFINISHED)
    found = call.state.large_files.unfinished(bucket, prefix, start[0], limit + 1)
    return {
        "files": [describe(call, version) for version in found[:limit]],
        "nextFileId": found[limit].file_id if len(found) > limit else None,
    }


def copy_file(call: Call) -> Copy:
    source = _source(call)
    fields, name = call.fields, call.fields.text("fileName")
    bucket = call.bucket("destinationBucketId") if "destinationBucketId" in fields else _bucket(call, source)
    call.check_name(name)
    attributes = _with_locks(call, bucket, _copied_attributes(fields, source, name))
    content = call.state.copy_source(source, fields.optional_text("range"))

    def complete(hashed: Content) -> Document:
        version = call.state.files.put(bucket, name, hashed, attributes)
        return {**describe(call, version), "action": "copy"}

    return Copy(content, complete)


def copy_part(call: Call) -> Copy:
    source = _source(call)
    version = call.check_version(call.state.large_files.get(call.fields.text("largeFileId")))
    number = call.fields.integer("partNumber")
    check_readable(
        version.attributes.encryption,
        encryption_setting(call.fields.optional_object("destinationServerSideEncryption")),
    )
    content = call.state.copy_source(source, call.fields.optional_text("range"))

    def complete(hashed: Content) -> Document:
        part = call.state.large_files.put_part(version.file_id, number, hashed)
        return part_document(part, version.file_id, version.attributes.encryption)

    return Copy(content, complete)


def check_timestamp(timestamp: int | None, now: int) -> None:
    """Raises ApiError 400 for a custom upload time that is not in the past."""
    if timestamp is not None and not 0 <= timestamp <= now:
        raise bad_request("custom upload timestamp must be in the past", "custom_timestamp_invalid")


def check_size(size: int) -> None:
    """Raises ApiError 400 for more than one request may carry."""
    if size > MAX_SINGLE_BYTES:
        raise bad_request(f"Uploads must not exceed {MAX_SINGLE_BYTES} bytes: {size}")


def _large_file(call: Call) -> Version:
    return call.check_version(call.state.large_files.get(call.fields.text("fileId")))


def _bucket(call: Call, version: Version) -> Bucket:
    return call.state.bucket_of(version)


def _source(call: Call) -> Version:
    """The version to copy from, which the key may read."""
    source = call.version_at("sourceFileId")
    if _bucket(call, source).type != "allPublic":
        call.need("readFiles")
    check_readable(
        source.attributes.encryption,
        encryption_setting(call.fields.optional_object("sourceServerSideEncryption")),
    )
    return source


def _copied_attributes(fields: Fields, source: Version, name: str) -> Attributes:
    directive = fields.optional_text("metadataDirective") or "COPY"
    encryption = encryption_setting(fields.optional_object("destinationServerSideEncryption"))
    if directive == "COPY":
        if "contentType" in fields or "fileInfo" in fields:
            raise bad_request("contentType and fileInfo are not allowed when metadataDirective is COPY")
        return Attributes(source.attributes.content_type, source.attributes.info, encryption)
    if directive != "REPLACE":
        raise bad_request(f"Invalid metadataDirective: {directive}")
    if "contentType" not in fields:
        raise bad_request("contentType is required when metadataDirective is REPLACE")
    return Attributes(resolve(fields.text("contentType"), name), fields.info(), encryption)


def _with_locks(call: Call, bucket: Bucket, attributes: Attributes) -> Attributes:
    """Retention and legal hold of the request added, which need capabilities and a bucket with locks."""
    retention = retention_setting(call.fields.optional_object("fileRetention"))
    hold = legal_hold_setting(call.fields.optional_text("legalHold"))
    check_locks(call, bucket, has_retention=retention.mode is not None, has_hold=hold is not None)
    return attrs.evolve(attributes, retention=retention, legal_hold=hold)


def check_locks(call: Call, bucket: Bucket, *, has_retention: bool, has_hold: bool) -> None:
    """Raises ApiError 400, 401 when such locks can't be set."""
    if has_retention:
        call.need("writeFileRetentions")
    if has_hold:
        call.need("writeFileLegalHolds")
    if (has_retention or has_hold) and not bucket.file_lock:
        raise bad_request("The bucket has no file lock", "bucket_missing_file_lock")

"""API calls about single files and listings: one function per call."""

from __future__ import annotations

import attrs

from b2mount.emulator.call import Call
from b2mount.emulator.errors import ApiError, access_denied, bad_request
from b2mount.emulator.keys import DOWNLOAD
from b2mount.emulator.records import Bucket, Folder, Page, Retention, Version
from b2mount.emulator.replies import Document, Listed, retention_document, version_document
from b2mount.emulator.settings import legal_hold_setting, retention_setting

MAX_ROWS = 10_000
WEEK_SECONDS = 604_800
OVERRIDES = (
    "b2ContentDisposition",
    "b2ContentLanguage",
    "b2Expires",
    "b2CacheControl",
    "b2ContentEncoding",
    "b2ContentType",
)


def get_file_info(call: Call) -> Document:
    return describe(call, call.version_at())


def hide_file(call: Call) -> Document:
    bucket, name = call.bucket(), call.fields.text("fileName")
    call.check_name(name)
    return describe(call, call.state.files.hide(bucket, name))


def delete_file_version(call: Call) -> Document:
    name, file_id = call.fields.text("fileName"), call.fields.text("fileId")
    bypass = call.fields.flag("bypassGovernance")
    if bypass:
        call.need("bypassGovernance")
    call.check_name(name)
    if call.key.buckets is not None:
        _check_reach(call, file_id)
    call.state.files.delete(name, file_id, bypass_governance=bypass)
    return {"fileId": file_id, "fileName": name}


def list_file_names(call: Call) -> Listed:
    bucket, prefix = call.bucket(), _prefix(call)
    page = call.state.pages.names(
        bucket,
        prefix=prefix,
        delimiter=call.fields.optional_text("delimiter") or "",
        start=call.fields.optional_text("startFileName") or "",
        limit=call.fields.count("maxFileCount", 100, MAX_ROWS),
    )
    return _listed(call, bucket, page, {"nextFileName": page.next_name})


def list_file_versions(call: Call) -> Listed:
    bucket, prefix = call.bucket(), _prefix(call)
    start, start_id = call.fields.optional_text("startFileName"), call.fields.optional_text("startFileId")
    if start_id and not start:
        raise bad_request("startFileId needs startFileName")
    page = call.state.pages.versions(
        bucket,
        prefix=prefix,
        delimiter=call.fields.optional_text("delimiter") or "",
        start=start or "",
        start_id=start_id or None,
        limit=call.fields.count("maxFileCount", 100, MAX_ROWS),
    )
    return _listed(call, bucket, page, {"nextFileName": page.next_name, "nextFileId": page.next_id})


def get_download_authorization(call: Call) -> Document:
    bucket, prefix = call.bucket(), call.fields.text("fileNamePrefix")
    call.check_name(prefix)
    seconds = call.fields.integer("validDurationInSeconds")
    if not 1 <= seconds <= WEEK_SECONDS:
        raise bad_request(f"validDurationInSeconds must be between 1 and {WEEK_SECONDS}", "out_of_range")
    overrides = {name: call.fields.text(name) for name in OVERRIDES if name in call.fields}
    token = call.service.keys.issue(
        DOWNLOAD, call.key, bucket.bucket_id, seconds * 1000, prefix=prefix, overrides=overrides
    )
    return {"authorizationToken": token, "bucketId": bucket.bucket_id, "fileNamePrefix": prefix}


def update_file_retention(call: Call) -> Document:
    version = _locked_version(call)
    bypass = call.fields.flag("bypassGovernance")
    if bypass:
        call.need("bypassGovernance")
    if "fileRetention" not in call.fields:
        raise bad_request("required field fileRetention is missing")
    wanted = retention_setting(call.fields.optional_object("fileRetention"))
    now = call.state.clock.now()
    if wanted.mode is not None and (wanted.until or 0) <= now:
        raise bad_request("Retention must end in the future", "retain_until_timestamp_must_be_in_future")
    _check_retention_change(version.attributes.retention, wanted, now, bypass=bypass)
    call.state.files.change(version, attrs.evolve(version.attributes, retention=wanted))
    return {
        "fileId": version.file_id,
        "fileName": version.name,
        "fileRetention": retention_document(wanted),
    }


def update_file_legal_hold(call: Call) -> Document:
    version = _locked_version(call)
    hold = legal_hold_setting(call.fields.text("legalHold"))
    call.state.files.change(version, attrs.evolve(version.attributes, legal_hold=hold))
    return {"fileId": version.file_id, "fileName": version.name, "legalHold": hold}


def describe(call: Call, row: Version | Folder, bucket_id: str = "") -> Document:
    """A version as this caller sees it."""
    return version_document(
        row, call.service.keys.account_id, call.key, bucket_id=bucket_id, api=call.version
    )


def _listed(call: Call, bucket: Bucket, page: Page, rest: Document) -> Listed:
    return Listed(page.rows, lambda row: describe(call, row, bucket.bucket_id), rest)


def _prefix(call: Call) -> str:
    prefix = call.fields.optional_text("prefix") or ""
    if call.version == 1 and call.key.prefix is not None and call.key.prefix.startswith(prefix):
        return call.key.prefix  # the oldest version leaves out what the key may not see
    call.check_name(prefix)
    return prefix


def _check_reach(call: Call, file_id: str) -> None:
    try:
        version = call.state.files.get(file_id)
    except ApiError:
        return  # the delete says it in its own words
    call.check_version(version)


def _locked_version(call: Call) -> Version:
    """The version whose lock is to change. Raises ApiError 400, 401, 404."""
    version = call.version_at()
    if version.name != call.fields.text("fileName"):
        raise bad_request(
            f"File not present: {call.fields.text('fileName')} {version.file_id}", "file_not_present"
        )
    if not call.state.bucket_of(version).file_lock:
        raise bad_request("The bucket has no file lock", "bucket_missing_file_lock")
    return version


def _check_retention_change(old: Retention, new: Retention, now: int, *, bypass: bool) -> None:
    """Longer is always fine; shorter or weaker needs a governance lock and its bypass."""
    if old.mode is None or (old.until or 0) <= now:
        return
    weaker = new.mode is None or (new.until or 0) < (old.until or 0)
    weaker = weaker or (old.mode == "compliance" and new.mode != "compliance")
    if not weaker:
        return
    if old.mode == "compliance" or not bypass:
        raise access_denied()

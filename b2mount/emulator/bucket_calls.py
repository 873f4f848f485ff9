"""API calls about buckets: one function per call."""

from __future__ import annotations

from typing import Any, Final

import attrs

from b2mount.emulator.bucket_rules import (
    check_bucket_info,
    check_cors,
    check_lifecycle,
    check_notifications,
    default_encryption,
    default_retention,
)
from b2mount.emulator.call import Call
from b2mount.emulator.errors import bad_request, unauthorized
from b2mount.emulator.records import Bucket
from b2mount.emulator.replies import Document, bucket_document

SHOWN_TYPES: Final = ("allPublic", "allPrivate", "snapshot")
OWN_TYPES: Final = ("allPublic", "allPrivate")


def list_buckets(call: Call) -> Document:
    call.check_account()
    bucket_id, name = call.fields.optional_text("bucketId"), call.fields.optional_text("bucketName")
    types = call.fields.texts("bucketTypes") or list(SHOWN_TYPES)
    buckets = [
        bucket
        for bucket in call.state.buckets.all()
        if bucket_id in (None, bucket.bucket_id)
        and (name is None or name.lower() == bucket.name.lower())
        and ("all" in types or bucket.type in types)
    ]
    named = bucket_id is not None or name is not None
    reachable = call.key.buckets is None or (
        named and bool(buckets) and all(bucket.bucket_id in call.key.buckets for bucket in buckets)
    )
    if not reachable:
        raise unauthorized()
    return {"buckets": [_document(call, bucket) for bucket in buckets]}


def create_bucket(call: Call) -> Document:
    call.check_account()
    changes = _changes(call)
    type_ = changes.pop("type", None)
    if type_ is None:
        raise bad_request("required field bucketType is missing")
    if call.fields.flag("fileLockEnabled"):
        call.need("writeBucketRetentions")
        changes["file_lock"] = True
    bucket = call.state.buckets.create(call.fields.text("bucketName"), type_, **changes)
    return _document(call, bucket)


def update_bucket(call: Call) -> Document:
    call.check_account()
    changes = _changes(call)
    if "fileLockEnabled" in call.fields:
        call.need("writeBucketRetentions")
        changes["file_lock"] = call.fields.flag("fileLockEnabled")
    retention = call.fields.optional_object("defaultRetention")
    if retention is not None:
        call.need("writeBucketRetentions")
        changes["retention_mode"], changes["retention_period"] = default_retention(retention)

    def change(bucket: Bucket) -> Bucket:
        if bucket.file_lock and not changes.get("file_lock", True):
            raise bad_request("File lock can't be disabled", "file_lock_conflict")
        changed = attrs.evolve(bucket, **changes)
        if changed.retention_mode is not None and not changed.file_lock:
            raise bad_request("The bucket has no file lock", "bucket_missing_file_lock")
        return changed

    revision = call.fields.optional_integer("ifRevisionIs")
    return _document(call, call.state.buckets.update(call.bucket().bucket_id, change, revision=revision))


def delete_bucket(call: Call) -> Document:
    call.check_account()
    return _document(call, call.state.buckets.delete(call.bucket().bucket_id))


def get_notification_rules(call: Call) -> Document:
    return _rules(call.bucket())


def set_notification_rules(call: Call) -> Document:
    rules = check_notifications(call.fields.optional_list("eventNotificationRules") or [])
    return _rules(
        call.state.buckets.update(
            call.bucket().bucket_id, lambda bucket: attrs.evolve(bucket, notification_rules=rules)
        )
    )


def _rules(bucket: Bucket) -> Document:
    return {"bucketId": bucket.bucket_id, "eventNotificationRules": list(bucket.notification_rules)}


def _document(call: Call, bucket: Bucket) -> Document:
    return bucket_document(bucket, call.service.keys.account_id, call.key)


def _changes(call: Call) -> dict[str, Any]:
    """The fields that creating and updating share, checked."""
    fields = call.fields
    changes: dict[str, Any] = {}
    type_ = fields.optional_text("bucketType")
    if type_ is not None:
        if type_ not in OWN_TYPES:
            raise bad_request(f"Invalid bucketType: {type_}")
        changes["type"] = type_
    if "bucketInfo" in fields:
        changes["info"] = check_bucket_info(fields.optional_object("bucketInfo") or {})
    if "corsRules" in fields:
        changes["cors_rules"] = check_cors(fields.optional_list("corsRules") or [])
    if "lifecycleRules" in fields:
        changes["lifecycle_rules"] = check_lifecycle(fields.optional_list("lifecycleRules") or [])
    if "defaultServerSideEncryption" in fields:
        call.need("writeBucketEncryption")
        changes["encryption"] = default_encryption(
            fields.optional_object("defaultServerSideEncryption") or {}
        )
    if "replicationConfiguration" in fields:
        call.need("writeBucketReplications")
        changes["replication"] = fields.optional_object("replicationConfiguration")
    return changes

"""API calls about application keys: one function per call."""

from __future__ import annotations

import re
from typing import Final

from b2mount.emulator.call import Call
from b2mount.emulator.errors import bad_request
from b2mount.emulator.keys import CAPABILITIES
from b2mount.emulator.replies import Document, key_document

MAX_SECONDS: Final = 86_400_000
MAX_ROWS: Final = 10_000
NOT_FOR_BUCKETS: Final = frozenset(("listKeys", "writeKeys", "deleteKeys", "writeBuckets", "deleteBuckets"))
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,100}")


def create_key(call: Call) -> Document:
    call.check_account()
    name, capabilities = call.fields.text("keyName"), call.fields.texts("capabilities") or []
    if not _NAME.fullmatch(name):
        raise bad_request(f"Invalid keyName: {name}")
    unknown = set(capabilities) - set(CAPABILITIES)
    if unknown or not capabilities:
        raise bad_request(f"Invalid capabilities: {', '.join(sorted(unknown)) or 'none given'}")
    buckets, prefix = _buckets(call), call.fields.optional_text("namePrefix")
    if prefix is not None and buckets is None:
        raise bad_request("namePrefix needs a bucket")
    if buckets is not None and NOT_FOR_BUCKETS & set(capabilities):
        raise bad_request(
            f"Not for a key bound to buckets: {', '.join(sorted(NOT_FOR_BUCKETS & set(capabilities)))}"
        )
    key = call.service.keys.create(
        name, tuple(capabilities), buckets=buckets, prefix=prefix, expires=_expiry(call)
    )
    return key_document(key, call.service.keys.account_id, api=call.version, with_secret=True)


def list_keys(call: Call) -> Document:
    call.check_account()
    limit = call.fields.count("maxKeyCount", 100, MAX_ROWS)
    found = call.service.keys.all(call.fields.optional_text("startApplicationKeyId") or "", limit + 1)
    return {
        "keys": [key_document(k, call.service.keys.account_id, api=call.version) for k in found[:limit]],
        "nextApplicationKeyId": found[limit].key_id if len(found) > limit else None,
    }


def delete_key(call: Call) -> Document:
    key = call.service.keys.delete(call.fields.text("applicationKeyId"))
    return key_document(key, call.service.keys.account_id, api=call.version)


def _buckets(call: Call) -> tuple[str, ...] | None:
    ids = call.fields.texts("bucketIds")
    single = call.fields.optional_text("bucketId")
    if ids is None and single is not None:
        ids = [single]
    if ids is None:
        return None
    if not ids:
        raise bad_request("bucketIds must not be empty")
    return tuple(call.state.buckets.get(bucket_id).bucket_id for bucket_id in ids)


def _expiry(call: Call) -> int | None:
    seconds = call.fields.optional_integer("validDurationInSeconds")
    if seconds is None:
        return None
    if not 1 <= seconds <= MAX_SECONDS:
        raise bad_request(f"validDurationInSeconds must be between 1 and {MAX_SECONDS}", "out_of_range")
    return call.state.clock.now() + seconds * 1000

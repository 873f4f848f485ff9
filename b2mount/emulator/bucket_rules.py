"""What a bucket's settings must look like. Pure.

Every function returns the settings as they are kept, and raises ApiError 400 for bad ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from b2mount.emulator.errors import bad_request
from b2mount.emulator.settings import RETENTION_MODES, SSE_B2

Rules = tuple[Mapping[str, Any], ...]

LIFECYCLE_DAYS: Final = (
    "daysFromUploadingToHiding",
    "daysFromHidingToDeleting",
    "daysFromStartingToCancelingUnfinishedLargeFiles",
)
CORS_OPERATIONS: Final = frozenset(
    [
        "b2_download_file_by_name",
        "b2_download_file_by_id",
        "b2_upload_file",
        "b2_upload_part",
        "s3_get",
        "s3_head",
        "s3_put",
        "s3_post",
        "s3_delete",
    ]
)
EVENT_TYPES: Final = frozenset(
    f"b2:{category}:{what}"
    for category, whats in {
        "ObjectCreated": ("*", "Upload", "MultipartUpload", "Copy", "Replica", "MultipartReplica"),
        "ObjectDeleted": ("*", "Delete", "LifecycleRule"),
        "HideMarkerCreated": ("*", "Hide", "LifecycleRule"),
        "MultipartUploadCreated": ("*", "LiveRead"),
    }.items()
    for what in whats
)
_MAX_RULES: Final = 100
_MAX_NOTIFICATIONS: Final = 25
_SECRET: Final = re.compile("[A-Za-z0-9]{32}")
"""Of an event notification's webhook."""


def check_bucket_info(info: Mapping[str, Any]) -> Mapping[str, str]:
    if len(info) > 10:
        raise bad_request("bucketInfo must have at most 10 entries")
    if not all(isinstance(value, str) for value in info.values()):
        raise bad_request("bucketInfo values must be strings")
    return dict(info)


def check_lifecycle(rules: Sequence[Any]) -> Rules:
    if len(rules) > _MAX_RULES:
        raise bad_request(f"More than {_MAX_RULES} lifecycle rules")
    checked = tuple(_lifecycle_rule(rule) for rule in rules)
    prefixes = sorted(rule["fileNamePrefix"] for rule in checked)
    for one, other in pairwise(prefixes):
        if other.startswith(one):
            raise bad_request(f"Lifecycle rules overlap: '{one}' and '{other}'")
    return checked


def _lifecycle_rule(rule: Any) -> Mapping[str, Any]:
    if not isinstance(rule, dict) or not isinstance(rule.get("fileNamePrefix"), str):
        raise bad_request("A lifecycle rule needs fileNamePrefix")
    kept: dict[str, Any] = {"fileNamePrefix": rule["fileNamePrefix"]}
    for name in LIFECYCLE_DAYS:
        days = rule.get(name)
        if days is not None and (not isinstance(days, int) or isinstance(days, bool) or days < 1):
            raise bad_request(f"{name} must be positive: {days}")
        if days is not None or name != LIFECYCLE_DAYS[2]:
            kept[name] = days
    if not any(kept.get(name) for name in LIFECYCLE_DAYS):
        raise bad_request("A lifecycle rule must have at least one number of days")
    return kept


def check_cors(rules: Sequence[Any]) -> Rules:
    if len(rules) > _MAX_RULES:
        raise bad_request(f"More than {_MAX_RULES} CORS rules")
    return tuple(_cors_rule(rule) for rule in rules)


def _cors_rule(given: Any) -> Mapping[str, Any]:
    rule = _without_nulls(given)
    if not isinstance(rule.get("corsRuleName"), str):
        raise bad_request("A CORS rule needs corsRuleName")
    origins, operations = _texts(rule, "allowedOrigins"), _texts(rule, "allowedOperations")
    if not origins or not operations:
        raise bad_request("A CORS rule needs allowedOrigins and allowedOperations")
    unknown = set(operations) - CORS_OPERATIONS
    if unknown:
        raise bad_request(f"Unknown CORS operations: {', '.join(sorted(unknown))}")
    _texts(rule, "allowedHeaders")
    _texts(rule, "exposeHeaders")
    age = rule.get("maxAgeSeconds", 0)
    if not _is_integer(age) or not 0 <= age <= 86_400:
        raise bad_request(f"maxAgeSeconds must be between 0 and 86400: {age}")
    return rule


def check_notifications(rules: Sequence[Any]) -> Rules:
    if len(rules) > _MAX_NOTIFICATIONS:
        raise bad_request(f"More than {_MAX_NOTIFICATIONS} event notification rules")
    return tuple(_notification_rule(rule) for rule in rules)


def _notification_rule(given: Any) -> Mapping[str, Any]:
    rule = _without_nulls(given)
    if not rule.get("name") or not isinstance(rule["name"], str):
        raise bad_request("An event notification rule needs a name")
    _check_event_types(_texts(rule, "eventTypes"))
    target = _without_nulls(rule.get("targetConfiguration", {}))
    if target.get("targetType") != "webhook" or not str(target.get("url", "")).startswith("https://"):
        raise bad_request("An event notification rule needs a webhook with an https URL")
    secret = target.get("hmacSha256SigningSecret")
    if secret is not None and not (isinstance(secret, str) and _SECRET.fullmatch(secret)):
        raise bad_request("hmacSha256SigningSecret must be 32 letters and digits")
    most = rule.get("maxEventsPerBatch", 1)
    if not _is_integer(most) or not 1 <= most <= 50:
        raise bad_request("maxEventsPerBatch must be between 1 and 50", "out_of_range")
    return {
        "maxEventsPerBatch": 1,
        "objectNamePrefix": "",
        **rule,
        "isSuspended": False,
        "suspensionReason": "",
    }


def _check_event_types(types: Sequence[str]) -> None:
    if not types:
        raise bad_request("eventTypes must not be empty", "event_types_empty")
    unknown = set(types) - EVENT_TYPES
    if unknown:
        raise bad_request(f"Invalid event types: {', '.join(sorted(unknown))}", "event_type_invalid")
    if len({type_.rpartition(":")[0] for type_ in types}) > 1:
        raise bad_request("Event types must be of one category", "event_type_categories")
    if len(types) > 1 and (len(set(types)) < len(types) or any(type_.endswith("*") for type_ in types)):
        raise bad_request("Event types overlap", "event_type_overlap")


def _without_nulls(rule: Any) -> dict[str, Any]:
    """A JSON object, in which null counts as absent."""
    if not isinstance(rule, dict):
        raise bad_request(f"an object is wanted here: {rule}", "bad_json")
    return {name: value for name, value in rule.items() if value is not None}


def _texts(rule: Mapping[str, Any], name: str) -> Sequence[str]:
    found = rule.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise bad_request(f"field {name} must be a list of strings", "bad_json")
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def default_encryption(document: Mapping[str, Any]) -> str | None:
    mode = document.get("mode")
    if mode in (None, "none"):
        return None
    if mode != SSE_B2 or document.get("algorithm") != "AES256":
        raise bad_request("The default encryption of a bucket must be SSE-B2 with AES256, or none")
    return SSE_B2


def default_retention(document: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None]:
    mode = document.get("mode")
    if mode in (None, "none"):
        return None, None
    period = document.get("period")
    if mode not in RETENTION_MODES or not isinstance(period, dict):
        raise bad_request("A default retention needs a mode and a period")
    duration, unit = period.get("duration"), period.get("unit")
    if not isinstance(duration, int) or duration < 1 or unit not in ("days", "years"):
        raise bad_request("A retention period needs a positive duration, in days or years")
    return mode, {"duration": duration, "unit": unit}

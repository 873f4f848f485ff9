"""b2_authorize_account: the reply that each API version gives."""

from __future__ import annotations

from typing import Any

from b2mount.emulator.call import Service
from b2mount.emulator.errors import ApiError
from b2mount.emulator.keys import ACCOUNT, Key
from b2mount.emulator.replies import Document


def authorize_account(service: Service, key_id: str, secret: str, version: int, base_url: str) -> Document:
    """Raises ApiError 401 for an unknown key, 401 when it is bound to several buckets before v4."""
    key = service.keys.get(key_id)
    if key is None or key.secret != secret:
        raise ApiError(401, "bad_auth_token", "")
    if version < 4 and key.buckets is not None and len(key.buckets) > 1:
        raise ApiError(401, "unsupported", "A key for several buckets needs version 4 of the API")
    reply: Document = {
        "accountId": service.keys.account_id,
        "authorizationToken": service.keys.issue(ACCOUNT, key, ""),
    }
    storage = _storage(service, base_url)
    if version >= 3:
        reply["applicationKeyExpirationTimestamp"] = key.expires
        restriction = {"allowed": _allowed(service, key)} if version >= 4 else _single(service, key)
        reply["apiInfo"] = {
            "storageApi": {**storage, **restriction, "infoType": "storageApi"},
            "groupsApi": {"capabilities": [], "groupsApiUrl": base_url, "infoType": "groupsApi"},
        }
        return reply
    return {
        **reply,
        **storage,
        "minimumPartSize": service.recommended_part,
        "allowed": _single(service, key),
    }


def _storage(service: Service, base_url: str) -> dict[str, Any]:
    return {
        "absoluteMinimumPartSize": service.minimum_part,
        "apiUrl": base_url,
        "downloadUrl": base_url,
        "recommendedPartSize": service.recommended_part,
        "s3ApiUrl": base_url,
    }


def _allowed(service: Service, key: Key) -> Document:
    buckets = None
    if key.buckets is not None:
        buckets = [{"id": bucket_id, "name": _name(service, bucket_id)} for bucket_id in key.buckets]
    return {"buckets": buckets, "capabilities": list(key.capabilities), "namePrefix": key.prefix}


def _single(service: Service, key: Key) -> Document:
    bucket_id = key.buckets[0] if key.buckets else None
    return {
        "bucketId": bucket_id,
        "bucketName": None if bucket_id is None else _name(service, bucket_id),
        "capabilities": list(key.capabilities),
        "namePrefix": key.prefix,
    }


def _name(service: Service, bucket_id: str) -> str | None:
    try:
        return service.state.buckets.get(bucket_id).name
    except ApiError:
        return None

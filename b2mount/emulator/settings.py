"""Encryption, retention and legal hold as clients write them, in JSON and in headers. Pure.

Every function raises ApiError 400 for what B2 would not take.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from b2mount.emulator.errors import access_denied, bad_request
from b2mount.emulator.records import Encryption, Retention

SSE_B2: Final = "SSE-B2"
SSE_C: Final = "SSE-C"
RETENTION_MODES: Final = ("governance", "compliance")
_HEADER: Final = "X-Bz-Server-Side-Encryption"
_CUSTOMER: Final = "X-Bz-Server-Side-Encryption-Customer-"


def encryption_setting(document: Mapping[str, Any] | None) -> Encryption | None:
    """A `serverSideEncryption` field; None for none."""
    if document is None or document.get("mode") in (None, "none"):
        return None
    if document.get("algorithm") != "AES256":
        raise bad_request(f"Invalid encryption algorithm: {document.get('algorithm')}")
    if document["mode"] == SSE_B2:
        return Encryption(SSE_B2)
    if document["mode"] != SSE_C:
        raise bad_request(f"Invalid encryption mode: {document['mode']}")
    return _customer(document.get("customerKey"), document.get("customerKeyMd5"))


def encryption_headers(headers: Mapping[str, str]) -> Encryption | None:
    """The same from the headers of an upload or download."""
    customer = headers.get(_CUSTOMER + "Algorithm")
    if customer is not None:
        if customer != "AES256":
            raise bad_request(f"Invalid encryption algorithm: {customer}")
        return _customer(headers.get(_CUSTOMER + "Key"), headers.get(_CUSTOMER + "Key-Md5"))
    if _HEADER not in headers:
        return None
    if headers[_HEADER] != "AES256":
        raise bad_request(f"Invalid encryption algorithm: {headers[_HEADER]}")
    return Encryption(SSE_B2)


def check_readable(encryption: Encryption | None, given: Encryption | None) -> None:
    """Raises ApiError 400 when SSE-C is needed and not given (or the other way round), 403 for a
    wrong key."""
    needs = encryption is not None and encryption.mode == SSE_C
    has = given is not None and given.mode == SSE_C
    if needs and not has:
        raise bad_request("The object was stored using SSE-C. The correct key must be provided")
    if has and not needs:
        raise bad_request("The object was not stored using SSE-C, yet a customer key was provided")
    if needs and given != encryption:
        raise access_denied("The provided SSE-C key is not the object's")


def retention_setting(document: Mapping[str, Any] | None) -> Retention:
    """A `fileRetention` field."""
    if document is None or document.get("mode") in (None, "none"):
        return Retention()
    return _retention(document["mode"], document.get("retainUntilTimestamp"))


def retention_headers(headers: Mapping[str, str]) -> Retention:
    mode = headers.get("X-Bz-File-Retention-Mode")
    until = headers.get("X-Bz-File-Retention-Retain-Until-Timestamp")
    if mode is None and until is None:
        return Retention()
    if until is not None and not until.isdecimal():
        raise bad_request(f"Invalid retention timestamp: {until}")
    return _retention(mode, None if until is None else int(until))


def legal_hold_setting(value: str | None) -> str | None:
    """A `legalHold` field or header."""
    if value not in (None, "on", "off"):
        raise bad_request(f"Invalid legal hold: {value}")
    return value


def _retention(mode: object, until: object) -> Retention:
    if mode not in RETENTION_MODES or not isinstance(mode, str):
        raise bad_request(f"Invalid retention mode: {mode}")
    if not isinstance(until, int):
        raise bad_request("A retention mode needs retainUntilTimestamp")
    return Retention(mode, until)


def _customer(key: object, digest: object) -> Encryption:
    if not isinstance(key, str) or not isinstance(digest, str):
        raise bad_request("SSE-C needs customerKey and customerKeyMd5")
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise bad_request("The customer key is not base64") from exc
    if len(raw) != 32:
        raise bad_request("The customer key must have 32 bytes")
    found = base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode()
    if found != digest:
        raise bad_request("The customer key does not match its MD5")
    return Encryption(SSE_C, digest)

"""The south border, row by row."""

from __future__ import annotations

import http.client
import inspect
import json
import socket
import ssl

import pytest
import requests
import urllib3.exceptions
from b2sdk._internal import exception as sdk
from b2sdk._internal.exception import interpret_b2_error

from b2mount import errors
from b2mount.store.b2_errors import (
    TABLE,
    is_damaged_upload,
    is_transient,
    needs_new_token,
    needs_new_upload_url,
    translated,
    wait_asked_for,
)

REPLIES: list[tuple[int, str | None, str, type[errors.B2MountError], bool]] = [
    (400, "bad_request", "Sha1 did not match data received", errors.CorruptData, True),
    (400, "bad_request", "Checksum did not match data received", errors.CorruptData, True),
    (400, "bad_request", "File names must not contain DELETE", errors.BadName, False),
    (400, "bad_request", "anything else", errors.StoreFailure, False),
    (400, "bad_json", "unknown field", errors.StoreFailure, False),
    (400, "bad_bucket_id", "Bucket x does not exist", errors.NotFound, False),
    (400, "duplicate_bucket_name", "in use", errors.AlreadyExists, False),
    (400, "no_such_file", "File not present: n", errors.NotFound, False),
    (400, "file_not_present", "File not present: n id", errors.NotFound, False),
    (400, "missing_part", "m", errors.Conflict, False),
    (400, "part_sha1_mismatch", "m", errors.Conflict, False),
    (400, "auth_token_limit", "more than one upload using auth token t", errors.Unavailable, True),
    (400, "source_too_large", "Copy source too big: 5000000001", errors.TooLarge, False),
    (400, "file_lock_conflict", "m", errors.NotPermitted, False),
    (401, "bad_auth_token", "", errors.NotAuthorized, True),
    (401, "expired_auth_token", "", errors.NotAuthorized, True),
    (401, "unauthorized", "m", errors.AccessDenied, False),
    (401, "email_not_verified", "m", errors.AccessDenied, False),
    (401, "no_payment_history", "m", errors.AccessDenied, False),
    (403, "storage_cap_exceeded", "m", errors.OverQuota, False),
    (403, "transaction_cap_exceeded", "m", errors.OverQuota, False),
    (403, "cap_exceeded", "m", errors.OverQuota, False),
    (403, "download_cap_exceeded", "m", errors.OverQuota, False),
    (403, "access_denied", "m", errors.AccessDenied, False),
    (404, "not_found", "m", errors.NotFound, False),
    (404, None, "", errors.NotFound, False),
    (408, "request_timeout", "m", errors.Unavailable, True),
    (409, "conflict", "m", errors.Conflict, False),
    (413, None, "", errors.TooLarge, False),
    (416, "range_not_satisfiable", "m", errors.StoreFailure, False),
    (429, "too_many_requests", "m", errors.Unavailable, True),
    (500, "internal_error", "m", errors.Unavailable, True),
    (503, "service_unavailable", "m", errors.Unavailable, True),
]


@pytest.mark.parametrize(("status", "code", "message", "outcome", "transient"), REPLIES)
def test_replies_of_b2(
    status: int, code: str | None, message: str, outcome: type[errors.B2MountError], transient: bool
) -> None:
    error = interpret_b2_error(status, code, message, {})
    assert type(translated(error)) is outcome
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("invalid_bucket_id", errors.NotFound),
        ("cannot_delete_non_empty_bucket", errors.NotEmpty),
        ("too_many_buckets", errors.OverQuota),
        ("bucket_missing_file_lock", errors.NotSupported),
        ("out_of_range", errors.StoreFailure),
    ],
)
def test_codes_that_b2sdk_does_not_know(code: str, outcome: type[errors.B2MountError]) -> None:
    with pytest.warns(UserWarning, match="unknown `code`"):
        error = interpret_b2_error(400, code, "m", {})
    assert type(translated(error)) is outcome


TRANSIENT: list[Exception] = [
    sdk.B2ConnectionError("x"),
    sdk.B2RequestTimeout("x"),
    sdk.B2RequestTimeoutDuringUpload("x"),
    sdk.ConnectionReset(),
    sdk.BrokenPipe(),
    sdk.UnknownHost(),
    sdk.MaxRetriesExceeded(5, []),
    sdk.TruncatedOutput(1, 2),
    sdk.ChecksumMismatch("sha1", "a", "b"),
    sdk.BadUploadUrl("x"),
    requests.ConnectionError(),
    requests.ReadTimeout(),
    requests.exceptions.ChunkedEncodingError(),
    urllib3.exceptions.ProtocolError("x"),
    urllib3.exceptions.ReadTimeoutError(urllib3.HTTPConnectionPool("h"), "/", "x"),
    http.client.IncompleteRead(b""),
    ConnectionResetError(),
    TimeoutError(),
    socket.gaierror(),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_the_network(error: Exception) -> None:
    assert type(translated(error)) is errors.Unavailable
    assert is_transient(error)
    assert needs_new_upload_url(error)


FINAL: list[tuple[Exception, type[errors.B2MountError]]] = [
    (sdk.ClockSkew(1000), errors.StoreFailure),
    (sdk.RetentionWriteError(), errors.NotPermitted),
    (sdk.SSECKeyError(), errors.AccessDenied),
    (sdk.RestrictedBucket("x"), errors.AccessDenied),
    (sdk.RestrictedBucketMissing(), errors.NotFound),
    (sdk.MaxFileSizeExceeded(2, 1), errors.TooLarge),
    (sdk.UnusableFileName("x"), errors.BadName),
    (sdk.NonExistentBucket("x"), errors.NotFound),
    (UnicodeEncodeError("utf-8", "\udc80", 0, 1, "x"), errors.IllegalCharacters),
    (json.JSONDecodeError("x", "y", 0), errors.StoreFailure),
    (KeyError("apiUrl"), errors.StoreFailure),
    (RecursionError(), errors.StoreFailure),
    (requests.exceptions.InvalidURL(), errors.StoreFailure),
    (requests.TooManyRedirects(), errors.StoreFailure),
    (requests.exceptions.SSLError(ssl.SSLCertVerificationError()), errors.StoreFailure),
    (errors.OverQuota("ours"), errors.OverQuota),
]


@pytest.mark.parametrize(("error", "outcome"), FINAL, ids=lambda value: repr(value)[:40])
def test_what_no_patience_mends(error: Exception, outcome: type[errors.B2MountError]) -> None:
    assert type(translated(error)) is outcome
    assert not is_transient(error)


def test_every_class_of_b2sdk_has_a_translation() -> None:
    classes = [each for each in vars(sdk).values() if inspect.isclass(each) and issubclass(each, sdk.B2Error)]
    assert len(classes) > 60
    for each in classes:
        assert next(row for row in TABLE if issubclass(each, row.cause)) is not TABLE[-1], each


def test_ours_stay_as_they_are() -> None:
    ours = errors.NotFound("x")
    assert translated(ours) is ours


def test_a_wrapped_exception_decides() -> None:
    """b2sdk hides what it does not expect behind UnknownError."""
    for inner, transient in ((requests.exceptions.ChunkedEncodingError(), True), (ValueError("x"), False)):
        error = sdk.UnknownError(repr(inner))
        error.__context__ = inner
        assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), ("0", 0.0), ("-3", None), ("soon", None), (None, None), ("9" * 400, 10**9)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert wait_asked_for(interpret_b2_error(503, "x", "m", headers)) == seconds
    assert wait_asked_for(interpret_b2_error(429, "x", "m", headers)) == seconds


def test_what_an_upload_needs() -> None:
    damaged = interpret_b2_error(400, "bad_request", "Sha1 did not match data received", {})
    assert is_damaged_upload(damaged)
    assert not needs_new_upload_url(damaged)
    assert not needs_new_upload_url(interpret_b2_error(429, "too_many_requests", "m", {}))
    assert needs_new_upload_url(interpret_b2_error(503, "service_unavailable", "m", {}))
    assert needs_new_upload_url(interpret_b2_error(401, "expired_auth_token", "m", {}))
    assert not needs_new_upload_url(interpret_b2_error(403, "storage_cap_exceeded", "m", {}))


def test_what_a_new_token_mends() -> None:
    assert needs_new_token(interpret_b2_error(401, "expired_auth_token", "m", {}))
    assert needs_new_token(interpret_b2_error(401, None, None, {}))
    assert not needs_new_token(interpret_b2_error(401, "unauthorized", "m", {}))

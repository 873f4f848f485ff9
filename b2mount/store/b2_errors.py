"""The south border: b2sdk's exceptions -> ours, by one ordered table.

Invariants: whatever a lane call may raise has a translation (`translated` is total); the first row
that fits decides; no message carries a key, a token or a URL; what is worth trying again is known
here and nowhere else.

Must not know: which verb is running.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from typing import Final

import attrs
import requests
import urllib3.exceptions
from b2sdk._internal import exception as sdk  # the public module lacks half a dozen of them

from b2mount.errors import (
    AccessDenied,
    AlreadyExists,
    B2MountError,
    BadName,
    Conflict,
    CorruptData,
    IllegalCharacters,
    InvalidArgument,
    NotAuthorized,
    NotEmpty,
    NotFound,
    NotPermitted,
    NotSupported,
    OverQuota,
    StoreFailure,
    TooLarge,
    Unavailable,
)

LONGEST_REASON: Final = 200
LONGEST_WAIT: Final = 10**9
"""Seconds; nobody waits that long, and a larger number is too large for a float."""


@attrs.frozen
class Row:
    """What an exception of b2sdk, or of what it stands on, means to us."""

    cause: type[Exception] | tuple[type[Exception], ...]
    outcome: type[B2MountError]
    text: str
    """The message; `{}` takes what the server said."""
    transient: bool = False
    """Whether the same request may succeed a little later."""


TABLE: Final = (
    Row(sdk.InvalidAuthToken, NotAuthorized, "B2 does not accept the application key any more", True),
    Row(sdk.EmailNotVerified, AccessDenied, "the e-mail address of the B2 account is not verified yet"),
    Row(sdk.NoPaymentHistory, AccessDenied, "B2 refuses until the account has a payment history"),
    Row(sdk.Unauthorized, AccessDenied, "the application key is not allowed to do this"),
    Row(sdk.RetentionWriteError, NotPermitted, "a retention setting or legal hold forbids it"),
    Row(sdk.SSECKeyError, AccessDenied, "the encryption key for this object is missing or wrong"),
    Row(sdk.AccessDenied, AccessDenied, "B2 denies access with this application key"),
    Row(sdk.NotAllowedByAppKeyError, AccessDenied, "the application key is not allowed to do this"),
    Row(sdk.RestrictedBucketMissing, NotFound, "the bucket that the application key is bound to is gone"),
    Row(sdk.RestrictedBucket, AccessDenied, "the application key is bound to another bucket"),
    Row(sdk.TransactionCapExceeded, OverQuota, "the account's daily cap on transactions is reached"),
    Row(sdk.CapExceeded, OverQuota, "the account's storage cap is reached"),
    Row(sdk.BucketIdNotFound, NotFound, "no such bucket"),
    Row(sdk.ResourceNotFound, NotFound, "B2 has no such object"),
    Row(sdk.FileAlreadyHidden, NotFound, "the object is hidden"),
    Row(sdk.DuplicateBucketName, AlreadyExists, "the bucket name is taken"),
    Row(sdk.UnusableFileName, BadName, "B2 refuses such a name"),
    Row(UnicodeError, IllegalCharacters, "the name is not valid Unicode"),
    Row((sdk.MaxFileSizeExceeded, sdk.CopySourceTooBig), TooLarge, "too large for one request to B2"),
    Row(sdk.MissingPart, Conflict, "B2 lacks a part of the large file"),
    Row(sdk.PartSha1Mismatch, Conflict, "B2 has another part of the large file than was sent"),
    Row(sdk.Conflict, Conflict, "someone else changed it at the same time"),
    Row(sdk.DisablingFileLockNotSupported, NotPermitted, "Object Lock can't be switched off"),
    Row(sdk.SourceReplicationConflict, NotPermitted, "the bucket's replication forbids it"),
    Row(sdk.EnablingFileLockOnRestrictedBucket, NotPermitted, "Object Lock is not possible on this bucket"),
    Row(sdk.PotentialS3EndpointPassedAsRealm, StoreFailure, "this is B2's S3 endpoint, not its native API"),
    Row(sdk.TooManyRequests, Unavailable, "B2 asks for fewer requests", True),
    Row((sdk.ServiceError, sdk.RequestTimeout), Unavailable, "B2 is too busy", True),
    Row(sdk.B2RequestTimeout, Unavailable, "B2 did not answer in time", True),
    Row(
        (sdk.B2ConnectionError, sdk.ConnectionReset, sdk.BrokenPipe, sdk.UnknownHost),
        Unavailable,
        "B2 can't be reached",
        True,
    ),
    Row((sdk.TruncatedOutput, sdk.ChecksumMismatch), Unavailable, "the connection to B2 broke off", True),
    Row((sdk.UploadTokenUsedConcurrently, sdk.BadUploadUrl), Unavailable, "the upload URL is in use", True),
    Row(sdk.MaxRetriesExceeded, Unavailable, "B2 could not be reached", True),
    Row(sdk.B2Error, StoreFailure, "B2 refused: {}"),
    Row(requests.exceptions.InvalidSchema, StoreFailure, "B2 named an address that is none"),
    Row(requests.Timeout, Unavailable, "B2 did not answer in time", True),
    Row(
        (requests.ConnectionError, requests.exceptions.ChunkedEncodingError),
        Unavailable,
        "the connection to B2 broke off",
        True,
    ),
    Row(requests.RequestException, StoreFailure, "B2 could not be asked"),
    Row(
        (urllib3.exceptions.HTTPError, http.client.HTTPException),
        Unavailable,
        "the connection to B2 broke off",
        True,
    ),
    Row(TimeoutError, Unavailable, "B2 did not answer in time", True),
    Row(OSError, Unavailable, "the connection to B2 broke off", True),
    Row(Exception, StoreFailure, "B2's reply makes no sense"),
)
"""The first row whose `cause` fits. `_bad_request` and `_unknown` come before it."""

BAD_REQUESTS: Final = {
    "bad_bucket_id": Row(sdk.BadRequest, NotFound, "no such bucket"),
    "invalid_bucket_id": Row(sdk.BadRequest, NotFound, "no such bucket"),
    "invalid_bucket_name": Row(sdk.BadRequest, BadName, "B2 refuses such a bucket name"),
    "cannot_delete_non_empty_bucket": Row(sdk.BadRequest, NotEmpty, "the bucket still holds something"),
    "too_many_buckets": Row(sdk.BadRequest, OverQuota, "the account has as many buckets as it may"),
    "source_too_large": Row(sdk.BadRequest, TooLarge, "too large to be copied in one request"),
    "bucket_missing_file_lock": Row(sdk.BadRequest, NotSupported, "the bucket has no Object Lock"),
    "retain_until_timestamp_must_be_in_future": Row(
        sdk.BadRequest, InvalidArgument, "a retention must end in the future"
    ),
    "file_lock_conflict": Row(sdk.BadRequest, NotPermitted, "a retention or legal hold forbids it"),
}
"""By B2's own code, where b2sdk has no class of its own."""

DAMAGED_ON_THE_WAY: Final = Row(sdk.BadRequest, CorruptData, "the bytes reach B2 damaged", True)
NO_SUCH_UPLOAD: Final = Row(sdk.BadRequest, NotFound, "the upload of the large file is gone")
REFUSED_NAME: Final = Row(sdk.BadRequest, BadName, "B2 refuses such a name: {}")
OTHER_REQUEST: Final = Row(sdk.BadRequest, StoreFailure, "B2 refused: {}")
CAP: Final = Row(sdk.UnknownError, OverQuota, "a cap of the B2 account is reached")
DENIED: Final = Row(sdk.UnknownError, AccessDenied, "B2 denies access with this application key")
BODY_TOO_LARGE: Final = Row(sdk.UnknownError, TooLarge, "too large for one request to B2")
STRANGE_REPLY: Final = Row(sdk.UnknownError, StoreFailure, "B2 sent an unexpected reply")
BAD_CERTIFICATE: Final = Row(Exception, StoreFailure, "the server's TLS certificate is not to be trusted")


OUT_OF_REACH: Final = (
    sdk.B2RequestTimeout,
    sdk.B2ConnectionError,
    sdk.UnknownHost,
    requests.Timeout,
    requests.ConnectionError,
    TimeoutError,
)


def is_out_of_reach(error: Exception) -> bool:
    """Whether nobody answered at all, as against an answer that says "later"."""
    return isinstance(error, OUT_OF_REACH)


def translated(error: Exception) -> B2MountError:
    """Our exception for whatever a lane call raised; one of ours comes back as it is."""
    if isinstance(error, B2MountError):
        return error
    row = _row_for(error)
    return row.outcome(row.text.format(_reason(error)) if "{}" in row.text else row.text)


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    return not isinstance(error, B2MountError) and _row_for(error).transient


def needs_new_token(error: Exception) -> bool:
    """Whether the account's token was refused. A HEAD has no body to say so: there the bare 401
    counts."""
    if isinstance(error, sdk.InvalidAuthToken):
        return True
    return isinstance(error, sdk.Unauthorized) and not error.code


def needs_new_upload_url(error: Exception) -> bool:
    """Whether an upload URL must not be used again after this. A refused body or a request to slow
    down are not the URL's fault."""
    if isinstance(error, sdk.TooManyRequests):
        return False
    return isinstance(error, sdk.Unauthorized) or (is_transient(error) and not is_damaged_upload(error))


def is_damaged_upload(error: Exception) -> bool:
    """Whether B2 found another SHA-1 than the sender."""
    return not isinstance(error, B2MountError) and _row_for(error) is DAMAGED_ON_THE_WAY


def is_bucket_gone(error: B2MountError) -> bool:
    """Whether it was B2's word for a bucket id that it does not know."""
    cause = error.__cause__
    code = cause.code if isinstance(cause, sdk.BadRequest) else None
    return isinstance(cause, sdk.BucketIdNotFound) or code in {"bad_bucket_id", "invalid_bucket_id"}


def is_wrong_key(error: B2MountError) -> bool:
    """Whether B2 said that the key which came with the request is not the object's."""
    return isinstance(error.__cause__, sdk.AccessDenied)


def is_too_many(error: Exception) -> bool:
    """Whether B2 said that there are too many requests."""
    return isinstance(error, sdk.TooManyRequests)


def wait_asked_for(error: Exception) -> float | None:
    """The seconds of Retry-After, when B2 sent any; LONGEST_WAIT where it sent more."""
    seconds = getattr(error, "retry_after_seconds", None)
    return float(min(seconds, LONGEST_WAIT)) if isinstance(seconds, int) and seconds >= 0 else None


def _row_for(error: Exception) -> Row:
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in _chain(error)):
        return BAD_CERTIFICATE
    if type(error) is sdk.BadRequest:
        return _bad_request(str(getattr(error, "code", "")), str(getattr(error, "message", "")))
    if type(error) is sdk.UnknownError:
        return _unknown(error)
    return next(row for row in TABLE if isinstance(error, row.cause))


def _bad_request(code: str, message: str) -> Row:
    known = BAD_REQUESTS.get(code)
    if known is not None:
        return known
    if re.search(r"sha-?1 did not match|checksum did not match", message, re.IGNORECASE):
        return DAMAGED_ON_THE_WAY
    if re.search(r"no active upload", message, re.IGNORECASE):
        return NO_SUCH_UPLOAD
    if re.search(r"file ?info", message, re.IGNORECASE):
        return OTHER_REQUEST
    if re.search(r"bucket ?name", message, re.IGNORECASE):
        return BAD_REQUESTS["invalid_bucket_name"]
    if re.search(r"file ?names?\b", message, re.IGNORECASE):
        return REFUSED_NAME
    return OTHER_REQUEST


def _unknown(error: Exception) -> Row:
    """b2sdk wraps two things as UnknownError: a status that it does not know ("403 cap_exceeded
    ...") and any exception that it did not expect, which is then the context."""
    inner = error.__context__
    if isinstance(inner, Exception) and type(inner) is not sdk.UnknownError:
        return _row_for(inner) if isinstance(inner, requests.RequestException | OSError) else STRANGE_REPLY
    status, _, rest = str(error.args[0] if error.args else "").partition(" ")
    if status == "403":
        return CAP if rest.startswith(("cap_exceeded", "download_cap_exceeded")) else DENIED
    return BODY_TOO_LARGE if status == "413" else STRANGE_REPLY


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies beneath it: its causes, its context and, as urllib3 nests them, its
    arguments."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, each.__context__, *each.args, getattr(each, "reason", None)]
            yield each


def _reason(error: Exception) -> str:
    """What the server said, on one line, without anything that looks like a token."""
    text = str(getattr(error, "message", None) or error)
    text = re.sub(r"\b[0-9A-Za-z_+/=-]{30,}", "...", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_REASON]

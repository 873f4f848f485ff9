"""What another process may ask a running mount, and the replies: one JSON object a line.

Invariants: a request is at most MAX_REQUEST bytes; a reply is `{"ok": ...}` or
`{"error": KIND, "message": ...}`, KIND the name of a class of errors.py; no secret is in either,
but for the URL that was asked for. What takes long sends lines `{"progress": ...}` before its reply.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import attrs

from b2mount import errors
from b2mount.errors import B2MountError, InvalidArgument
from b2mount.filesystem.status import (
    BudgetStatus,
    CallCounts,
    MountStatus,
    PendingFile,
    TroubleStatus,
    Unfetched,
    WarmStatus,
)

T = TypeVar("T")

MAX_REQUEST: Final = 64 * 1024
OTHER_VERSION: Final = (
    "the mount is of another version of b2mount: take it away with umount(8), and mount it again"
)


@attrs.frozen
class StatusRequest:
    """What the mount says of itself."""


@attrs.frozen
class FlushRequest:
    """Answered when everything, or what is at `path`, is in B2."""

    path: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(str))
    )


@attrs.frozen
class UrlRequest:
    """The file's URL; with `expires`, one that works without a key for so many seconds."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))
    expires: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(int))
    )


@attrs.frozen
class WarmRequest:
    """Answered when what is at `path` is in the cache, with progress until then. It ends when whoever
    asked goes away."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))


@attrs.frozen
class CopyRequest:
    """Answered when what is at `source` is also at `target`, or in it when that is a directory (which it
    must be with `into`), with progress until then. It ends when whoever asked goes away."""

    source: str = attrs.field(validator=attrs.validators.instance_of(str))
    target: str = attrs.field(validator=attrs.validators.instance_of(str))
    recursive: bool = attrs.field(validator=attrs.validators.instance_of(bool))
    into: bool = attrs.field(validator=attrs.validators.instance_of(bool))


@attrs.frozen
class EvictRequest:
    """Drop what is at `path` from the cache."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))


@attrs.frozen
class RefreshRequest:
    """Answered when everything, or what is at `path`, is asked of B2 again by who looks."""

    path: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(str))
    )


@attrs.frozen
class VersionsRequest:
    """The versions of a file, newest first."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))


@attrs.frozen
class RestoreRequest:
    """Answered when a version of a file is current again: the one with the id, the one of that moment
    (milliseconds since 1970), or the one before."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))
    version_id: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(str))
    )
    moment_ms: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(int))
    )


@attrs.frozen
class UndeleteRequest:
    """Answered, with their number, when the hidden files at and below a path are there again."""

    path: str = attrs.field(validator=attrs.validators.instance_of(str))


@attrs.frozen
class LeaveRequest:
    """Unmount if still mounted, and end without waiting for uploads: they stay staged."""


Request = (
    StatusRequest
    | FlushRequest
    | UrlRequest
    | WarmRequest
    | CopyRequest
    | EvictRequest
    | RefreshRequest
    | VersionsRequest
    | RestoreRequest
    | UndeleteRequest
    | LeaveRequest
)

REQUESTS: Final[dict[str, type[Request]]] = {
    "status": StatusRequest,
    "flush": FlushRequest,
    "url": UrlRequest,
    "warm": WarmRequest,
    "copy": CopyRequest,
    "evict": EvictRequest,
    "refresh": RefreshRequest,
    "versions": VersionsRequest,
    "restore": RestoreRequest,
    "undelete": UndeleteRequest,
    "leave": LeaveRequest,
}


def encode_request(request: Request) -> bytes:
    """The line that asks it."""
    name = next(name for name, kind in REQUESTS.items() if isinstance(request, kind))
    return _line({"request": name, **attrs.asdict(request)})


def decode_request(line: bytes) -> Request:
    """The request on a line. Raises InvalidArgument for anything that is none."""
    try:
        fields = json.loads(line)
        kind = REQUESTS[fields.pop("request")]
        return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArgument("not a request that this version of b2mount knows") from error


def encode_reply(value: object) -> bytes:
    """The line that says it was done, with what came out."""
    return _line({"ok": value})


def encode_progress(value: object) -> bytes:
    """The line that says how far it is."""
    return _line({"progress": value})


def encode_error(error: B2MountError) -> bytes:
    """The line that says why not."""
    return _line({"error": type(error).__name__, "message": str(error)})


def decode_reply(line: bytes) -> Any:
    """What came out. Raises the error that the mount raised."""
    try:
        reply = json.loads(line)
        if "ok" in reply:
            return reply["ok"]
        kind, message = getattr(errors, reply["error"], B2MountError), reply["message"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise B2MountError(
            "the mount gave an answer that makes no sense: is it of another version?"
        ) from error
    known = isinstance(kind, type) and issubclass(kind, B2MountError)
    raise (kind if known else B2MountError)(message)


def decode_progress(line: bytes) -> Any:
    """How far it is; None for a line that is the reply."""
    try:
        return json.loads(line).get("progress")
    except (ValueError, AttributeError, RecursionError):
        return None  # decode_reply says what is wrong with it


def status_to_json(status: MountStatus) -> dict[str, Any]:
    """A status as `b2mount status --json` prints it."""
    return attrs.asdict(status)


def status_from_json(fields: dict[str, Any]) -> MountStatus:
    """The status that status_to_json was given, by this version of b2mount or by one that runs since
    before an upgrade. Raises B2MountError where the two are too far apart."""
    try:
        budget = fields.get("budget")
        return _known_of(
            MountStatus,
            {
                **fields,
                "missing_capabilities": tuple(fields["missing_capabilities"]),
                "pending": tuple(_known_of(PendingFile, pending) for pending in fields["pending"]),
                "today": _known_of(CallCounts, fields["today"]),
                "since_mount": _known_of(CallCounts, fields["since_mount"]),
                "budget": _known_of(BudgetStatus, budget) if budget else None,
                "lately": tuple(_known_of(TroubleStatus, trouble) for trouble in fields.get("lately", ())),
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise B2MountError(OTHER_VERSION) from error


def warm_from_json(fields: dict[str, Any]) -> WarmStatus:
    """The WarmStatus whose fields these are. Raises B2MountError as status_from_json does."""
    try:
        return WarmStatus(**{**fields, "failed": tuple(Unfetched(**one) for one in fields["failed"])})
    except (KeyError, TypeError) as error:
        raise B2MountError(OTHER_VERSION) from error


def _known_of(kind: type[T], fields: dict[str, Any]) -> T:
    """What can be made of these fields; those that this version does not know are left out."""
    known = {field.name for field in attrs.fields(kind)}  # type: ignore[arg-type]  # any attrs class
    return kind(**{name: value for name, value in fields.items() if name in known})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"

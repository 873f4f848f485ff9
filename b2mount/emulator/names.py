"""Which file names, file infos and bucket names B2 takes. Pure.

The limits are the service's: 1024 bytes a name, 250 a segment (as b2sdk still holds), 10 info pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from b2mount.emulator.errors import ApiError, bad_request

MAX_NAME_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 250
MAX_INFO_PAIRS: Final = 10
MAX_HEADER_BYTES: Final = 7000
MAX_HEADER_BYTES_LOCKED: Final = 2048
"""With server-side encryption or file lock."""
RESERVED_INFO: Final = frozenset(
    f"b2-{what}"
    for what in ("content-disposition", "content-language", "expires", "cache-control", "content-encoding")
)
_INFO_NAME: Final = re.compile(r"[A-Za-z0-9\-_.`~!#$%^&*'|+]{1,50}")
_BUCKET_NAME: Final = re.compile(r"[A-Za-z0-9-]{6,63}")


def check_file_name(name: str) -> None:
    """Raises ApiError 400 for a name that B2 does not store."""
    for trouble, message in (
        (not name, "File names must contain at least one character"),
        (_size(name) > MAX_NAME_BYTES, f"File names must be no more than {MAX_NAME_BYTES} bytes"),
        (name.startswith("/"), "File names must not start with '/'"),
        (name.endswith("/"), "File names must not end with '/'"),
        ("//" in name, "File names must not contain '//'"),
        ("\x7f" in name, "File names must not contain DELETE"),
        (
            any(c < " " for c in name),
            "File names must not contain unicode characters with codes less than 32",
        ),
        (
            any(_size(segment) > MAX_SEGMENT_BYTES for segment in name.split("/")),
            f"File names segment must not be more than {MAX_SEGMENT_BYTES} bytes",
        ),
    ):
        if trouble:
            raise bad_request(message)


def check_info(name: str, info: Mapping[str, str], *, locked: bool) -> None:
    """Raises ApiError 400 for file info that B2 does not store next to such a name."""
    if len(info) > MAX_INFO_PAIRS:
        raise bad_request(f"More than {MAX_INFO_PAIRS} file info headers")
    for key, value in info.items():
        if key in RESERVED_INFO:
            check_header_value(value)
        if not _INFO_NAME.fullmatch(key):
            raise bad_request(f"Bad file info name: {key}")
        if key.startswith("b2-") and key not in RESERVED_INFO:
            raise bad_request(f"File info names must not start with 'b2-': {key}")
    limit = MAX_HEADER_BYTES_LOCKED if locked else MAX_HEADER_BYTES
    if _size(name) + sum(_size(key) + _size(value) for key, value in info.items()) > limit:
        raise bad_request(f"File name and file info must not exceed {limit} bytes")


def check_bucket_name(name: str) -> None:
    """Raises ApiError 400 for a name that no bucket can have."""
    if not _BUCKET_NAME.fullmatch(name) or name.lower().startswith("b2-"):
        raise bad_request(
            f"Invalid bucket name: {name} (6 to 63 letters, digits and '-', not starting with 'b2-')"
        )


def check_header_value(value: str) -> None:
    """Raises ApiError 400 for what could not travel as a plain HTTP header of a download."""
    if not value.isprintable():
        raise bad_request(f"Illegal characters in a header value: {value!r}")


def successor(prefix: bytes) -> bytes | None:
    """The least byte string above all that begin with `prefix`; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


def to_bytes(name: str) -> bytes:
    """A name as UTF-8. Raises ApiError 400 for what is not Unicode."""
    try:
        return name.encode()
    except UnicodeEncodeError as exc:
        raise ApiError(400, "bad_request", "File names must be UTF-8") from exc


def _size(text: str) -> int:
    return len(to_bytes(text))

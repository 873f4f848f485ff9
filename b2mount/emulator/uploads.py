"""Uploads of files and parts: their headers, their tokens, their bytes on the way to the disk.

Invariants: an upload token carries one upload at a time. Nothing of an upload is kept unless all of
its bytes came and their SHA-1 is right.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote_plus

import attrs

from b2mount.emulator.call import Call, Fields, Service
from b2mount.emulator.content_types import resolve
from b2mount.emulator.errors import ApiError, bad_request
from b2mount.emulator.keys import PART, UPLOAD, Token
from b2mount.emulator.large_calls import check_locks, check_size, check_timestamp
from b2mount.emulator.records import Attributes, Bucket, Content
from b2mount.emulator.replies import Document, part_document, version_document
from b2mount.emulator.settings import (
    check_readable,
    encryption_headers,
    legal_hold_setting,
    retention_headers,
)

AT_END: Final = "hex_digits_at_end"
NOT_VERIFIED: Final = "do_not_verify"
SHA1_DIGITS: Final = 40
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_INFO: Final = "x-bz-info-"
_NOT_ALLOWED: Final = (
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-Range",
    "Expires",
)


class UploadTokens:
    """Which upload tokens carry an upload just now."""

    def __init__(self) -> None:
        self._busy: set[str] = set()

    @contextlib.contextmanager
    def held(self, token: str) -> Iterator[None]:
        """Raises ApiError 400 auth_token_limit for a second upload on one token."""
        if token in self._busy:
            raise bad_request(f"more than one upload using auth token {token}", "auth_token_limit")
        self._busy.add(token)
        try:
            yield
        finally:
            self._busy.discard(token)


@attrs.frozen
class Target:
    """Where an upload's bytes go when they are all there."""

    service: Service
    token: Token
    version: int
    size: int
    """Bytes of the file or part, a hash at the end not counted."""
    sha1: str
    bucket: Bucket | None = None
    name: str = ""
    attributes: Attributes | None = None
    timestamp: int | None = None
    part: int = 0

    def complete(self, content: Content) -> Document:
        """Raises ApiError 400 when the target has gone meanwhile."""
        state, account_id = self.service.state, self.service.keys.account_id
        if self.bucket is None or self.attributes is None:
            part = state.large_files.put_part(self.token.subject, self.part, content)
            large = state.large_files.get(self.token.subject)
            return part_document(part, large.file_id, large.attributes.encryption)
        bucket = state.buckets.get(self.bucket.bucket_id)
        version = state.files.put(bucket, self.name, content, self.attributes, timestamp=self.timestamp)
        return version_document(version, account_id, self.token.key, api=self.version)


def file_target(service: Service, bucket_id: str, headers: Mapping[str, str], version: int) -> Target:
    """What the headers of b2_upload_file ask for. Raises ApiError 400, 401."""
    token = _token(service, headers, UPLOAD, bucket_id)
    bucket = service.state.buckets.get(bucket_id)
    call = Call(service, token.key, Fields({}), version, "")
    call.need("writeFiles")
    for name in _NOT_ALLOWED:
        if name in headers:
            raise bad_request(f"Header not allowed: {name}")
    name = decoded(_required(headers, "X-Bz-File-Name"))
    call.check_name(name)
    retention = retention_headers(headers)
    hold = legal_hold_setting(headers.get("X-Bz-File-Legal-Hold"))
    check_locks(call, bucket, has_retention=retention.mode is not None, has_hold=hold is not None)
    attributes = Attributes(
        resolve(_required(headers, "Content-Type"), name),
        file_info(headers),
        encryption_headers(headers),
        retention,
        hold,
    )
    service.state.files.check(bucket, name, attributes)
    size, sha1 = _size_and_sha1(headers)
    return Target(service, token, version, size, sha1, bucket, name, attributes, _timestamp(service, headers))


def part_target(service: Service, file_id: str, headers: Mapping[str, str], version: int) -> Target:
    """What the headers of b2_upload_part ask for. Raises ApiError 400, 401."""
    token = _token(service, headers, PART, file_id)
    large = service.state.large_files.get(file_id)
    number = _required(headers, "X-Bz-Part-Number")
    if not number.isdecimal() or not 1 <= int(number) <= 10_000:
        raise bad_request(f"Part number must be between 1 and 10000: {number}")
    given = encryption_headers(headers)
    check_readable(large.attributes.encryption, given)
    size, sha1 = _size_and_sha1(headers)
    if not size:
        raise bad_request("Parts must have at least one byte")
    return Target(service, token, version, size, sha1, name=large.name, part=int(number))


def checked(target: Target, content: Content, trailer: bytes) -> Content:
    """The content with the SHA-1 to keep. Raises ApiError 400 when it is not as was said."""
    expected = target.sha1
    if expected == NOT_VERIFIED:
        return attrs.evolve(content, sha1=f"unverified:{content.sha1}")
    if expected == AT_END:
        expected = trailer.decode("ascii", "replace").lower()
        if not _SHA1.fullmatch(expected):
            raise bad_request("The last 40 bytes of the body are not a hex SHA-1")
    if content.size != target.size or content.sha1 != expected:
        raise bad_request("Sha1 did not match data received")
    return content


def file_info(headers: Mapping[str, str]) -> dict[str, str]:
    """The X-Bz-Info-* headers, names in lower case, values decoded."""
    return {
        name.lower().removeprefix(_INFO): decoded(value)
        for name, value in headers.items()
        if name.lower().startswith(_INFO)
    }


def decoded(text: str) -> str:
    """A percent-encoded header value. Raises ApiError 400 unless it is UTF-8."""
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as exc:
        raise bad_request("Percent-encoded values must be UTF-8") from exc


def _token(service: Service, headers: Mapping[str, str], kind: str, subject: str) -> Token:
    if "Authorization" not in headers:
        raise ApiError(401, "missing_auth_token", "Authorization header is missing")
    token = service.keys.check(headers["Authorization"], kind)
    if token.subject != subject:
        raise ApiError(401, "bad_auth_token", "The token is not for this upload URL")
    return token


def _required(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise bad_request(f"Missing header: {name}")
    return headers[name]


def _size_and_sha1(headers: Mapping[str, str]) -> tuple[int, str]:
    sha1 = _required(headers, "X-Bz-Content-Sha1").lower()
    if sha1 not in (AT_END, NOT_VERIFIED) and not _SHA1.fullmatch(sha1):
        raise bad_request(f"Invalid X-Bz-Content-Sha1: {sha1}")
    length = _required(headers, "Content-Length")
    size = int(length) - (SHA1_DIGITS if sha1 == AT_END else 0)
    if size < 0:
        raise bad_request("The body is too short for a SHA-1 at its end")
    check_size(size)
    return size, sha1


def _timestamp(service: Service, headers: Mapping[str, str]) -> int | None:
    text = headers.get("X-Bz-Custom-Upload-Timestamp")
    if text is None:
        return None
    if not text.isdecimal():
        raise bad_request(f"Invalid X-Bz-Custom-Upload-Timestamp: {text}")
    check_timestamp(int(text), service.state.clock.now())
    return int(text)

"""What a broken or hostile B2 can answer, through the real store client: every verb, every answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio
import trio.testing

from b2mount.errors import B2MountError
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion, Retention, RetentionMode
from b2mount.store.b2_records import LARGEST_NUMBER
from b2mount.store.b2_session import seconds_until
from b2mount.store.b2_store import B2Store
from b2mount.store.interface import MultipartUpload, ObjectPage, VersionCursor, VersionPage
from tests.fakes.memory_store import literal
from tests.fuzz import hostile
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, may_raise, throws
from tests.fuzz.wire import GOOD, ROW, good, reply, store_on

PATH: Final = ObjectPath("bucket", "file")
VERSION: Final = ObjectVersion(PATH, "4_z1", 4, 1000, sha1="0" * 40)
UPLOAD: Final = MultipartUpload("4_z1", PATH, ObjectMetadata())
MOST_REQUESTS: Final = 3000
"""More for one verb is a hang, or will cost somebody a fortune."""
LONGEST: Final = 3600.0
"""Seconds of trio's clock, for a store that tries for 3."""
STATUSES: Final = (200, 400, 401, 403, 404, 405, 408, 409, 413, 416, 429, 500, 503, 204, 206, 301, 100, 599)
CODES: Final = (
    "bad_request",
    "bad_auth_token",
    "expired_auth_token",
    "cap_exceeded",
    "download_cap_exceeded",
    "transaction_cap_exceeded",
    "access_denied",
    "auth_token_limit",
    "source_too_large",
    "file_not_present",
    "already_hidden",
    "no_such_file",
    "bad_bucket_id",
    "duplicate_bucket_name",
    "missing_part",
    "conflict",
    "request_timeout",
    "too_many_requests",
    "range_not_satisfiable",
    "out_of_range",
    "not_found",
    "unauthorized",
    "",
)
MESSAGES: Final = (
    "No active upload for: 4_z1",
    "Sha1 did not match",
    "file names must not be funny",
    "fileInfo is too long",
    "Copy source is too big: 99999999999",
    "Auth token limit: x",
    "{}%s{0}\n\x1b[2J",
    "x" * 5000,
)
DATES: Final = (
    "0",
    "1",
    "-1",
    "999999999",
    "9" * 400,
    "1e5",
    "soon",
    "Fri, 31 Dec 9999 23:59:59 -0000",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0100 00:00:00 -0000",
    "Mon, 01 Jan 1000 00:00:00 +9999999999999",
    "Mon, 01 Jan 99999999999 00:00:00 GMT",
)
HEADERS: Final = (
    "x-bz-file-name",
    "x-bz-file-id",
    "x-bz-upload-timestamp",
    "x-bz-content-sha1",
    "x-bz-info-posix",
    "x-bz-info-%00",
    "content-type",
    "Content-Range",
    "Content-Length",
    "Content-Encoding",
    "Transfer-Encoding",
    "Retry-After",
    "Date",
    "Location",
    "Connection",
    "Set-Cookie",
)
HEAD: Final = {
    "x-bz-file-name": "file",
    "x-bz-file-id": "4_z1",
    "x-bz-upload-timestamp": "1000",
    "x-bz-content-sha1": "none",
    "x-bz-info-posix": "mode=100644",
    "Content-Range": "bytes 0-3/4",
}
Verb = Callable[[B2Store], Awaitable[object]]


async def _read(store: B2Store) -> None:
    got: list[bytes] = []
    await store.read_range(VERSION, ByteRange(0, 4), got.append)
    assert sum(map(len, got)) == 4


VERBS: Final[tuple[Verb, ...]] = (
    lambda s: s.list_objects("bucket", ""),
    lambda s: s.list_objects("bucket", "f", delimiter="/", start="fa"),
    lambda s: s.list_versions("bucket", "", start=VersionCursor("f", "4_z0")),
    lambda s: s.list_buckets(),
    lambda s: s.create_bucket("bucket-2"),
    lambda s: s.delete_bucket("bucket"),
    lambda s: s.stat(PATH),
    _read,
    lambda s: s.put(PATH, literal(b"data"), ObjectMetadata()),
    lambda s: s.copy(VERSION, PATH),
    lambda s: s.start_multipart(PATH, ObjectMetadata()),
    lambda s: s.put_part(UPLOAD, 1, literal(b"12345")),
    lambda s: s.copy_part(UPLOAD, 1, VERSION, ByteRange(0, 4)),
    lambda s: s.finish_multipart(UPLOAD, ["0" * 40]),
    lambda s: s.abort_multipart(UPLOAD),
    lambda s: s.list_parts(UPLOAD),
    lambda s: s.list_unfinished("bucket", ""),
    lambda s: s.hide(PATH),
    lambda s: s.delete_version(VERSION),
    lambda s: s.protection(VERSION),
    lambda s: s.set_retention(VERSION, Retention(RetentionMode.GOVERNANCE, 5)),
    lambda s: s.set_legal_hold(VERSION, on=True),
    lambda s: s.authorize_download("bucket", "", 60),
)


@attrs.define(eq=False)
class HostileB2:
    """Answers as the bytes say; with nothing left to decide by, as B2 would."""

    choices: Choices
    requests: int = 0

    def count(self) -> None:
        """One request more; beyond MOST_REQUESTS each is refused, so that whoever asks comes to an end."""
        self.requests += 1
        if self.requests > MOST_REQUESTS:
            raise ValueError("no end of requests")

    def __call__(self, call: str, _request: bytes) -> bytes:
        self.count()
        kind = self.choices.below(16)
        if kind < 3 or self.choices.is_over:
            return self._plain(call)
        if kind < 9:
            document = hostile.spoiled(self.choices, GOOD.get(call, ROW))
            return reply(
                hostile.as_json(self.choices, document), self.choices.of(STATUSES[:1] * 15 + STATUSES)
            )
        if kind < 12:
            return self._refusal()
        if kind < 15:
            return self._with_headers()
        return self.choices.piece() + self.choices.piece()

    def _plain(self, call: str) -> bytes:
        if call in ("file", "b2_download_file_by_id"):
            return reply(b"data", 206, **HEAD)
        return good(call)

    def _refusal(self) -> bytes:
        status = self.choices.of(STATUSES)
        body = {"status": status, "code": self.choices.of(CODES), "message": self.choices.of(MESSAGES)}
        headers = {"Retry-After": self.choices.of(DATES)} if self.choices.chance(2) else {}
        if self.choices.chance(4):
            headers["Date"] = self.choices.of(DATES)
        return reply(hostile.as_json(self.choices, hostile.spoiled(self.choices, body)), status, **headers)

    def _with_headers(self) -> bytes:
        headers = dict(HEAD)
        for _ in range(self.choices.below(4)):
            value = self.choices.of(DATES) if self.choices.chance(2) else hostile.text(self.choices)
            headers[self.choices.of(HEADERS)] = value.replace("\r", "").replace("\n", "")
        return reply(self.choices.piece(), self.choices.of(STATUSES), **headers)


def answers(data: bytes) -> None:
    """One or two verbs on one store: each returns what makes sense, or raises one of our errors."""
    choices = Choices(data)
    verbs = [choices.of(VERBS) for _ in range(1 + choices.below(2))]
    server = HostileB2(choices)

    async def main() -> None:
        store = store_on(server, retry_for=3)
        try:
            with trio.fail_after(LONGEST):
                for verb in (lambda s: s._client.authorize(), *verbs):
                    server.requests = 0
                    await _tried(verb, store)
                    assert server.requests < MOST_REQUESTS, "no end of requests"
        finally:
            store.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def _tried(verb: Verb, store: B2Store) -> None:
    try:
        found = await verb(store)
    except B2MountError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    else:
        check(found)


def check(found: object) -> None:
    """What came through has the shape that all others rely on."""
    if isinstance(found, ObjectPage | VersionPage):
        versions = found.objects if isinstance(found, ObjectPage) else found.versions
        for version in versions:
            check(version)
        for prefix in found.prefixes:
            prefix.encode()
    elif isinstance(found, ObjectVersion):
        assert found.path.key
        json.dumps([found.path.key, found.version_id]).encode()
        found.path.key.encode()
        found.version_id.encode()
        assert 0 <= found.size <= LARGEST_NUMBER
        assert 0 <= found.uploaded_ms <= LARGEST_NUMBER
        assert found.sha1 is None or (len(found.sha1) == 40 and int(found.sha1, 16) >= 0)
        assert all(isinstance(part, str) for pair in found.info.items() for part in pair)


def retry_after(data: bytes) -> None:
    """A date of a header, against another."""
    until, _, now = data.decode("latin-1").partition("\0")
    seconds = may_raise(lambda: seconds_until(until, now or None))
    assert isinstance(seconds, int)
    assert seconds >= -1


TARGETS: Final = (
    Target("answers", answers, throws("answers", 20)),
    Target(
        "retry-after",
        retry_after,
        tuple(f"{one}\0{other}".encode() for one in DATES for other in ("", DATES[8])),
        ("GMT", "-0000", "9999", "+9959"),
        200,
    ),
)

"""B2Store against a server that says anything: StoreFailure or a row left out, never a crash or a hang."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio

from b2mount.errors import (
    AccessDenied,
    B2MountError,
    BadName,
    Conflict,
    CorruptData,
    NotFound,
    NotPermitted,
    StoreFailure,
    TooLarge,
    Unavailable,
)
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.b2_session import Timeouts
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.interface import MultipartUpload, VersionCursor
from tests.fakes.memory_store import literal
from tests.store.scripted_server import Reply, Request, ScriptedServer, reply

PATH = ObjectPath("bucket", "file")
DATA = bytes(i * 7 % 251 for i in range(600_000))
VERSION = ObjectVersion(PATH, "4_z1", len(DATA), 1000, sha1=hashlib.sha1(DATA).hexdigest())
SHORT = Timeouts(connect=5, reply=0.3, upload_reply=0.3, copy=0.3)


@attrs.frozen
class Site:
    server: ScriptedServer
    store: B2Store


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def site(server: ScriptedServer) -> AsyncIterator[Site]:
    store = await open_b2_store(server.credentials)
    yield Site(server, store)
    store.close()


@pytest.fixture
async def hasty(server: ScriptedServer) -> AsyncIterator[Site]:
    """A store that waits for a third of a second only, and may well ask twice."""
    store = await open_b2_store(server.credentials, timeouts=SHORT)
    yield Site(server, store)
    store.close()


ROW = {
    "action": "upload",
    "fileId": "4_z1",
    "fileName": "file",
    "contentLength": 4,
    "contentSha1": "0" * 40,
    "contentType": "text/plain",
    "fileInfo": {"Key": "Value"},
    "uploadTimestamp": 1000,
}


# -- rows of listings ----------------------------------------------------------------------

BAD_ROWS: list[object] = [
    None,
    7,
    "row",
    [],
    {},
    {**ROW, "fileName": None},
    {**ROW, "fileName": ""},
    {**ROW, "fileName": ["file"]},
    {**ROW, "fileName": "\ud800"},
    {**ROW, "fileName": "elsewhere"},
    {**ROW, "fileId": None},
    {**ROW, "fileId": 12},
    {**ROW, "contentLength": -1},
    {**ROW, "contentLength": "4"},
    {**ROW, "contentLength": 4.5},
    {**ROW, "contentLength": True},
    {**ROW, "contentLength": 2**80},
    {**ROW, "uploadTimestamp": None},
    {**ROW, "action": "explode"},
    {**ROW, "action": {}},
]


@pytest.mark.parametrize("row", BAD_ROWS, ids=repr)
async def test_a_bad_row_is_left_out(site: Site, row: object) -> None:
    page = {"files": [row, {**ROW, "fileName": "file2"}], "nextFileName": None, "nextFileId": None}
    site.server.script["b2_list_file_names"] = lambda _: reply(page)
    site.server.script["b2_list_file_versions"] = lambda _: reply(page)
    found = (await site.store.list_objects("bucket", "f")).objects
    assert [each.path.key for each in found] == ["file2"]
    assert (await site.store.list_versions("bucket", "f")).versions == found


@pytest.mark.parametrize(
    "change",
    [
        {"contentSha1": 7},
        {"contentSha1": "none"},
        {"contentSha1": "unverified:" + "0" * 40},
        {"contentType": None},
        {"contentType": 5},
        {"fileInfo": None},
        {"fileInfo": [1]},
        {"fileInfo": {"k": 1}},
        {"fileInfo": {"k": "\ud800", "\udfff": "v"}},
    ],
    ids=repr,
)
async def test_small_nonsense_is_passed_over(site: Site, change: dict[str, object]) -> None:
    site.server.script["b2_list_file_names"] = lambda _: reply({"files": [{**ROW, **change}]})
    (found,) = (await site.store.list_objects("bucket", "")).objects
    assert (found.path, found.size, found.version_id) == (PATH, 4, "4_z1")
    if "contentSha1" in change:
        assert found.sha1 is None
    if "fileInfo" in change:
        assert found.info == {}


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"files": [' + b"9" * 10_000 + b"]}",
        [],
        None,
        {},
        {"files": None},
        {"files": {"a": 1}},
        {"files": [], "nextFileName": "a"},
        {"files": [], "nextFileName": "m"},
    ],
    ids=lambda page: repr(page)[:30],
)
async def test_a_bad_page(site: Site, page: object) -> None:
    site.server.script["b2_list_file_names"] = lambda _: reply(page)
    site.server.script["b2_list_file_versions"] = lambda _: reply(page)
    with pytest.raises(StoreFailure):
        await site.store.list_objects("bucket", "", start="m")
    with pytest.raises(StoreFailure):
        await site.store.list_versions("bucket", "", start=VersionCursor("m", None))


async def test_lists_that_never_end(site: Site) -> None:
    part = {"partNumber": 1, "contentLength": 5, "contentSha1": "0" * 40}
    site.server.script["b2_list_parts"] = lambda _: reply({"parts": [part], "nextPartNumber": 1})
    site.server.script["b2_list_unfinished_large_files"] = lambda _: reply(
        {"files": [{**ROW, "action": "start"}], "nextFileId": "4_z1"}
    )
    with pytest.raises(StoreFailure):
        await site.store.list_parts(MultipartUpload("4_z1", PATH, ObjectMetadata()))
    assert len(await site.store.list_unfinished("bucket", "")) == 2


# -- replies about one thing ---------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-bz-file-name": "other"},
        {"x-bz-file-name": "file", "x-bz-file-id": "4_z1"},
        {"x-bz-file-name": "file", "x-bz-file-id": "4_z1", "x-bz-upload-timestamp": "-5"},
        {"x-bz-file-name": "file", "x-bz-file-id": "4_z1", "x-bz-upload-timestamp": "9" * 40},
        {"x-bz-file-name": "file", "x-bz-upload-timestamp": "5"},
    ],
    ids=repr,
)
async def test_bad_headers(site: Site, headers: dict[str, str]) -> None:
    site.server.script["file"] = lambda _: reply(b"", headers=headers)
    with pytest.raises(StoreFailure):
        await site.store.stat(PATH)


@pytest.mark.parametrize(
    "change",
    [{"fileName": "other"}, {"contentLength": 5}, {"contentSha1": "1" * 40}, {"fileId": None}],
    ids=repr,
)
async def test_an_upload_that_became_something_else(site: Site, change: dict[str, object]) -> None:
    good = {**ROW, "contentSha1": hashlib.sha1(b"data").hexdigest()}
    site.server.script["b2_upload_file"] = lambda _: reply(good)
    assert (await site.store.put(PATH, literal(b"data"), ObjectMetadata())).size == 4
    site.server.script["b2_upload_file"] = lambda _: reply({**good, **change})
    with pytest.raises(StoreFailure):
        await site.store.put(PATH, literal(b"data"), ObjectMetadata())


@pytest.mark.parametrize("address", [{}, {"uploadUrl": 7, "authorizationToken": "t"}, [], "x"], ids=repr)
async def test_a_bad_upload_url(site: Site, address: object) -> None:
    site.server.script["b2_get_upload_url"] = lambda _: reply(address)
    with pytest.raises(StoreFailure):
        await site.store.put(PATH, literal(b"data"), ObjectMetadata())


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/x", "http://", "http://[::1", "\x00"])
async def test_an_upload_url_that_is_none(site: Site, url: str) -> None:
    site.server.script["b2_get_upload_url"] = lambda _: reply({"uploadUrl": url, "authorizationToken": "t"})
    with pytest.raises(StoreFailure):
        await site.store.put(PATH, literal(b"data"), ObjectMetadata())


BAD_AUTHORIZATIONS: list[dict[str, object]] = [
    {"apiUrl": None},
    {"apiUrl": 5},
    {"downloadUrl": ""},
    {"absoluteMinimumPartSize": 0},
    {"absoluteMinimumPartSize": "5000000"},
    {"recommendedPartSize": -1},
    {"allowed": {}},
    {"allowed": {"buckets": [{}], "capabilities": []}},
    {"allowed": {"buckets": 5, "capabilities": []}},
    {"allowed": {"buckets": None, "capabilities": [None]}},
]


@pytest.mark.parametrize("change", BAD_AUTHORIZATIONS, ids=repr)
async def test_a_bad_authorization(server: ScriptedServer, change: dict[str, object]) -> None:
    server.script["b2_authorize_account"] = lambda _: reply(server.authorization(**change))
    with pytest.raises(StoreFailure):
        await open_b2_store(server.credentials)


# -- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b"<html>nonsense</html>", StoreFailure),
        (400, b"[" * 10_000, StoreFailure),
        (400, [], StoreFailure),
        (400, {"status": "many", "code": 5, "message": {}}, StoreFailure),
        (400, {"code": "auth_token_limit", "message": "unexpected text"}, StoreFailure),
        (400, {"code": "source_too_large", "message": "unexpected text"}, StoreFailure),
        (400, {"code": "bad_request", "message": "File names must not be funny"}, BadName),
        (400, {"code": "bad_request", "message": "File info must not be long"}, StoreFailure),
        (400, {"code": "bad_request", "message": "No active upload for: 4_z1"}, NotFound),
        (400, {"code": "missing_part", "message": "m"}, Conflict),
        (401, {"code": "unauthorized", "message": "no"}, AccessDenied),
        (403, {"code": "access_denied", "message": "no"}, AccessDenied),
        (403, {"code": "something_new", "message": "no"}, AccessDenied),
        (404, b"", NotFound),
        (409, {"code": "conflict"}, Conflict),
        (413, b"", TooLarge),
        (301, b"", StoreFailure),
        (204, b"", StoreFailure),
        (418, b"teapot", StoreFailure),
        (599, b"", Unavailable),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_an_error_of_any_shape(
    site: Site,
    autojump_clock: trio.testing.MockClock,
    status: int,
    body: object,
    outcome: type[B2MountError],
) -> None:
    headers = {"Location": "/elsewhere"} if status == 301 else {}
    site.server.script["b2_list_file_names"] = lambda _: reply(body, status=status, headers=headers)
    with pytest.raises(outcome) as caught:
        await site.store.list_objects("bucket", "")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


async def test_no_token_is_in_a_message(site: Site) -> None:
    message = "bad token 4_0028bc628f87f040000000001_01a1b2c3_d4e5f6_upld_AbCdEfGhIjKlMnOpQrStUvWxYz"
    site.server.script["b2_list_file_names"] = lambda _: reply({"message": message}, status=400)
    with pytest.raises(StoreFailure) as caught:
        await site.store.list_objects("bucket", "")
    assert "AbCdEf" not in str(caught.value)


async def test_a_protected_version(site: Site) -> None:
    denied = {"code": "access_denied", "message": "Access Denied"}
    site.server.script["b2_delete_file_version"] = lambda _: reply(denied, status=401)
    with pytest.raises(NotPermitted):
        await site.store.delete_version(VERSION)


async def test_a_head_without_a_reason(site: Site) -> None:
    """401 without a body may mean an old token: one authorization, then it is believed."""
    site.server.script["file"] = lambda _: reply(b"", status=401)
    before = site.server.count("b2_authorize_account")
    with pytest.raises(AccessDenied):
        await site.store.stat(PATH)
    assert site.server.count("b2_authorize_account") == before + 1


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{"


@pytest.mark.parametrize(
    "answer",
    [
        Reply(b"", "close"),
        Reply(b"", "silent"),
        Reply(b"\x00\x01\x02\r\n\r\n", "close"),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", "close"),
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "silent"),
        Reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"),
        Reply(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}", "close"),
        Reply(ENDLESS, "close"),
        Reply(ENDLESS, "silent"),
        Reply(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000000\r\n\r\n" + bytes(100_000), "silent"),
    ],
    ids=lambda answer: f"{answer.data[:50]!r} {answer.tail}",
)
async def test_broken_http(hasty: Site, autojump_clock: trio.testing.MockClock, answer: Reply) -> None:
    answers = iter([answer, answer])
    hasty.server.script["b2_list_file_names"] = lambda _: next(answers, reply({"files": [ROW]}))
    try:
        assert len((await hasty.store.list_objects("bucket", "")).objects) == 1
    except StoreFailure:
        assert hasty.server.count("b2_list_file_names") == 1


# -- downloads -----------------------------------------------------------------------------


def ranged(request: Request) -> tuple[int, int]:
    first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


async def read(site: Site, span: ByteRange) -> bytes:
    pieces: list[bytes] = []
    await site.store.read_range(VERSION, span, pieces.append)
    return b"".join(pieces)


async def test_a_download_goes_on_from_the_byte_it_had(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    asked: list[tuple[int, int]] = []

    def answer(request: Request) -> Reply:
        start, stop = ranged(request)
        asked.append((start, stop))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
        return reply(
            DATA[start : min(stop, start + 20_000)], status=206, headers=headers, length=stop - start
        )

    site.server.script["b2_download_file_by_id"] = answer
    assert await read(site, ByteRange(0, len(DATA))) == DATA
    assert asked == [(start, len(DATA)) for start in range(0, len(DATA), 20_000)]


async def test_the_first_bytes_are_delivered_while_the_others_are_on_their_way(site: Site) -> None:
    came = threading.Event()
    whole = reply(DATA, status=206, headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}).data
    begun = len(whole) - len(DATA) + 5000

    def rest() -> bytes:
        assert came.wait(20)
        return whole[begun:]

    site.server.script["b2_download_file_by_id"] = lambda _: Reply(whole[:begun], rest=rest)
    pieces: list[bytes] = []

    def deliver(piece: bytes) -> None:
        pieces.append(piece)
        came.set()

    await site.store.read_range(VERSION, ByteRange(0, len(DATA)), deliver)
    assert len(pieces[0]) <= 5000
    assert b"".join(pieces) == DATA


async def test_a_server_that_ignores_the_range(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.server.script["b2_download_file_by_id"] = lambda _: reply(DATA)
    assert await read(site, ByteRange(0, 1000)) == DATA[:1000]
    with pytest.raises(StoreFailure):
        await read(site, ByteRange(1, 1000))


@pytest.mark.parametrize("said", ["bytes 0-9/600000", "bytes 5-2000/600000", "bytes */5", "nonsense", ""])
async def test_a_server_that_sends_other_bytes(site: Site, said: str) -> None:
    site.server.script["b2_download_file_by_id"] = lambda _: reply(
        DATA[:10], status=206, headers={"Content-Range": said}
    )
    with pytest.raises(StoreFailure):
        await read(site, ByteRange(5, 15))


async def test_a_body_that_is_shorter_than_asked(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.server.script["b2_download_file_by_id"] = lambda _: reply(
        b"", status=206, headers={"Content-Range": "bytes 5-14/600000"}
    )
    with pytest.raises(Unavailable):
        await read(site, ByteRange(5, 15))


async def test_a_download_that_falls_silent(hasty: Site, autojump_clock: trio.testing.MockClock) -> None:
    def answer(request: Request) -> Reply:
        start, stop = ranged(request)
        head = f"HTTP/1.1 206 OK\r\nContent-Length: {stop - start}\r\n"
        head += f"Content-Range: bytes {start}-{stop - 1}/{len(DATA)}\r\n\r\n"
        return Reply(head.encode() + DATA[start : min(stop, start + 300_000)], "silent")

    hasty.server.script["b2_download_file_by_id"] = answer
    assert await read(hasty, ByteRange(0, len(DATA))) == DATA
    assert hasty.server.count("b2_download_file_by_id") >= 2


async def test_wrong_bytes_of_a_whole_object_are_told(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    wrong = bytearray(DATA)
    wrong[500_000] ^= 1
    site.server.script["b2_download_file_by_id"] = lambda _: reply(bytes(wrong))
    with pytest.raises(CorruptData):
        await read(site, ByteRange(0, len(DATA)))
    assert await read(site, ByteRange(0, len(DATA) - 1)) == bytes(wrong[:-1])
    site.server.script["b2_download_file_by_id"] = lambda _: reply(DATA)
    assert await read(site, ByteRange(0, len(DATA))) == DATA


async def test_the_sha1_is_of_all_bytes_when_the_connection_broke(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    wrong = bytearray(DATA)
    wrong[10] ^= 1

    def answer(request: Request) -> Reply:
        start, stop = ranged(request)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
        body = bytes(wrong[:300_000]) if start == 0 else DATA[start:stop]
        return reply(body, status=206, headers=headers, length=stop - start)

    site.server.script["b2_download_file_by_id"] = answer
    with pytest.raises(CorruptData):
        await read(site, ByteRange(0, len(DATA)))
    assert site.server.count("b2_download_file_by_id") == 2


async def test_odd_version_ids_stay_in_the_query(site: Site) -> None:
    site.server.script["b2_download_file_by_id"] = lambda _: reply(b"", status=404)
    with pytest.raises(NotFound):
        await site.store.read_range(
            attrs.evolve(VERSION, version_id="a&b#c?d/e%41\n"), ByteRange(0, 5), lambda _: None
        )

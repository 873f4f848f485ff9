"""Uploads, downloads and single-file calls over HTTP, header by header."""

from __future__ import annotations

import base64
import hashlib
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from b2mount.emulator.server import EmulatorServer
from tests.emulator.conftest import Client, sha1

DATA = b"0123456789"
SSE_C = "X-Bz-Server-Side-Encryption-Customer-"


@pytest.fixture
def bucket_id(client: Client) -> str:
    return str(client.create_bucket()["bucketId"])


def test_upload_and_its_file_object(client: Client, bucket_id: str) -> None:
    headers = {
        "X-Bz-Info-SRC_last_modified_millis": "1234567890123",
        "X-Bz-Info-color": "r%C3%A9d+and%2Bblue",
        "X-Bz-Info-b2-cache-control": "no-transform",
    }
    before = int(time.time() * 1000)
    file = client.put(bucket_id, "dir/a+b é%.txt", DATA, **headers)
    assert before - 1 <= file["uploadTimestamp"] <= int(time.time() * 1000)
    assert file == {
        "accountId": client.account_id,
        "action": "upload",
        "bucketId": bucket_id,
        "contentLength": 10,
        "contentMd5": "781e5e245d69b566979b86e28d23f2c7",
        "contentSha1": sha1(DATA),
        "contentType": "text/plain",
        "fileId": file["fileId"],
        "fileInfo": {
            "src_last_modified_millis": "1234567890123",
            "color": "réd and+blue",
            "b2-cache-control": "no-transform",
        },
        "fileName": "dir/a+b é%.txt",
        "fileRetention": {
            "isClientAuthorizedToRead": True,
            "value": {"mode": None, "retainUntilTimestamp": None},
        },
        "legalHold": {"isClientAuthorizedToRead": True, "value": None},
        "serverSideEncryption": {"mode": None, "algorithm": None},
        "uploadTimestamp": file["uploadTimestamp"],
    }
    assert client.ok("b2_get_file_info", fileId=file["fileId"]) == file
    assert client.ok("b2_list_file_names", bucketId=bucket_id)["files"] == [file]
    reply = client.get("/file/some-bucket/dir/a%2Bb+%C3%A9%25.txt")
    assert (reply.status, reply.body) == (200, DATA)
    expected = {
        "Content-Length": "10",
        "Content-Type": "text/plain",
        "Accept-Ranges": "bytes",
        "x-bz-file-id": file["fileId"],
        "x-bz-file-name": "dir/a%2Bb%20%C3%A9%25.txt",
        "x-bz-content-sha1": sha1(DATA),
        "X-Bz-Upload-Timestamp": str(file["uploadTimestamp"]),
        "X-Bz-Info-src_last_modified_millis": "1234567890123",
        "X-Bz-Info-color": "r%C3%A9d%20and%2Bblue",
        "Cache-Control": "no-transform",
    }
    assert {name: reply.headers[name] for name in expected} == expected
    assert reply.headers["X-Bz-Info-b2-cache-control"] is None
    head = client.get("/file/some-bucket/dir/a%2Bb%20%C3%A9%25.txt", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {name: head.headers[name] for name in expected} == expected


@pytest.mark.parametrize("path", ["/file/some-bucket/n", "/b2api/v2/b2_list_buckets", "/nowhere"])
def test_every_reply_has_a_date_and_a_length(client: Client, bucket_id: str, path: str) -> None:
    client.put(bucket_id, "n")
    for method in ("GET", "HEAD"):
        reply = client.get(path, method=method)
        assert abs(parsedate_to_datetime(reply.headers["Date"]).timestamp() - time.time()) < 100
        assert reply.headers["Content-Length"] is not None


@pytest.mark.parametrize(
    ("sha1_header", "body", "kept"),
    [
        (sha1(DATA), DATA, sha1(DATA)),
        (sha1(DATA).upper(), DATA, sha1(DATA)),
        ("hex_digits_at_end", DATA + sha1(DATA).encode(), sha1(DATA)),
        ("do_not_verify", DATA, f"unverified:{sha1(DATA)}"),
        (sha1(b""), DATA, None),
        ("hex_digits_at_end", DATA + sha1(b"").encode(), None),
        ("hex_digits_at_end", DATA, None),
        ("hex_digits_at_end", DATA * 5, None),
        ("nonsense", DATA, None),
    ],
)
def test_the_sha1_in_all_its_forms(
    client: Client, bucket_id: str, sha1_header: str, body: bytes, kept: str | None
) -> None:
    reply = client.upload(bucket_id, "n", DATA, {"X-Bz-Content-Sha1": sha1_header}, body)
    if kept is None:
        assert reply.error == (400, "bad_request")
        assert client.names(bucket_id) == []
        assert list(client.server.state.blobs.names()) == []
    else:
        assert (reply.json["contentSha1"], reply.json["contentLength"]) == (kept, 10)
        assert client.get("/file/some-bucket/n").headers["x-bz-content-sha1"] == kept


def test_the_message_of_a_wrong_sha1(client: Client, bucket_id: str) -> None:
    reply = client.upload(bucket_id, "n", DATA, {"X-Bz-Content-Sha1": sha1(b"")})
    assert reply.json["message"] == "Sha1 did not match data received"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Content-Disposition", "inline"),
        ("Expires", "0"),
        ("X-Bz-Info-b2-expires", "x%0D%0AInjected: 1"),
        ("X-Bz-File-Name", ""),
        ("X-Bz-File-Name", "/n"),
        ("X-Bz-File-Name", "%FF"),
        ("X-Bz-Info-b2-other", "x"),
        ("X-Bz-Custom-Upload-Timestamp", "9999999999999"),
        ("X-Bz-File-Legal-Hold", "on"),
        ("X-Bz-Server-Side-Encryption", "ROT13"),
    ],
)
def test_upload_headers_that_are_refused(client: Client, bucket_id: str, header: str, value: str) -> None:
    reply = client.upload(bucket_id, "n", DATA, {header: value})
    assert reply.status == 400
    assert client.names(bucket_id) == []


def test_a_custom_timestamp(client: Client, bucket_id: str) -> None:
    file = client.put(bucket_id, "n", DATA, **{"X-Bz-Custom-Upload-Timestamp": "1600000000000"})
    assert file["uploadTimestamp"] == 1_600_000_000_000


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("bytes=5-8", 206, b"5678", "bytes 5-8/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, DATA, "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-9", 206, DATA, "bytes 0-9/10"),
        ("bytes=8-7", 200, DATA, None),
        ("bytes=a-b", 200, DATA, None),
        ("lines=1-2", 200, DATA, None),
        ("bytes=1-2,4-5", 200, DATA, None),
        ("bytes=10-", 416, None, None),
        ("bytes=99-100", 416, None, None),
    ],
)
def test_ranges(
    client: Client, bucket_id: str, header: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    client.put(bucket_id, "n", DATA)
    reply = client.get("/file/some-bucket/n", Range=header)
    assert reply.status == status
    if body is None:
        assert reply.error == (416, "range_not_satisfiable")
        return
    assert (reply.body, reply.headers["Content-Range"]) == (body, content_range)
    assert reply.headers["x-bz-content-sha1"] == sha1(DATA)


def test_an_empty_file(client: Client, bucket_id: str) -> None:
    file = client.put(bucket_id, "n", b"")
    assert (file["contentLength"], file["contentSha1"]) == (0, sha1(b""))
    assert client.get("/file/some-bucket/n").body == b""
    assert client.get("/file/some-bucket/n", Range="bytes=0-").status == 416


def test_by_id_any_version_but_no_marker(client: Client, bucket_id: str) -> None:
    file = client.put(bucket_id, "n", DATA)
    marker = client.ok("b2_hide_file", bucketId=bucket_id, fileName="n")
    assert (marker["action"], marker["contentType"]) == ("hide", "application/x-bz-hide-marker")
    assert "fileRetention" not in marker
    by_id = "/b2api/v1/b2_download_file_by_id?fileId="
    assert client.get(by_id + file["fileId"]).body == DATA
    assert client.get(by_id + file["fileId"], method="HEAD").headers["Content-Length"] == "10"
    assert client.call("b2_download_file_by_id", fileId=file["fileId"]).body == DATA
    reply = client.call("b2_download_file_by_id", fileId=file["fileId"], b2ContentDisposition="attachment")
    assert (reply.body, reply.headers["Content-Disposition"]) == (DATA, "attachment")
    assert client.get(by_id + marker["fileId"]).error == (404, "not_found")
    assert client.get(by_id + "nonsense").status == 400
    assert client.get("/file/some-bucket/n").error == (404, "not_found")
    assert client.get("/file/no-such-bucket/n").error == (404, "not_found")
    head = client.get("/file/some-bucket/n", method="HEAD")
    assert (head.status, head.body) == (404, b"")


def test_query_overrides_and_download_authorizations(client: Client, bucket_id: str) -> None:
    client.put(bucket_id, "shared/n", DATA)
    client.put(bucket_id, "secret", DATA)
    assert client.get("/file/some-bucket/shared/n?b2ContentType=a/b").headers["Content-Type"] == "a/b"
    fields = {"bucketId": bucket_id, "fileNamePrefix": "shared/", "validDurationInSeconds": 60}
    given = client.ok("b2_get_download_authorization", **fields, b2ContentDisposition="inline")
    assert {k: given[k] for k in ("bucketId", "fileNamePrefix")} == {
        "bucketId": bucket_id,
        "fileNamePrefix": "shared/",
    }
    token = given["authorizationToken"]
    query = f"?Authorization={token}&b2ContentDisposition=inline"
    reply = client.send("GET", "/file/some-bucket/shared/n" + query)
    assert (reply.status, reply.headers["Content-Disposition"]) == (200, "inline")
    assert client.send("GET", f"/file/some-bucket/shared/n?Authorization={token}").status == 401
    assert client.send("GET", "/file/some-bucket/secret" + query).error == (401, "unauthorized")
    for seconds in (0, 604_801):
        fields["validDurationInSeconds"] = seconds
        assert client.call("b2_get_download_authorization", **fields).error == (400, "out_of_range")
    assert client.send("GET", "/file/some-bucket/secret").error == (401, "missing_auth_token")


def test_public_buckets_need_no_token(client: Client) -> None:
    bucket = client.create_bucket("open-bucket", "allPublic", bucketInfo={"Cache-Control": "max-age=7"})
    client.put(bucket["bucketId"], "n", DATA)
    reply = client.send("GET", "/file/open-bucket/n")
    assert (reply.body, reply.headers["Cache-Control"]) == (DATA, "max-age=7")
    assert client.send("GET", "/file/open-bucket/n?b2ContentType=a/b").status == 401


def test_copies(client: Client, bucket_id: str) -> None:
    source = client.put(bucket_id, "n", DATA, **{"X-Bz-Info-a": "1"})
    copy = client.ok("b2_copy_file", sourceFileId=source["fileId"], fileName="copy")
    assert (copy["action"], copy["fileInfo"], copy["contentSha1"]) == ("copy", {"a": "1"}, sha1(DATA))
    assert client.versions(bucket_id) == [("copy", "upload"), ("n", "upload")]
    piece = client.ok(
        "b2_copy_file",
        sourceFileId=source["fileId"],
        fileName="piece",
        range="bytes=2-4",
        metadataDirective="REPLACE",
        contentType="a/b",
    )
    assert (piece["contentSha1"], piece["contentType"], piece["fileInfo"]) == (sha1(b"234"), "a/b", {})
    assert client.get("/file/some-bucket/piece").body == b"234"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"contentType": "a/b"}, "bad_request"),
        ({"fileInfo": {}}, "bad_request"),
        ({"metadataDirective": "REPLACE"}, "bad_request"),
        ({"metadataDirective": "MOVE"}, "bad_request"),
        ({"fileName": "/x"}, "bad_request"),
        ({"destinationBucketId": "nonsense"}, "bad_bucket_id"),
        ({"range": "bytes=5-2"}, "bad_request"),
        ({"sourceFileId": "nonsense"}, "bad_request"),
    ],
)
def test_copies_that_are_refused(client: Client, bucket_id: str, fields: dict[str, Any], code: str) -> None:
    source = client.put(bucket_id, "n", DATA)
    wanted = {"sourceFileId": source["fileId"], "fileName": "copy", **fields}
    assert client.call("b2_copy_file", **wanted).error == (400, code)


def test_a_copy_beyond_5_gb(server: EmulatorServer, client: Client, bucket_id: str) -> None:
    source = client.put(bucket_id, "n", DATA)
    server.run(lambda: server.state.database.execute("UPDATE versions SET size = 5000000001"))
    reply = client.call("b2_copy_file", sourceFileId=source["fileId"], fileName="copy")
    assert reply.error == (400, "source_too_large")
    assert reply.json["message"] == "Copy source too big: 5000000001"


def customer(key: bytes) -> dict[str, str]:
    digest = hashlib.md5(key).digest()
    return {
        SSE_C + "Algorithm": "AES256",
        SSE_C + "Key": base64.b64encode(key).decode(),
        SSE_C + "Key-Md5": base64.b64encode(digest).decode(),
    }


def test_sse_c(client: Client, bucket_id: str) -> None:
    good, other = customer(b"1" * 32), customer(b"2" * 32)
    file = client.put(bucket_id, "n", DATA, **good)
    assert file["serverSideEncryption"]["mode"] == "SSE-C"
    assert client.get("/file/some-bucket/n").error == (400, "bad_request")
    assert client.get("/file/some-bucket/n", **other).error == (403, "access_denied")
    reply = client.get("/file/some-bucket/n", **good)
    assert (reply.body, reply.headers[SSE_C + "Key-Md5"]) == (DATA, good[SSE_C + "Key-Md5"])
    wrong_md5 = {**good, SSE_C + "Key-Md5": other[SSE_C + "Key-Md5"]}
    assert client.upload(bucket_id, "n", DATA, wrong_md5).error == (400, "bad_request")
    copy = {"sourceFileId": file["fileId"], "fileName": "copy"}
    assert client.call("b2_copy_file", **copy).error == (400, "bad_request")
    key = {
        "mode": "SSE-C",
        "algorithm": "AES256",
        "customerKey": good[SSE_C + "Key"],
        "customerKeyMd5": good[SSE_C + "Key-Md5"],
    }
    client.ok("b2_copy_file", **copy, sourceServerSideEncryption=key)
    assert client.get("/file/some-bucket/copy").body == DATA


def test_sse_b2_asked_for_and_by_default(client: Client, bucket_id: str) -> None:
    sse_b2 = {"mode": "SSE-B2", "algorithm": "AES256"}
    assert client.put(bucket_id, "n")["serverSideEncryption"]["mode"] is None
    asked = client.put(bucket_id, "n", DATA, **{"X-Bz-Server-Side-Encryption": "AES256"})
    assert asked["serverSideEncryption"] == sse_b2
    client.ok(
        "b2_update_bucket",
        accountId=client.account_id,
        bucketId=bucket_id,
        defaultServerSideEncryption=sse_b2,
    )
    assert client.put(bucket_id, "n")["serverSideEncryption"] == sse_b2
    assert client.get("/file/some-bucket/n").headers["X-Bz-Server-Side-Encryption"] == "AES256"

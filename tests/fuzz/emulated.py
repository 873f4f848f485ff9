"""What clients may ask of the emulator: every answer is JSON that says what is wrong, and none is a 500."""

from __future__ import annotations

import base64
import functools
import json
import socket
from typing import Final
from urllib.parse import urlsplit

from b2mount.emulator.requests import PRICES
from b2mount.emulator.server import EmulatorServer
from tests.fuzz import hostile
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, throws

FIELDS: Final[dict[str, object]] = {
    "accountId": "ACCOUNT",
    "bucketId": "BUCKET",
    "bucketName": "bucket-two",
    "bucketType": "allPrivate",
    "fileName": "file",
    "fileId": "FILE",
    "sourceFileId": "FILE",
    "largeFileId": "LARGE",
    "contentType": "b2/x-auto",
    "fileInfo": {"a": "b"},
    "prefix": "f",
    "delimiter": "/",
    "startFileName": "a",
    "startFileId": "FILE",
    "startPartNumber": 1,
    "maxFileCount": 10,
    "maxPartCount": 10,
    "maxKeyCount": 10,
    "partNumber": 1,
    "partSha1Array": ["0" * 40],
    "range": "bytes=0-1",
    "metadataDirective": "COPY",
    "fileNamePrefix": "",
    "validDurationInSeconds": 60,
    "capabilities": ["listFiles"],
    "keyName": "key",
    "applicationKeyId": "K",
    "bucketInfo": {},
    "lifecycleRules": [
        {"daysFromHidingToDeleting": 1, "daysFromUploadingToHiding": None, "fileNamePrefix": ""}
    ],
    "corsRules": [],
    "ifRevisionIs": 1,
    "defaultServerSideEncryption": {"mode": "SSE-B2", "algorithm": "AES256"},
    "serverSideEncryption": {"mode": "SSE-B2", "algorithm": "AES256"},
    "fileLockEnabled": True,
    "defaultRetention": {"mode": "governance", "period": {"duration": 1, "unit": "days"}},
    "fileRetention": {"mode": "governance", "retainUntilTimestamp": 99999999999999},
    "legalHold": "on",
    "bypassGovernance": True,
    "eventNotificationRules": [],
    "replicationConfiguration": {},
}
HEADERS: Final = {
    "X-Bz-File-Name": "file",
    "X-Bz-Content-Sha1": "do_not_verify",
    "X-Bz-Part-Number": "1",
    "Content-Type": "text/plain",
    "X-Bz-Info-a": "b",
    "Range": "bytes=0-1",
    "X-Bz-Test-Mode": "expire_some_account_authorization_tokens",
    "X-Bz-Server-Side-Encryption": "AES256",
    "X-Bz-File-Retention-Mode": "governance",
    "X-Bz-File-Retention-Retain-Until-Timestamp": "5",
    "X-Bz-File-Legal-Hold": "on",
    "X-Bz-Custom-Upload-Timestamp": "5",
    "Transfer-Encoding": "chunked",
}
VALUES: Final = (
    "bytes=-1",
    "bytes=5-1",
    "bytes=0-",
    "-1",
    "9" * 30,
    "x",
    "%ff",
    "%",
    "",
    "hex_digits_at_end",
    "é",
)


@functools.cache
def _server() -> tuple[EmulatorServer, dict[str, str]]:
    """One for all runs, with a bucket, a file, a large file, and tokens."""
    server = EmulatorServer(minimum_part=10, recommended_part=20).__enter__()
    known = {"ACCOUNT": server.keys.account_id}
    basic = base64.b64encode(f"{server.key_id}:{server.application_key}".encode()).decode()
    said = _json(
        _ask(server, "GET", "/b2api/v4/b2_authorize_account", {"Authorization": f"Basic {basic}"}, b"")
    )
    known["TOKEN"] = said["authorizationToken"]

    def call(name: str, **fields: object) -> dict[str, str]:
        body = json.dumps(fields).encode()
        return _json(_ask(server, "POST", f"/b2api/v4/{name}", {"Authorization": known["TOKEN"]}, body))

    bucket = call(
        "b2_create_bucket", accountId=known["ACCOUNT"], bucketName="bucket", bucketType="allPrivate"
    )
    known["BUCKET"] = bucket["bucketId"]
    server.seed("bucket", ["file", "d/x"], size=10)
    listed = call("b2_list_file_names", bucketId=known["BUCKET"])
    known["FILE"] = listed["files"][0]["fileId"]  # type: ignore[index]  # a list of files
    fields = {"bucketId": known["BUCKET"], "fileName": "large", "contentType": "b2/x-auto"}
    known["LARGE"] = call("b2_start_large_file", **fields)["fileId"]
    return server, known


def _ask(server: EmulatorServer, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: h", "Connection: close"]
    if "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if headers.get("Transfer-Encoding") == "chunked":
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return _exchange(server, "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + body)


def _exchange(server: EmulatorServer, sent: bytes, wait: float = 5) -> bytes:
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=wait) as connection:
        connection.sendall(sent)
        came = bytearray()
        try:
            while piece := connection.recv(65536):
                came += piece
        except (ConnectionResetError, TimeoutError):
            if not came:
                raise
            # it need not read all of what it refuses, nor close at once
    return bytes(came)


def _json(answer: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def emulator(data: bytes) -> None:
    """One request, good in parts."""
    choices = Choices(data)
    server, known = _server()
    name = choices.of(list(PRICES))
    document = {key: _filled(value, known) for key, value in FIELDS.items()}
    for key in list(document):
        if choices.chance(6):
            del document[key]
    if choices.chance(4):
        document["replicationConfiguration"] = hostile.value(choices)
    headers = {"Authorization": known["TOKEN"] if not choices.chance(10) else hostile.text(choices)}
    for header, value in HEADERS.items():
        if choices.chance(3):
            headers[header] = choices.of(VALUES) if choices.chance(3) else value
    headers = {key: value.replace("\r", "").replace("\n", "") for key, value in headers.items()}
    body = hostile.as_json(choices, hostile.spoiled(choices, document))
    target = f"/b2api/v{1 + choices.below(5)}/{name}"
    match choices.below(12):
        case 0:
            target += "/" + known["BUCKET"]
        case 1:
            target = "/file/bucket/" + choices.of(hostile.NAMES).replace(" ", "+")
        case 2:
            target = "/emulator/" + choices.of(("counts", "faults", "shape", "seed", "expire-tokens", "x"))
            if "seed" in target or "shape" in target or "faults" in target:
                body = choices.rest()[:50]  # what is well formed would change the emulator for all runs
        case 3:
            target += "?" + "&".join(f"{key}={value}" for key, value in list(document.items())[:9])
    method = choices.of(("POST", "POST", "POST", "GET", "HEAD", "PUT", "DELETE"))
    clean = "".join(sign for sign in target if sign > " " and sign != "\x7f" and sign.isprintable())
    _check(_ask(server, method, clean, headers, body), method)


def _filled(value: object, known: dict[str, str]) -> object:
    return known.get(value, value) if isinstance(value, str) else value


def _check(answer: bytes, method: str) -> None:
    if not answer:
        return  # cut, as a broken request may be
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    assert status == 503 or status < 500, answer[:600]
    if status >= 400 and method != "HEAD" and b"application/json" in head:
        said = json.loads(body)
        assert said["status"] == status
        assert isinstance(said["code"], str)


def emulator_bytes(data: bytes) -> None:
    """Anything at all on the connection."""
    server, _ = _server()
    try:
        answer = _exchange(server, data + b"\r\n\r\n", wait=0.2)
    except (ConnectionResetError, TimeoutError):
        return  # it waits for the rest of a request, or has had enough
    assert not answer or int(answer.split(b" ")[1]) < 500, answer[:300]


TARGETS: Final = (
    Target("emulator", emulator, throws("emulator", 30, 600)),
    Target(
        "emulator-bytes",
        emulator_bytes,
        (
            b"GET /b2api/v4/b2_authorize_account HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n",
            b"POST /b2api/v4/b2_list_buckets HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            b"GET /file/bucket/%ff HTTP/1.0\r\nHost: \xff\r\n\r\n",
        ),
        ("HTTP/1.1", "b2api", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: websocket"),
    ),
)

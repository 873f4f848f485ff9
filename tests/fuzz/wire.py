"""B2 as bytes on a connection: b2sdk, requests, urllib3 and http.client are the real ones, only the socket
answers what it was told to, and lanes are no threads. A run takes milliseconds and repeats itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import requests.adapters
import trio
import urllib3
import urllib3.connection
from b2sdk._internal import exception as sdk
from requests.structures import CaseInsensitiveDict

from b2mount.store.b2_client import B2Client, Lanes, Limits
from b2mount.store.b2_session import open_account
from b2mount.store.b2_store import B2Store
from b2mount.store.credentials import Credentials
from b2mount.store.encryption import Keyring
from b2mount.store.ledger import Ledger
from b2mount.threads import ThreadLane

URL: Final = "http://b2.invalid"
BUCKET_ID: Final = "b" * 24
ROW: Final = {
    "action": "upload",
    "fileId": "4_z1",
    "fileName": "file",
    "contentLength": 4,
    "contentSha1": "0" * 40,
    "contentType": "text/plain",
    "fileInfo": {"src_last_modified_millis": "1000", "posix": "mode=100644,uid=0,gid=0,ns=5"},
    "uploadTimestamp": 1000,
    "serverSideEncryption": {"mode": "SSE-B2", "algorithm": "AES256"},
    "fileRetention": {
        "isClientAuthorizedToRead": True,
        "value": {"mode": None, "retainUntilTimestamp": None},
    },
    "legalHold": {"isClientAuthorizedToRead": True, "value": "off"},
}
PART: Final = {"partNumber": 1, "contentLength": 5, "contentSha1": "0" * 40, "fileId": "4_z1"}
BUCKET: Final = {
    "bucketName": "bucket",
    "bucketId": BUCKET_ID,
    "bucketType": "allPrivate",
    "fileLockConfiguration": {"isClientAuthorizedToRead": True, "value": {"isFileLockEnabled": True}},
    "bucketInfo": {},
    "options": [],
}
AUTHORIZATION: Final = {
    "accountId": "account",
    "authorizationToken": "account-token",
    "applicationKeyExpirationTimestamp": None,
    "apiInfo": {
        "storageApi": {
            "apiUrl": URL,
            "downloadUrl": URL,
            "s3ApiUrl": URL,
            "absoluteMinimumPartSize": 5_000_000,
            "recommendedPartSize": 100_000_000,
            "allowed": {
                "buckets": [{"id": BUCKET_ID, "name": "bucket"}],
                "capabilities": ["listFiles", "readFiles", "writeFiles", "deleteFiles", "listBuckets"],
                "namePrefix": None,
            },
        }
    },
}
GOOD: Final[dict[str, object]] = {
    "b2_authorize_account": AUTHORIZATION,
    "b2_list_file_names": {"files": [ROW], "nextFileName": None},
    "b2_list_file_versions": {"files": [ROW], "nextFileName": None, "nextFileId": None},
    "b2_list_buckets": {"buckets": [BUCKET]},
    "b2_create_bucket": BUCKET,
    "b2_delete_bucket": BUCKET,
    "b2_get_upload_url": {"uploadUrl": f"{URL}/b2api/v4/b2_upload_file", "authorizationToken": "t"},
    "b2_get_upload_part_url": {"uploadUrl": f"{URL}/b2api/v4/b2_upload_part", "authorizationToken": "t"},
    "b2_list_parts": {"parts": [PART], "nextPartNumber": None},
    "b2_list_unfinished_large_files": {"files": [{**ROW, "action": "start"}], "nextFileId": None},
    "b2_get_download_authorization": {"bucketId": BUCKET_ID, "fileNamePrefix": "", "authorizationToken": "t"},
    "b2_upload_part": PART,
    "b2_copy_part": PART,
    "b2_update_file_retention": {"fileRetention": {"mode": "governance", "retainUntilTimestamp": 5}},
    "b2_update_file_legal_hold": {"legalHold": "on"},
}
"""What B2 answers to each call, when all is well; every other call is answered with a file."""
Answer = Callable[[str, bytes], bytes]
"""The whole HTTP answer to a call, by its name and by the request."""
Headers = Mapping[str, str]


def reply(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A well-formed answer; `_` in a header's name is `-`."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + body


def good(call: str) -> bytes:
    """The answer of a B2 that works."""
    return reply(json.dumps(GOOD.get(call, ROW)).encode())


class InlineLane(ThreadLane):
    """A lane without threads."""

    async def run(self, func: Any, *args: Any) -> Any:  # type: ignore[override]  # whatever it is
        await trio.lowlevel.checkpoint()
        return func(*args)

    async def run_uncancelled(self, func: Any, *args: Any) -> Any:  # type: ignore[override]  # whatever it is
        return func(*args)

    async def stream(self, func: Any, deliver: Any, *args: Any) -> Any:  # type: ignore[override]  # whatever it is
        await trio.lowlevel.checkpoint()
        return func(deliver, *args)


@attrs.define(eq=False)
class Socket:
    """One connection, closed after one answer."""

    answer: Answer
    sent: bytearray = attrs.field(factory=bytearray)

    def sendall(self, data: Any) -> None:
        self.sent += bytes(data)

    def makefile(self, *_args: object, **_kwargs: object) -> io.BufferedReader:
        target = bytes(self.sent).partition(b"\r\n")[0].split(b" ")[1:2]
        call = urlsplit(target[0].decode("latin-1")).path.rpartition("/")[2] if target else ""
        answered = self.answer(call, bytes(self.sent))
        return io.BufferedReader(io.BytesIO(answered))

    def settimeout(self, _seconds: object) -> None:
        """It never waits."""

    def gettimeout(self) -> float:
        return 1.0

    def shutdown(self, _how: int) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """Nothing is held."""


class Wire(requests.adapters.HTTPAdapter):
    """Where requests go instead of into the network, whatever the URL says."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(pool_maxsize=1)

        class Connection(urllib3.connection.HTTPConnection):
            is_verified = True

            def connect(self) -> None:
                self.sock = Socket(answer)

            @property
            def is_connected(self) -> bool:
                return False

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": Pool}


def store_on(answer: Answer, *, retry_for: float = 30.0, keyring: Keyring | None = None) -> B2Store:
    """A B2Store on such a wire, not authorized yet. From within trio."""
    lanes = Lanes(*(InlineLane(name, 8) for name in ("metadata", "download", "upload", "copy")))
    credentials = Credentials("key-id", "application-key", URL)
    session = open_account(credentials, connections=1)
    session.raw_api.b2_http.session.mount("", Wire(answer))
    session.raw_api.b2_http.session.adapters.pop("http://", None)
    session.raw_api.b2_http.session.adapters.pop("https://", None)
    client = B2Client(session, credentials, lanes, Ledger(), Limits(), retry_for)
    return B2Store(client, keyring or Keyring())


@attrs.define(eq=False)
class Response:
    """As much of one of requests as a download looks at."""

    status_code: int
    headers: CaseInsensitiveDict[str]
    raw: Any

    def close(self) -> None:
        """Nothing is held."""


@attrs.define(eq=False)
class Body:
    """Bytes as urllib3 gives them."""

    stream: io.BytesIO

    def read1(self, size: int, *, decode_content: bool) -> bytes:
        return self.stream.read(size)


@attrs.define(eq=False)
class Shortcut:
    """Stands where b2sdk's B2Http does, without HTTP: for those who ask a hundred times in one run."""

    answer: Answer
    session: requests.Session = attrs.field(factory=requests.Session)

    def post_json_return_json(self, url: str, headers: Headers, params: object, try_count: int = 1) -> object:
        return self._json(url, headers, json.dumps(params).encode())

    def post_content_return_json(
        self, url: str, headers: Headers, data: Any, try_count: int = 1, **_more: object
    ) -> object:
        return self._json(url, headers, data.read())

    def request_content_return_json(
        self, _method: str, url: str, headers: Headers, **_more: object
    ) -> object:
        return self._json(url, headers, b"")

    def head_content(self, url: str, headers: Headers, try_count: int = 1) -> Response:
        return self._asked(url, headers, b"")

    @contextmanager
    def get_content(self, url: str, headers: Headers, try_count: int = 1) -> Iterator[Response]:
        yield self._asked(url, headers, b"")

    def _json(self, url: str, headers: Headers, body: bytes) -> object:
        return json.loads(self._asked(url, headers, body).raw.stream.read())

    def _asked(self, url: str, headers: Headers, body: bytes) -> Response:
        head = "\r\n".join(["POST", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        told, _, content = self.answer(url.rpartition("/")[2], head.encode() + body).partition(b"\r\n\r\n")
        line, *fields = told.decode("latin-1").split("\r\n")
        status = line[9:12]
        if not line.startswith("HTTP/1.1 ") or not status.isdigit():
            raise requests.ConnectionError("no HTTP")
        pairs = CaseInsensitiveDict([field.partition(": ")[::2] for field in fields])
        if int(status) not in (200, 206):
            raise self._refusal(int(status), content, pairs)
        return Response(int(status), pairs, Body(io.BytesIO(content)))

    def _refusal(self, status: int, content: bytes, headers: Headers) -> Exception:
        try:
            said = json.loads(content)
            code, message = said.get("code"), said.get("message")
        except (ValueError, AttributeError, RecursionError):
            code, message = None, None
        error: Exception = sdk.interpret_b2_error(status, code, message, dict(headers))
        return error


def quick_store_on(answer: Answer, *, retry_for: float) -> B2Store:
    """As `store_on`, without HTTP."""
    store = store_on(answer, retry_for=retry_for)
    store._client.session.raw_api.b2_http = Shortcut(answer)
    return store

"""ScriptedServer: answers every request with exactly the bytes that a test wants; B2 at its worst."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import attrs

from b2mount.store.credentials import Credentials


@attrs.frozen
class Request:
    """What a client sent. `call` is the last part of the path."""

    call: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Reply:
    """What to send back: `data`, then what `rest` returns when it does. `tail` says what happens after
    the bytes: the connection stays open, or is closed, or the server falls silent."""

    data: bytes
    tail: str = "open"
    rest: Callable[[], bytes] = bytes


def reply(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None, length: int | None = None
) -> Reply:
    """A well-formed reply; a body that is not bytes becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(data) if length is None else length), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    tail = "open" if length in (None, len(data)) else "close"
    return Reply("\r\n".join(lines).encode() + data, tail)


Script = Callable[[Request], Reply]


class ScriptedServer:
    """`with ScriptedServer() as server:`; `server.script[call] = function of the request`."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[Request] = []
        self.script: dict[str, Script] = {
            "b2_authorize_account": lambda _: reply(self.authorization()),
            "b2_get_upload_url": lambda _: reply(
                {"uploadUrl": f"{self.url}/b2api/v4/b2_upload_file", "authorizationToken": "upload-token"}
            ),
        }
        self._open: list[socket.socket] = []

    def authorization(self, **changes: object) -> dict[str, object]:
        """A good answer to b2_authorize_account, but for the changes in storageApi."""
        storage = {
            "apiUrl": self.url,
            "downloadUrl": self.url,
            "s3ApiUrl": self.url,
            "absoluteMinimumPartSize": 5_000_000,
            "recommendedPartSize": 100_000_000,
            "allowed": {
                "buckets": [{"id": "b" * 24, "name": "bucket"}],
                "capabilities": ["listFiles", "readFiles", "writeFiles", "deleteFiles"],
                "namePrefix": None,
            },
            **changes,
        }
        return {
            "accountId": "account",
            "authorizationToken": "account-token",
            "apiInfo": {"storageApi": storage},
        }

    @property
    def credentials(self) -> Credentials:
        return Credentials("key-id", "application-key", self.url)

    def count(self, call: str) -> int:
        return sum(request.call == call for request in self.requests)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while line := stream.readline():
                path = line.split()[1].decode()
                headers: dict[str, str] = {}
                while field := stream.readline().decode().strip():
                    name, _, value = field.partition(": ")
                    headers[name.lower()] = value
                body = stream.read(int(headers.get("content-length", 0)))
                request = Request(path.partition("?")[0].rpartition("/")[2], headers, body)
                self.requests.append(request)
                answer = self.script[request.call](request)
                connection.sendall(answer.data)
                connection.sendall(answer.rest())
                if answer.tail == "close":
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                if answer.tail == "silent":
                    return

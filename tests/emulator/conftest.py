"""A state in memory, an emulator over HTTP, and a plain client that hides nothing of the wire."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.clock import Clock
from b2mount.emulator.records import Attributes, Bucket, Version
from b2mount.emulator.server import EmulatorServer

NOON = 1_700_000_000_000


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


@attrs.frozen
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        assert self.json["status"] == self.status
        return self.status, self.json["code"]


class Client:
    """One keep-alive connection and one account token."""

    def __init__(self, server: EmulatorServer, key_id: str = "", secret: str = "", version: int = 4) -> None:
        self.server = server
        self.version = version
        self.connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        self.authorization = self.authorize(key_id or server.key_id, secret or server.application_key).json
        self.account_id = self.authorization["accountId"]
        self.token = self.authorization["authorizationToken"]

    def close(self) -> None:
        self.connection.close()

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Any request. A URL of the server's counts as its path."""
        self.connection.request(method, path.removeprefix(self.server.url), body, headers or {})
        response = self.connection.getresponse()
        return Reply(response.status, response.headers, response.read())

    def authorize(self, key_id: str, secret: str) -> Reply:
        basic = base64.b64encode(f"{key_id}:{secret}".encode()).decode()
        return self.send(
            "GET", f"/b2api/v{self.version}/b2_authorize_account", headers={"Authorization": f"Basic {basic}"}
        )

    def call(self, operation: str, **fields: Any) -> Reply:
        return self.send(
            "POST",
            f"/b2api/v{self.version}/{operation}",
            json.dumps(fields),
            {"Authorization": self.token},
        )

    def ok(self, operation: str, **fields: Any) -> Any:
        reply = self.call(operation, **fields)
        assert reply.status == 200, reply.body
        return reply.json

    def create_bucket(self, name: str = "some-bucket", type_: str = "allPrivate", **fields: Any) -> Any:
        return self.ok(
            "b2_create_bucket", accountId=self.account_id, bucketName=name, bucketType=type_, **fields
        )

    def upload(
        self, bucket_id: str, name: str, data: bytes, headers: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        target = self.ok("b2_get_upload_url", bucketId=bucket_id)
        return self.send(
            "POST",
            target["uploadUrl"],
            data if body is None else body,
            {
                "Authorization": target["authorizationToken"],
                "X-Bz-File-Name": quote(name),
                "Content-Type": "b2/x-auto",
                "X-Bz-Content-Sha1": sha1(data),
                **(headers or {}),
            },
        )

    def put(self, bucket_id: str, name: str, data: bytes = b"x", /, **headers: str) -> Any:
        reply = self.upload(bucket_id, name, data, headers)
        assert reply.status == 200, reply.body
        return reply.json

    def put_part(
        self, file_id: str, number: int, data: bytes, headers: dict[str, str] | None = None
    ) -> Reply:
        target = self.ok("b2_get_upload_part_url", fileId=file_id)
        return self.send(
            "POST",
            target["uploadUrl"],
            data,
            {
                "Authorization": target["authorizationToken"],
                "X-Bz-Part-Number": str(number),
                "X-Bz-Content-Sha1": sha1(data),
                **(headers or {}),
            },
        )

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(method, path, headers={"Authorization": self.token, **named})

    def names(self, bucket_id: str, **fields: Any) -> list[str]:
        return [
            row["fileName"] for row in self.ok("b2_list_file_names", bucketId=bucket_id, **fields)["files"]
        ]

    def versions(self, bucket_id: str, **fields: Any) -> list[tuple[str, str]]:
        rows = self.ok("b2_list_file_versions", bucketId=bucket_id, **fields)["files"]
        return [(row["fileName"], row["action"]) for row in rows]


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def put(state: BucketState, bucket: Bucket, name: str, data: bytes = b"x", **options: Any) -> Version:
    return state.files.put(bucket, name, state.store(data), Attributes("text/plain"), **options)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def state(hands: Hands) -> Iterator[BucketState]:
    state = BucketState(None, clock=Clock(hands), minimum_part=5)
    yield state
    state.close()


@pytest.fixture
def bucket(state: BucketState) -> Bucket:
    return state.buckets.create("some-bucket")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer(tmp_path / "data", recommended_part=100, minimum_part=5) as server:
        yield server


@pytest.fixture
def client(server: EmulatorServer) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()

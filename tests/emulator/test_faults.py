"""Trouble on order: every kind of fault, how it is chosen, and that counts tell what happened."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from b2mount.emulator.faults import Fault, FaultKind, FaultPlan
from b2mount.emulator.server import EmulatorServer
from tests.emulator.conftest import Client

DATA = bytes(range(256)) * 1000


@pytest.fixture
def bucket_id(client: Client) -> str:
    return str(client.create_bucket()["bucketId"])


def hits(plan: FaultPlan, count: int = 100) -> list[int]:
    return [n for n in range(count) if plan.take("b2_upload_file", "dir/n") is not None]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"times": 2}, [0, 1]),
        ({"times": 1, "skip": 3}, [3]),
        ({"endpoint": "b2_upload_*", "name": "dir/*", "times": 1}, [0]),
        ({"endpoint": "b2_download_*"}, []),
        ({"name": "other/*"}, []),
    ],
)
def test_which_requests_a_fault_takes(options: dict[str, Any], expected: list[int]) -> None:
    plan = FaultPlan()
    plan.add(Fault(**options))
    assert hits(plan, 5) == expected


def test_chance_can_be_repeated() -> None:
    runs = []
    for seed in (1, 1, 2):
        plan = FaultPlan()
        plan.add(Fault(probability=0.3, seed=seed))
        runs.append(hits(plan))
    assert runs[0] == runs[1] != runs[2]
    assert 15 < len(runs[0]) < 45


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(), (503, "service_unavailable")),
        (Fault(status=429, retry_after=3), (429, "too_many_requests")),
        (Fault(status=403), (403, "cap_exceeded")),
        (Fault(status=403, code="download_cap_exceeded"), (403, "download_cap_exceeded")),
        (Fault(status=500), (500, "internal_error")),
        (Fault(status=408), (408, "request_timeout")),
    ],
)
def test_errors(client: Client, bucket_id: str, fault: Fault, error: tuple[int, str]) -> None:
    client.server.faults.add(fault)
    reply = client.get("/file/some-bucket/n")
    assert reply.error == error
    assert reply.headers["Retry-After"] == (None if fault.retry_after is None else "3")
    before = client.server.counts.snapshot()["transactions"]
    client.get("/file/some-bucket/n")
    assert client.server.counts.snapshot()["transactions"] == before


def lost(work: Callable[[], object], client: Client) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        work()
    client.close()


def test_dropped_before_and_after_the_work(client: Client, bucket_id: str) -> None:
    client.put(bucket_id, "a")
    client.put(bucket_id, "b")
    faults = client.server.faults
    faults.add(Fault(FaultKind.DROP_BEFORE, "b2_hide_file", "a"))
    faults.add(Fault(FaultKind.DROP_AFTER, "b2_hide_file", "b"))
    for name in ("a", "b"):
        lost(lambda name=name: client.call("b2_hide_file", bucketId=bucket_id, fileName=name), client)  # type: ignore[misc]  # a default has no inferred type
    assert client.names(bucket_id) == ["a"]


def test_silence_does_nothing_and_then_cuts(client: Client, bucket_id: str) -> None:
    client.put(bucket_id, "n")
    client.server.faults.add(Fault(FaultKind.SILENCE, "b2_hide_file", seconds=0.3, times=1))
    begun = time.monotonic()
    lost(lambda: client.call("b2_hide_file", bucketId=bucket_id, fileName="n"), client)
    assert time.monotonic() - begun >= 0.3
    assert client.names(bucket_id) == ["n"]


def test_an_upload_that_is_kept_without_a_reply(client: Client, bucket_id: str) -> None:
    client.server.faults.add(Fault(FaultKind.DROP_AFTER, "b2_upload_file", times=1))
    lost(lambda: client.upload(bucket_id, "n", b"x"), client)
    assert client.names(bucket_id) == ["n"]


def test_wrong_bytes_of_a_download(client: Client, bucket_id: str) -> None:
    client.put(bucket_id, "n", DATA)
    client.server.faults.add(Fault(FaultKind.WRONG_BYTES, "b2_download_*", after_bytes=100_000, times=1))
    reply = client.get("/file/some-bucket/n")
    wrong = [at for at, (one, other) in enumerate(zip(reply.body, DATA, strict=True)) if one != other]
    assert (reply.status, wrong) == (200, [100_000])
    assert client.get("/file/some-bucket/n").body == DATA


def test_an_upload_damaged_on_the_way(client: Client, bucket_id: str) -> None:
    client.server.faults.add(Fault(FaultKind.WRONG_BYTES, "b2_upload_file", times=1))
    reply = client.upload(bucket_id, "n", DATA)
    assert reply.error == (400, "bad_request")
    assert reply.json["message"] == "Sha1 did not match data received"
    assert client.names(bucket_id) == []
    client.put(bucket_id, "n", DATA)


@pytest.mark.parametrize("after", [0, 1000, 200_000, 10**9])
def test_a_cut_body(client: Client, bucket_id: str, after: int) -> None:
    client.put(bucket_id, "n", DATA)
    client.server.faults.add(Fault(FaultKind.CUT_BODY, "b2_download_*", after_bytes=after, times=1))
    with pytest.raises(http.client.IncompleteRead) as exc:
        client.get("/file/some-bucket/n")
    client.close()
    assert exc.value.partial == DATA[: min(after, len(DATA) - 1)]


def test_a_cut_and_a_slow_reply_of_a_call(client: Client, bucket_id: str) -> None:
    faults = client.server.faults
    faults.add(Fault(FaultKind.CUT_BODY, "b2_list_file_names", after_bytes=3, times=1))
    with pytest.raises(http.client.IncompleteRead):
        client.names(bucket_id)
    client.close()
    faults.add(Fault(FaultKind.SLOW_BODY, "b2_list_file_names", bytes_per_second=1e6, times=1))
    assert client.names(bucket_id) == []
    faults.add(Fault(FaultKind.DELAY, "b2_list_file_names", seconds=0.001, times=1))
    assert client.names(bucket_id) == []
    assert [count for _, count in faults.report()] == [1, 1, 1]


def test_an_expired_token_stays_dead(client: Client, bucket_id: str) -> None:
    client.server.faults.add(Fault(FaultKind.EXPIRED_TOKEN, "b2_hide_file", times=1))
    client.put(bucket_id, "n")
    for _ in range(2):
        reply = client.call("b2_hide_file", bucketId=bucket_id, fileName="n")
        assert reply.error == (401, "expired_auth_token")
    again = Client(client.server)
    assert again.call("b2_hide_file", bucketId=bucket_id, fileName="n").status == 200
    again.close()


def test_faults_of_parts_go_by_the_file_name(client: Client, bucket_id: str) -> None:
    client.server.faults.add(Fault(endpoint="b2_upload_part", name="big*"))
    status = {}
    for name in ("big-one", "other"):
        large = client.ok("b2_start_large_file", bucketId=bucket_id, fileName=name, contentType="a/b")
        status[name] = client.put_part(large["fileId"], 1, b"x").status
    assert status == {"big-one": 503, "other": 200}


def test_the_test_mode_header(client: Client, bucket_id: str) -> None:
    cap = client.upload(bucket_id, "n", b"x", {"X-Bz-Test-Mode": "force_cap_exceeded"})
    assert cap.error == (403, "cap_exceeded")
    some = [
        client.upload(bucket_id, "n", b"x", {"X-Bz-Test-Mode": "fail_some_uploads"}).status for _ in range(40)
    ]
    assert set(some) == {200, 503}
    body = json.dumps({"bucketId": bucket_id})
    for _ in range(100):
        reply = client.send(
            "POST",
            "/b2api/v2/b2_list_file_names",
            body,
            {
                "Authorization": client.token,
                "X-Bz-Test-Mode": "expire_some_account_authorization_tokens",
            },
        )
        if reply.status != 200:
            break
    assert reply.error == (401, "expired_auth_token")


def test_counts(client: Client, server: EmulatorServer) -> None:
    bucket_id = client.create_bucket()["bucketId"]
    server.seed("some-bucket", (f"n{number:04}" for number in range(2001)), size=3)
    server.counts.reset()
    client.names(bucket_id, maxFileCount=10_000)
    client.names(bucket_id, maxFileCount=1000)
    client.get("/file/some-bucket/n0000")
    client.get("/file/some-bucket/n0000", method="HEAD")
    client.get("/file/some-bucket/absent")
    client.put(bucket_id, "n", b"12345")
    assert server.counts.snapshot() == {
        "calls": {
            "b2_download_file_by_name": 2,
            "b2_get_upload_url": 1,
            "b2_head_file_by_name": 1,
            "b2_list_file_names": 2,
            "b2_upload_file": 1,
        },
        "transactions": {"A": 2, "B": 3, "C": 4},
        "errors": {"404": 1},
        "bytes_in": 5,
        "bytes_out": 3,
    }
    assert client.get("/emulator/counts").json == server.counts.snapshot()
    assert client.send("DELETE", "/emulator/counts").json["calls"] == {}


def test_the_admin_path(client: Client, bucket_id: str, server: EmulatorServer) -> None:
    fault = {"kind": "error", "endpoint": "b2_hide_file", "status": 500}
    reply = client.send("PUT", "/emulator/faults", json.dumps({"faults": [fault]}))
    assert fault.items() <= reply.json["faults"][0].items()
    assert client.call("b2_hide_file", bucketId=bucket_id, fileName="n").status == 500
    assert client.get("/emulator/faults").json["faults"][0]["hits"] == 1
    assert client.send("DELETE", "/emulator/faults").json == {"faults": []}
    for bad in ({"faults": [{"kind": "nonsense"}]}, {"faults": [{"nonsense": 1}]}, {}):
        assert client.send("PUT", "/emulator/faults", json.dumps(bad)).status == 400
    shape = {"first_byte_ms": 1, "connection_bytes_per_second": 1e9, "total_bytes_per_second": None}
    assert client.send("PUT", "/emulator/shape", json.dumps(shape)).json == shape
    assert client.get("/emulator/shape").json == shape
    assert client.send("PUT", "/emulator/shape", '{"first_byte_ms": -1}').status == 400
    wanted = {"bucketName": "some-bucket", "count": 25, "prefix": "p/", "perFolder": 10, "size": 4}
    assert client.send("POST", "/emulator/seed", json.dumps(wanted)).json["count"] == 25
    assert client.names(bucket_id, prefix="p/", delimiter="/") == [
        "p/dir-000000/",
        "p/dir-000001/",
        "p/dir-000002/",
    ]
    assert client.get("/file/some-bucket/p/dir-000002/file-000004").body == bytes(4)
    report = client.send("POST", "/emulator/lifecycle", '{"days": 3}').json
    assert report == {"hidden": 0, "deleted": 0, "cancelled": 0}
    assert client.send("POST", "/emulator/expire-tokens", '{"kind": "upld"}').json == {"expired": 0}
    assert client.send("POST", "/emulator/expire-tokens").json == {"expired": 1}
    assert client.send("GET", "/emulator/nonsense").error == (404, "not_found")
    assert client.send("POST", "/emulator/counts").error == (405, "method_not_allowed")

"""Authorization, keys, buckets, lists, locks and large files over HTTP, and the error bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from b2mount.emulator.server import EmulatorServer
from tests.emulator.conftest import Client, sha1

BASIC = ["listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles"]


@pytest.fixture
def bucket_id(client: Client) -> str:
    return str(client.create_bucket()["bucketId"])


@pytest.fixture
def restricted(client: Client, bucket_id: str) -> Iterator[Client]:
    """Bound to one bucket and a prefix."""
    client.create_bucket("other-bucket")
    key = client.ok(
        "b2_create_key",
        accountId=client.account_id,
        capabilities=BASIC,
        keyName="some-key",
        bucketIds=[bucket_id],
        namePrefix="mine/",
    )
    other = Client(client.server, key["applicationKeyId"], key["applicationKey"])
    yield other
    other.close()


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_authorize_in_every_version(server: EmulatorServer, version: int) -> None:
    client = Client(server, version=version)
    reply = client.authorization
    storage = reply["apiInfo"]["storageApi"] if version >= 3 else reply
    assert (storage["apiUrl"], storage["downloadUrl"]) == (server.url, server.url)
    assert (storage["recommendedPartSize"], storage["absoluteMinimumPartSize"]) == (100, 5)
    allowed = storage if version == 3 else storage["allowed"]
    assert "writeFiles" in allowed["capabilities"]
    if version == 4:
        assert (allowed["buckets"], allowed["namePrefix"]) == (None, None)
    else:
        assert (allowed["bucketId"], allowed["bucketName"], allowed["namePrefix"]) == (None, None, None)
    assert client.create_bucket()["bucketName"] == "some-bucket"
    client.close()


def test_a_wrong_key(client: Client) -> None:
    reply = client.authorize(client.server.key_id, "wrong")
    assert reply.error == (401, "bad_auth_token")
    assert reply.headers["WWW-Authenticate"] == 'BASIC realm="authorize_account"'


def test_tokens(client: Client, server: EmulatorServer) -> None:
    path, fields = "/b2api/v4/b2_list_buckets", json.dumps({"accountId": client.account_id})
    assert client.send("POST", path, fields).error == (401, "missing_auth_token")
    wrong = client.send("POST", path, fields, {"Authorization": "4_nonsense"})
    assert wrong.error == (401, "bad_auth_token")
    assert server.expire_tokens() == 1
    reply = client.send("POST", path, fields, {"Authorization": client.token})
    assert reply.error == (401, "expired_auth_token")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{", (400, "bad_json")),
        ("[" * 3000, (400, "bad_json")),
        ("[]", (400, "bad_json")),
        ('{"bucketId": 7}', (400, "bad_json")),
        ('{"bucketId": "x", "maxFileCount": 99999999999999999999}', (400, "bad_bucket_id")),
        ("{}", (400, "bad_request")),
        ('{"bucketId": null}', (400, "bad_request")),
        ('{"bucketId": "nonsense"}', (400, "bad_bucket_id")),
    ],
)
def test_bad_bodies(client: Client, body: str, error: tuple[int, str]) -> None:
    reply = client.send("POST", "/b2api/v2/b2_list_file_names", body, {"Authorization": client.token})
    assert reply.error == error


def test_an_error_may_repeat_what_is_no_text(client: Client) -> None:
    headers = {"Authorization": client.token}
    reply = client.send("POST", "/b2api/v2/b2_get_file_info", '{"fileId": "\\udcae"}', headers)
    assert reply.error == (400, "bad_request")


def test_paths(client: Client) -> None:
    headers = {"Authorization": client.token}
    query = f"?accountId={client.account_id}&bucketTypes=all"
    assert client.send("GET", "//b2api/v2/b2_list_buckets" + query, headers=headers).json == {"buckets": []}
    assert client.send("GET", "/b2api/v2/b2_nonsense", headers=headers).status == 400
    assert client.send("GET", "/b2api/v9/b2_list_buckets", headers=headers).error == (404, "not_found")
    assert client.send("PUT", "/b2api/v2/b2_list_buckets").error == (405, "method_not_allowed")
    assert client.send("POST", "/file/some-bucket/n").error == (405, "method_not_allowed")


def test_replies_name_the_host_that_was_asked(client: Client, server: EmulatorServer, bucket_id: str) -> None:
    host = server.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    reply = client.send(
        "POST",
        "/b2api/v2/b2_get_upload_url",
        json.dumps({"bucketId": bucket_id}),
        {"Authorization": client.token, "Host": host},
    )
    assert reply.json["uploadUrl"].startswith(f"http://{host}/b2api/v2/b2_upload_file/{bucket_id}/")


def test_buckets(client: Client) -> None:
    made = client.create_bucket(bucketInfo={"a": "1"})
    assert made == {
        "accountId": client.account_id,
        "bucketId": made["bucketId"],
        "bucketInfo": {"a": "1"},
        "bucketName": "some-bucket",
        "bucketType": "allPrivate",
        "corsRules": [],
        "defaultServerSideEncryption": {
            "isClientAuthorizedToRead": True,
            "value": {"mode": None, "algorithm": None},
        },
        "fileLockConfiguration": {
            "isClientAuthorizedToRead": True,
            "value": {"isFileLockEnabled": False, "defaultRetention": {"mode": None, "period": None}},
        },
        "lifecycleRules": [],
        "options": ["s3"],
        "replicationConfiguration": {"isClientAuthorizedToRead": True, "value": None},
        "revision": 1,
    }
    account = {"accountId": client.account_id}
    again = client.call("b2_create_bucket", **account, bucketName="Some-Bucket", bucketType="allPrivate")
    assert again.error == (400, "duplicate_bucket_name")
    assert client.ok("b2_list_buckets", **account, bucketName="some-bucket", bucketId=None)["buckets"] == [
        made
    ]
    assert client.ok("b2_list_buckets", **account, bucketName="nothing")["buckets"] == []
    update = {**account, "bucketId": made["bucketId"]}
    changed = client.ok("b2_update_bucket", **update, bucketType="allPublic", ifRevisionIs=1)
    assert (changed["bucketType"], changed["revision"], changed["bucketInfo"]) == ("allPublic", 2, {"a": "1"})
    stale = client.call("b2_update_bucket", **update, bucketType="allPrivate", ifRevisionIs=1)
    assert stale.error == (409, "conflict")
    client.put(made["bucketId"], "n")
    assert client.call("b2_delete_bucket", **update).error == (400, "cannot_delete_non_empty_bucket")
    client.ok("b2_hide_file", bucketId=made["bucketId"], fileName="n")
    for row in client.ok("b2_list_file_versions", bucketId=made["bucketId"])["files"]:
        client.ok("b2_delete_file_version", fileName="n", fileId=row["fileId"])
    assert client.ok("b2_delete_bucket", **update)["bucketId"] == made["bucketId"]
    assert client.call("b2_delete_bucket", **update).error == (400, "bad_bucket_id")


def test_the_100_buckets_of_an_account(client: Client, server: EmulatorServer) -> None:
    for number in range(100):
        server.run(lambda number=number: server.state.buckets.create(f"bucket-{number}"))  # type: ignore[misc]  # a default has no inferred type
    reply = client.call(
        "b2_create_bucket", accountId=client.account_id, bucketName="one-more", bucketType="allPrivate"
    )
    assert reply.error == (400, "too_many_buckets")


@pytest.mark.parametrize("operation", ["b2_list_file_names", "b2_list_file_versions"])
def test_lists(client: Client, bucket_id: str, operation: str) -> None:
    for name in ("b", "a/1", "a/2", "c"):
        client.put(bucket_id, name)
    page = client.ok(operation, bucketId=bucket_id, delimiter="/", maxFileCount=2, prefix=None)
    folder = page["files"][0]
    assert (folder["action"], folder["fileName"], folder["fileId"]) == ("folder", "a/", None)
    assert (folder["contentLength"], folder["uploadTimestamp"], folder["fileInfo"]) == (0, 0, {})
    assert (page["files"][1]["fileName"], page["nextFileName"]) == ("b", "c")
    rest = client.ok(operation, bucketId=bucket_id, startFileName=page["nextFileName"], maxFileCount=0)
    assert [row["fileName"] for row in rest["files"]] == ["c"]
    assert rest["nextFileName"] is None
    for count in (-1, 10_001):
        assert client.call(operation, bucketId=bucket_id, maxFileCount=count).error == (400, "out_of_range")


def test_listing_versions_needs_a_name_with_an_id(client: Client, bucket_id: str) -> None:
    file = client.put(bucket_id, "n")
    call = {"bucketId": bucket_id, "startFileId": file["fileId"]}
    assert client.call("b2_list_file_versions", **call).status == 400
    assert (
        client.ok("b2_list_file_versions", **call, startFileName="n")["files"][0]["fileId"] == file["fileId"]
    )
    nonsense = {"bucketId": bucket_id, "startFileName": "n", "startFileId": "nonsense"}
    assert client.call("b2_list_file_versions", **nonsense).error == (400, "invalid_file_id")


def test_a_restricted_key(client: Client, restricted: Client, bucket_id: str) -> None:
    allowed = restricted.authorization["apiInfo"]["storageApi"]["allowed"]
    assert allowed["buckets"] == [{"id": bucket_id, "name": "some-bucket"}]
    assert (allowed["namePrefix"], allowed["capabilities"]) == ("mine/", BASIC)
    file = restricted.put(bucket_id, "mine/n")
    assert file["fileRetention"] == {"isClientAuthorizedToRead": False, "value": None}
    foreign = client.put(bucket_id, "n")
    denied = (401, "unauthorized")
    account = {"accountId": client.account_id}
    assert restricted.names(bucket_id, prefix="mine/") == ["mine/n"]
    assert restricted.upload(bucket_id, "n", b"x").error == denied
    assert restricted.get("/file/some-bucket/n").error == denied
    for operation, fields in (
        ("b2_list_file_names", {"bucketId": bucket_id}),
        ("b2_list_file_versions", {"bucketId": bucket_id, "prefix": "min"}),
        ("b2_get_file_info", {"fileId": foreign["fileId"]}),
        ("b2_delete_file_version", {"fileName": "n", "fileId": foreign["fileId"]}),
        ("b2_hide_file", {"bucketId": bucket_id, "fileName": "n"}),
        ("b2_copy_file", {"sourceFileId": foreign["fileId"], "fileName": "mine/copy"}),
        ("b2_copy_file", {"sourceFileId": file["fileId"], "fileName": "copy"}),
        ("b2_list_buckets", account),
        ("b2_list_buckets", {**account, "bucketName": "other-bucket"}),
        ("b2_list_keys", account),
        ("b2_get_download_authorization", {"bucketId": bucket_id}),
    ):
        assert restricted.call(operation, **fields).error == denied, operation
    assert len(restricted.ok("b2_list_buckets", **account, bucketName="some-bucket")["buckets"]) == 1
    restricted.version = 1
    assert restricted.names(bucket_id) == ["mine/n"]


def test_keys(client: Client, bucket_id: str) -> None:
    account = {"accountId": client.account_id}
    two = client.create_bucket("other-bucket")["bucketId"]
    made = client.ok(
        "b2_create_key",
        **account,
        capabilities=BASIC,
        keyName="some-key",
        bucketIds=[bucket_id, two],
        validDurationInSeconds=60,
    )
    secret = made.pop("applicationKey")
    assert client.ok("b2_list_keys", **account)["keys"] == [made]
    assert (made["bucketIds"], made["namePrefix"]) == ([bucket_id, two], None)
    client.version = 3
    assert client.authorize(made["applicationKeyId"], secret).error == (401, "unsupported")
    client.version = 4
    assert client.authorize(made["applicationKeyId"], secret).status == 200
    client.ok("b2_delete_bucket", **account, bucketId=two)
    names = client.authorize(made["applicationKeyId"], secret).json["apiInfo"]["storageApi"]["allowed"]
    assert names["buckets"] == [{"id": bucket_id, "name": "some-bucket"}, {"id": two, "name": None}]
    assert client.ok("b2_delete_key", applicationKeyId=made["applicationKeyId"]) == made
    assert client.authorize(made["applicationKeyId"], secret).error == (401, "bad_auth_token")


@pytest.mark.parametrize(
    "fields",
    [
        {"capabilities": ["fly"]},
        {"capabilities": []},
        {"keyName": "under_score"},
        {"namePrefix": "x"},
        {"validDurationInSeconds": 86_400_001},
        {"bucketIds": ["nonsense"]},
        {"bucketIds": "own", "capabilities": ["writeBuckets"]},
    ],
)
def test_keys_that_are_refused(client: Client, bucket_id: str, fields: dict[str, Any]) -> None:
    if fields.get("bucketIds") == "own":
        fields = {**fields, "bucketIds": [bucket_id]}
    wanted = {"accountId": client.account_id, "capabilities": BASIC, "keyName": "k", **fields}
    assert client.call("b2_create_key", **wanted).status == 400


def test_retention_and_legal_hold(client: Client) -> None:
    bucket = client.create_bucket("locked-bucket", fileLockEnabled=True)
    file = client.put(bucket["bucketId"], "n")
    version = {"fileName": "n", "fileId": file["fileId"]}
    future = file["uploadTimestamp"] + 10_000_000
    past = {"mode": "governance", "retainUntilTimestamp": 1}
    reply = client.call("b2_update_file_retention", **version, fileRetention=past)
    assert reply.error == (400, "retain_until_timestamp_must_be_in_future")
    kept = {"mode": "governance", "retainUntilTimestamp": future}
    assert client.ok("b2_update_file_retention", **version, fileRetention=kept)["fileRetention"] == kept
    head = client.get("/file/locked-bucket/n", method="HEAD")
    assert head.headers["X-Bz-File-Retention-Mode"] == "governance"
    reply = client.call("b2_delete_file_version", **version)
    assert (reply.error, reply.json["message"]) == ((401, "unauthorized"), "Access Denied")
    shorter = {**kept, "retainUntilTimestamp": future - 1}
    reply = client.call("b2_update_file_retention", **version, fileRetention=shorter)
    assert reply.error == (403, "access_denied")
    client.ok("b2_update_file_retention", **version, fileRetention=shorter, bypassGovernance=True)
    client.ok("b2_update_file_legal_hold", **version, legalHold="on")
    assert client.call("b2_delete_file_version", **version, bypassGovernance=True).status == 403
    client.ok("b2_update_file_legal_hold", **version, legalHold="off")
    client.ok("b2_delete_file_version", **version, bypassGovernance=True)
    plain = client.create_bucket("plain-bucket")
    file = client.put(plain["bucketId"], "n")
    reply = client.call("b2_update_file_legal_hold", fileName="n", fileId=file["fileId"], legalHold="on")
    assert reply.error == (400, "bucket_missing_file_lock")


def test_default_retention(client: Client) -> None:
    bucket = client.create_bucket("locked-bucket", fileLockEnabled=True)
    period = {"duration": 2, "unit": "days"}
    changed = client.ok(
        "b2_update_bucket",
        accountId=client.account_id,
        bucketId=bucket["bucketId"],
        defaultRetention={"mode": "compliance", "period": period},
    )
    assert changed["fileLockConfiguration"]["value"]["defaultRetention"]["period"] == period
    file = client.put(bucket["bucketId"], "n")
    kept = file["fileRetention"]["value"]
    assert kept["mode"] == "compliance"
    assert kept["retainUntilTimestamp"] == file["uploadTimestamp"] + 2 * 86_400_000
    off = client.call(
        "b2_update_bucket", accountId=client.account_id, bucketId=bucket["bucketId"], fileLockEnabled=False
    )
    assert off.error == (400, "file_lock_conflict")


def test_a_large_file(client: Client, bucket_id: str) -> None:
    large = client.ok(
        "b2_start_large_file",
        bucketId=bucket_id,
        fileName="n.txt",
        contentType="b2/x-auto",
        fileInfo={"A": "1"},
    )
    assert (large["action"], large["contentSha1"], large["contentLength"]) == ("start", "none", 0)
    assert (large["contentType"], large["fileInfo"]) == ("text/plain", {"a": "1"})
    file_id = large["fileId"]
    part = client.put_part(file_id, 2, b"67").json
    assert (part["partNumber"], part["contentLength"], part["contentSha1"]) == (2, 2, sha1(b"67"))
    source = client.put(bucket_id, "source", b"0123456789")
    copied = client.ok(
        "b2_copy_part", sourceFileId=source["fileId"], largeFileId=file_id, partNumber=1, range="bytes=1-5"
    )
    assert (copied["contentSha1"], copied["contentLength"]) == (sha1(b"12345"), 5)
    assert client.put_part(file_id, 10_001, b"x").status == 400
    assert client.put_part(file_id, 3, b"x", {"X-Bz-Content-Sha1": sha1(b"y")}).error == (400, "bad_request")
    page = client.ok("b2_list_parts", fileId=file_id, maxPartCount=1)
    assert ([p["partNumber"] for p in page["parts"]], page["nextPartNumber"]) == ([1], 2)
    unfinished = client.ok("b2_list_unfinished_large_files", bucketId=bucket_id, maxFileCount=100)
    assert ([f["fileId"] for f in unfinished["files"]], unfinished["nextFileId"]) == ([file_id], None)
    assert client.call("b2_list_unfinished_large_files", bucketId=bucket_id, maxFileCount=101).status == 400
    sha1s = [sha1(b"12345"), sha1(b"67")]
    done = client.ok("b2_finish_large_file", fileId=file_id, partSha1Array=sha1s)
    assert (done["action"], done["contentLength"], done["contentSha1"]) == ("upload", 7, "none")
    assert client.call("b2_finish_large_file", fileId=file_id, partSha1Array=sha1s).status == 400
    reply = client.get("/file/some-bucket/n.txt")
    assert (reply.body, reply.headers["x-bz-content-sha1"]) == (b"1234567", "none")


def test_cancel(client: Client, bucket_id: str) -> None:
    large = client.ok("b2_start_large_file", bucketId=bucket_id, fileName="n", contentType="a/b")
    assert client.ok("b2_cancel_large_file", fileId=large["fileId"])["fileName"] == "n"
    assert client.call("b2_cancel_large_file", fileId=large["fileId"]).status == 400
    assert client.call("b2_get_upload_part_url", fileId=large["fileId"]).status == 400


def test_an_upload_token_is_for_its_bucket_and_carries_one_at_a_time(
    client: Client, server: EmulatorServer, bucket_id: str
) -> None:
    other = client.create_bucket("other-bucket")["bucketId"]
    one = client.ok("b2_get_upload_url", bucketId=bucket_id)
    headers = {
        "X-Bz-File-Name": "n",
        "Content-Type": "a/b",
        "X-Bz-Content-Sha1": sha1(b"xy"),
        "Authorization": one["authorizationToken"],
    }
    wrong = one["uploadUrl"].replace(bucket_id, other)
    assert client.send("POST", wrong, b"xy", headers).error == (401, "bad_auth_token")
    slow = Client(server)
    slow.connection.putrequest("POST", one["uploadUrl"].removeprefix(server.url))
    for name, value in {**headers, "Content-Length": "2"}.items():
        slow.connection.putheader(name, value)
    slow.connection.endheaders(b"x")
    while server.counts.snapshot()["bytes_in"] < 1:
        client.ok("b2_get_upload_url", bucketId=bucket_id)
    reply = client.send("POST", one["uploadUrl"], b"xy", headers)
    assert reply.error == (400, "auth_token_limit")
    assert reply.json["message"] == f"more than one upload using auth token {one['authorizationToken']}"
    slow.connection.send(b"y")
    assert slow.connection.getresponse().status == 200
    slow.close()
    assert client.send("POST", one["uploadUrl"], b"xy", headers).status == 200


def test_notification_rules(client: Client, bucket_id: str) -> None:
    rule = {
        "name": "r",
        "eventTypes": ["b2:ObjectCreated:*"],
        "isEnabled": True,
        "objectNamePrefix": "",
        "targetConfiguration": {"targetType": "webhook", "url": "https://example.com"},
    }
    path = f"/b2api/v4/b2_get_bucket_notification_rules?bucketId={bucket_id}"
    assert client.get(path).json == {"bucketId": bucket_id, "eventNotificationRules": []}
    client.ok("b2_set_bucket_notification_rules", bucketId=bucket_id, eventNotificationRules=[rule])
    (kept,) = client.get(path).json["eventNotificationRules"]
    assert {**rule, "isSuspended": False}.items() <= kept.items()
    for types, code in (
        ([], "event_types_empty"),
        (["b2:Nonsense:*"], "event_type_invalid"),
        (["b2:ObjectCreated:*", "b2:ObjectDeleted:*"], "event_type_categories"),
        (["b2:ObjectCreated:*", "b2:ObjectCreated:Copy"], "event_type_overlap"),
    ):
        bad = [{**rule, "eventTypes": types}]
        reply = client.call(
            "b2_set_bucket_notification_rules", bucketId=bucket_id, eventNotificationRules=bad
        )
        assert reply.error == (400, code)
    webhook = {"targetType": "webhook", "url": "https://example.com"}
    nothing = {"maxEventsPerBatch": None, "targetConfiguration": {**webhook, "customHeaders": None}}
    client.ok(
        "b2_set_bucket_notification_rules", bucketId=bucket_id, eventNotificationRules=[{**rule, **nothing}]
    )


@pytest.mark.parametrize(
    "rule",
    [
        None,
        "text",
        {"name": 7},
        {"eventTypes": "b2:ObjectCreated:*"},
        {"eventTypes": [7]},
        {"eventTypes": [["b2:ObjectCreated:*"]]},
        {"maxEventsPerBatch": "7"},
        {"maxEventsPerBatch": 51},
        {"targetConfiguration": "webhook"},
        {"targetConfiguration": {"targetType": "webhook", "url": 7}},
        {
            "targetConfiguration": {
                "targetType": "webhook",
                "url": "https://example.com",
                "hmacSha256SigningSecret": "x" * 31,
            }
        },
    ],
)
def test_bad_notification_rules(client: Client, bucket_id: str, rule: Any) -> None:
    good = {
        "name": "r",
        "eventTypes": ["b2:ObjectCreated:*"],
        "targetConfiguration": {"targetType": "webhook", "url": "https://example.com"},
    }
    bad = {**good, **rule} if isinstance(rule, dict) else rule
    reply = client.call("b2_set_bucket_notification_rules", bucketId=bucket_id, eventNotificationRules=[bad])
    assert reply.status == 400


@pytest.mark.parametrize(
    "rule",
    [
        None,
        {"corsRuleName": 7},
        {"allowedOrigins": None},
        {"allowedOrigins": "https://example.com"},
        {"allowedOperations": 7},
        {"allowedOperations": [["s3_get"]]},
        {"allowedOperations": ["b2_nonsense"]},
        {"allowedHeaders": "range"},
        {"maxAgeSeconds": "7"},
        {"maxAgeSeconds": 86_401},
    ],
)
def test_bad_cors_rules(client: Client, bucket_id: str, rule: Any) -> None:
    good = {
        "corsRuleName": "any",
        "allowedOrigins": ["https://example.com"],
        "allowedOperations": ["s3_get"],
        "maxAgeSeconds": None,
    }
    change = {"accountId": client.account_id, "bucketId": bucket_id}
    client.ok("b2_update_bucket", **change, corsRules=[good])
    bad = {**good, **rule} if isinstance(rule, dict) else rule
    assert client.call("b2_update_bucket", **change, corsRules=[bad]).status == 400

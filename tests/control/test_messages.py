from __future__ import annotations

import json

import attrs
import pytest

from b2mount.control.messages import (
    FlushRequest,
    LeaveRequest,
    Request,
    StatusRequest,
    UrlRequest,
    decode_progress,
    decode_reply,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
    status_from_json,
    status_to_json,
    warm_from_json,
)
from b2mount.errors import B2MountError, InvalidArgument, NotFound, OverQuota
from b2mount.filesystem.status import BudgetStatus
from tests.control.fake_mount import FakeMount, pending


@pytest.mark.parametrize(
    "request_", [StatusRequest(), FlushRequest(), FlushRequest("a/ü"), UrlRequest("f", 60), LeaveRequest()]
)
def test_request_survives_the_line(request_: Request) -> None:
    line = encode_request(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"status\n",
        b"[]\n",
        b"7\n",
        b'{"request": "format"}\n',
        b'{"request": ["status"]}\n',
        b'{"request": "flush", "path": 7}\n',
        b'{"request": "refresh", "path": 7}\n',
        b'{"request": "url"}\n',
        b'{"request": "url", "path": "a", "expires": "1d"}\n',
        b'{"request": "status", "more": 1}\n',
        b"\xff\xfe\n",
        b"[" * 3000,
    ],
)
def test_nonsense_is_no_request(line: bytes) -> None:
    with pytest.raises(InvalidArgument):
        decode_request(line)


def test_reply_brings_the_value_or_the_error() -> None:
    assert decode_reply(encode_reply({"a": [1]})) == {"a": [1]}
    with pytest.raises(OverQuota, match="cap reached"):
        decode_reply(encode_error(OverQuota("cap reached")))
    with pytest.raises(NotFound):
        decode_reply(encode_error(NotFound("x")))


@pytest.mark.parametrize("kind", ["Unheard", "annotations", "B2MountError"])
def test_error_of_a_kind_unknown_here(kind: str) -> None:
    with pytest.raises(B2MountError, match="what happened"):
        decode_reply(json.dumps({"error": kind, "message": "what happened"}).encode())


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b"{}\n", b"7\n", b"[" * 3000])
def test_nonsense_is_no_reply(line: bytes) -> None:
    assert decode_progress(line) is None
    with pytest.raises(B2MountError, match="makes no sense"):
        decode_reply(line)


def test_status_survives_json() -> None:
    mount = FakeMount(unsent=(pending("a", state="failed", reason="cap"), pending("b")))
    status = mount.status()
    assert status_from_json(json.loads(json.dumps(status_to_json(status)))) == status
    mount.budget = BudgetStatus("$0.10/day", 0.1, "day", 0.13, True)
    status = mount.status()
    assert status_from_json(json.loads(json.dumps(status_to_json(status)))) == status


def test_status_of_a_mount_of_another_version() -> None:
    status = FakeMount(unsent=(pending("a"),)).status()
    fields = status_to_json(status)
    newer = {**fields, "invented_later": 1, "today": {**fields["today"], "invented_later": 1}}
    assert status_from_json(json.loads(json.dumps(newer))) == status
    older = {name: value for name, value in fields.items() if name not in ("budget", "free_calls_left")}
    assert status_from_json(older) == attrs.evolve(status, free_calls_left={})
    with pytest.raises(B2MountError, match="another version"):
        status_from_json({"source": "b2://bucket"})
    for fields in ({"files": 1}, {"failed": 7}):
        with pytest.raises(B2MountError, match="another version"):
            warm_from_json(fields)

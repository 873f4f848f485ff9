"""What comes through the control socket, both ways: a client's requests, a mount's replies."""

from __future__ import annotations

import json
from typing import Final

import attrs
import trio
import trio.testing

from b2mount.control.messages import (
    REQUESTS,
    decode_progress,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    status_from_json,
    status_to_json,
    warm_from_json,
)
from b2mount.control.server import ControlServer
from b2mount.errors import B2MountError, InvalidArgument
from b2mount.filesystem.status import WarmStatus
from tests.control.fake_mount import FakeMount, pending
from tests.fuzz import hostile
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, may_raise, texts, throws

STATUS: Final = json.loads(json.dumps(status_to_json(FakeMount(unsent=(pending("a"),)).status())))
WARM: Final = json.loads(json.dumps(attrs.asdict(WarmStatus(3, 3, failed=()))))


def request(data: bytes) -> None:
    """A line that is none of ours is InvalidArgument; one that is says the same again."""
    found = may_raise(lambda: decode_request(data), InvalidArgument)
    if found is not None:
        assert decode_request(encode_request(found)) == found  # type: ignore[arg-type]  # it is a Request


@attrs.define
class Line:
    """A connection on which one request comes, in pieces."""

    pieces: list[bytes]
    sent: bytes = b""

    async def receive_some(self, _most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data


def conversation(data: bytes) -> None:
    """What the server answers is one JSON object a line, whatever it was asked."""
    choices = Choices(data)
    kind = choices.of(list(REQUESTS))
    asked = {"request": kind, "path": "a", "source": "a", "target": "b", "recursive": True, "into": False}
    line = hostile.as_json(choices, hostile.spoiled(choices, asked)) + b"\n" * choices.below(2)
    stream = Line([line[:5], line[5:]])

    async def main() -> None:
        mount = FakeMount()
        mount.sent.set()
        server = ControlServer(mount, mount.mountpoint, mount.request_unmount)
        with trio.fail_after(100):
            try:
                asked = decode_request(line)
                answer = encode_reply(await server._carry_out(asked, stream))  # type: ignore[arg-type]  # as much of a stream as is used
            except B2MountError:
                return
            except trio.BrokenResourceError:
                return
        for reply in (stream.sent + answer).splitlines():
            assert json.loads(reply).keys() <= {"ok", "progress"}

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def reply(data: bytes) -> None:
    """What a mount of another version, or something else on the socket, may answer."""
    choices = Choices(data)
    document = choices.of(
        ({"ok": STATUS}, {"ok": WARM}, {"error": "NotFound", "message": "m"}, {"progress": WARM})
    )
    line = hostile.as_json(choices, hostile.spoiled(choices, document))
    decode_progress(line)
    fields = may_raise(lambda: decode_reply(line), B2MountError)
    may_raise(lambda: status_from_json(fields), B2MountError)  # type: ignore[arg-type]  # whatever it is
    may_raise(lambda: warm_from_json(fields), B2MountError)  # type: ignore[arg-type]  # whatever it is


TARGETS: Final = (
    Target(
        "request",
        request,
        texts(
            '{"request": "url", "path": "a", "expires": 5}',
            '{"request": "restore", "path": "a", "version_id": "x", "moment_ms": null}',
            "[" * 3000,
            '{"request": "url", "path": "\\ud800"}',
        ),
        tuple(REQUESTS),
    ),
    Target("conversation", conversation, throws("conversation", 20, 100)),
    Target("reply", reply, throws("reply", 20, 100)),
)

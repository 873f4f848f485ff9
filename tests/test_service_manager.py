"""What a service manager hears, on a socket of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from b2mount.service_manager import AHEAD, EVERY, ServiceManager

Words = list[str]


class Listener:
    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> Words:
        found: Words = []
        while True:
            try:
                found += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return found


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    with made.socket:
        yield made


async def test_ready_then_nothing_until_it_stops(
    tmp_path: Path, listener: Listener, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    nursery.start_soon(manager.run, lambda: "3 files", 100)
    manager.ready("mounted")
    await trio.sleep(1000)
    assert listener.heard() == ["READY=1", "STATUS=mounted"]
    manager.stopping()
    manager.stopping()
    await trio.sleep(EVERY / 2)
    assert listener.heard() == ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(AHEAD)}000000", "STATUS=3 files"]
    await trio.sleep(EVERY)
    assert listener.heard() == [f"EXTEND_TIMEOUT_USEC={int(AHEAD)}000000", "STATUS=3 files"]


async def test_the_time_that_it_asks_for_has_an_end(
    tmp_path: Path, listener: Listener, autojump_clock: MockClock
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    manager.stopping()
    begun = trio.current_time()
    await manager.run(lambda: "hanging", 30)
    assert trio.current_time() - begun == 30
    assert EVERY < AHEAD  # the next word comes before the time of the last is over
    assert len(listener.heard()) == 1 + 2 * 30 / EVERY  # few enough for the socket's queue


def test_an_abstract_address(tmp_path: Path) -> None:
    address = f"@{tmp_path}"
    listener = Listener(address)
    with listener.socket:
        ServiceManager(address).ready("up")
        assert listener.heard() == ["READY=1", "STATUS=up"]


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "relative" * 40])
async def test_nobody_listens(address: str | None, autojump_clock: MockClock) -> None:
    manager = ServiceManager(address)
    manager.ready("up")
    manager.stopping()
    await manager.run(lambda: "left", 10)

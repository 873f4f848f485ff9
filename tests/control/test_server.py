from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from b2mount.control import client as client_module
from b2mount.control import server as server_module
from b2mount.control.client import (
    ControlClient,
    NotAnswering,
    client_at,
    reachable_mounts,
    remove_dead_sockets,
)
from b2mount.control.messages import MAX_REQUEST, StatusRequest, encode_request
from b2mount.control.places import MountEntry, runtime_dir, socket_name
from b2mount.control.server import PEER, ControlServer
from b2mount.errors import AccessDenied, B2MountError, NotFound
from tests.control.fake_mount import FakeMount, pending, refused

in_thread = trio.to_thread.run_sync


@asynccontextmanager
async def serving(mount: FakeMount) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        control = ControlServer(mount, mount.mountpoint, mount.request_unmount)
        yield await nursery.start(control.run)
        nursery.cancel_scope.cancel()


async def exchange(path: Path, sent: bytes) -> bytes:
    """What the server answers to raw bytes, until it closes."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        stream = await trio.open_unix_socket(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    async with stream:
        await stream.send_all(sent)
        return b"".join([chunk async for chunk in stream])


def leave_dead_socket(path: Path) -> None:
    """As a server that was killed leaves it, however long the path is."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


async def test_status_flush_and_url_by_another_process_way() -> None:
    mount = FakeMount(unsent=(pending("a"),))
    mount.sent.set()
    async with serving(mount) as path:
        client = client_at(mount.mountpoint)
        assert client.path == path
        assert await in_thread(client.status) == mount.status()
        call = client.flush("a/b")
        assert await in_thread(call.wait, 10)
        assert call.result() is None
        assert mount.flushed == ["a/b"]
        assert (await in_thread(client.url, "f", 60)).endswith("/f?60")
        await in_thread(client.leave)
        assert mount.left


async def test_a_flush_under_way_blocks_no_status() -> None:
    mount = FakeMount(unsent=(pending("a"),))
    async with serving(mount):
        client = client_at(mount.mountpoint)
        call = client.flush(None)
        assert (await in_thread(client.status)).pending == mount.unsent
        assert not call.wait(0)
        mount.sent.set()
        assert await in_thread(call.wait, 10)
        call.result()
        assert (await in_thread(client.status)).pending == ()


async def test_errors_keep_their_kind() -> None:
    mount = FakeMount(failure=refused())
    mount.sent.set()
    async with serving(mount):
        client = client_at(mount.mountpoint)
        with pytest.raises(NotFound, match="photos/missing"):
            await in_thread(client.url, "missing", None)
        call = client.flush(None)
        await in_thread(call.wait, 10)
        with pytest.raises(B2MountError, match="refused"):
            call.result()


async def test_a_fault_answers_and_the_server_lives(expect_warning: Callable[[str], None]) -> None:
    expect_warning("a request on the control socket failed")
    mount = FakeMount()
    async with serving(mount):
        client = client_at(mount.mountpoint)
        with pytest.raises(B2MountError, match="its log says more"):
            await in_thread(client.url, "broken", None)
        await in_thread(client.status)


async def test_a_full_staging_disk_is_named() -> None:
    mount = FakeMount(failure=OSError(28, "No space left on device"))
    mount.sent.set()
    async with serving(mount):
        call = client_at(mount.mountpoint).flush(None)
        await in_thread(call.wait, 10)
        with pytest.raises(B2MountError, match="No space left"):
            call.result()


async def test_nonsense_is_answered() -> None:
    async with serving(FakeMount()) as path:
        assert b"InvalidArgument" in await exchange(path, b"GET / HTTP/1.1\r\n\n")


async def test_an_endless_request_is_cut_off() -> None:
    async with serving(FakeMount()) as path:
        assert b"too long" in await exchange(path, b"x" * (MAX_REQUEST + 1))


async def test_a_client_that_hangs_is_dropped_and_blocks_nobody(autojump_clock: object) -> None:
    mount = FakeMount()
    async with serving(mount) as path:
        assert b"did not arrive in time" in await exchange(path, b'{"request":')
        assert b'"ok"' in await exchange(path, encode_request(StatusRequest()))


async def test_a_client_that_goes_away_hurts_nobody() -> None:
    mount = FakeMount(unsent=(pending("a"),))
    async with serving(mount) as path:
        call = client_at(mount.mountpoint).flush(None)
        while not mount.flushed:
            await trio.lowlevel.checkpoint()
        call.close()
        mount.sent.set()
        assert b'"ok"' in await exchange(path, encode_request(StatusRequest()))


async def test_the_socket_is_private_and_goes_with_the_server() -> None:
    async with serving(FakeMount()) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


async def test_a_socket_left_by_a_dead_mount_is_replaced() -> None:
    mount = FakeMount()
    async with serving(mount) as path:
        pass
    leave_dead_socket(path)
    with pytest.raises(NotAnswering):
        client_at(mount.mountpoint).status()
    assert reachable_mounts() == []
    assert not client_at(mount.mountpoint).path.with_suffix(".new").exists()
    async with serving(mount):
        assert (await in_thread(client_at(mount.mountpoint).status)).source == "b2://bucket/photos"


async def test_sockets_of_dead_mounts_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of mounts that answer, nor of one that is in the mount table still, which b2mount clears."""
    directory = runtime_dir()
    for mountpoint in ("/killed", "/in/the/table"):
        leave_dead_socket(directory / f"{socket_name(mountpoint)}.sock")
    entry = MountEntry("/in/the/table", "fuse.b2mount", "b2://bucket")
    monkeypatch.setattr(client_module, "mount_table", lambda: [entry])
    async with serving(FakeMount()) as path:
        assert await in_thread(remove_dead_sockets) == [directory / f"{socket_name('/killed')}.sock"]
        left = {each.name for each in directory.glob("*.sock")}
        assert left == {path.name, f"{socket_name('/in/the/table')}.sock"}
        assert await in_thread(remove_dead_sockets) == []


@pytest.mark.parametrize(("uid", "allowed"), [(os.getuid(), True), (0, True), (4711, False)])
def test_only_the_user_and_root_are_answered(uid: int, allowed: bool) -> None:
    class Peer:
        def getsockopt(self, *_: object) -> bytes:
            return PEER.pack(1, uid, 1)

    class Stream:
        socket = Peer()

    check: Callable[[object], None] = server_module.check_peer  # type: ignore[assignment]  # put in its place for the test
    if allowed:
        check(Stream())
    else:
        with pytest.raises(AccessDenied, match="another user"):
            check(Stream())


async def test_a_socket_path_of_any_length_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*["directory" * 5] * 4)
    monkeypatch.setattr("b2mount.control.places.SYSTEM_RUNTIME_DIR", deep)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    mount = FakeMount()
    async with serving(mount) as path:
        assert len(str(path)) > 200
        await in_thread(client_at(mount.mountpoint).status)


async def test_the_process_can_be_waited_for() -> None:
    mount = FakeMount()
    async with serving(mount):
        descriptor = await in_thread(client_at(mount.mountpoint).process)
    assert descriptor is not None
    assert os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[pidfd]"
    os.close(descriptor)


async def test_an_unfinished_answer_is_no_answer() -> None:
    mount = FakeMount()
    async with serving(mount):
        call = client_at(mount.mountpoint).flush(None)
        while not mount.flushed:
            await trio.lowlevel.checkpoint()
    assert await in_thread(call.wait, 10)
    with pytest.raises(NotAnswering, match="ended before"):
        call.result()


def test_a_mount_that_ends_without_reading_the_question(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        call = ControlClient(tmp_path / "s").flush(None)
        listener.accept()[0].close()  # resets the connection, for something was left to read
    assert call.wait(10)
    with pytest.raises(NotAnswering, match="ended before"):
        call.result()


def test_no_socket_is_told() -> None:
    with pytest.raises(NotAnswering):
        client_at("/mnt/none")
    with pytest.raises(NotAnswering):
        ControlClient(Path("/nonexistent/x.sock")).status()

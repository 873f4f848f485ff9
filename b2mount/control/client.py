"""ControlClient: asks a running mount, from another process.

A mount is found by its mount point or by a path inside, through the mount table and the socket
directory; the mount itself is never touched, because it may hang.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from b2mount.control.messages import (
    CopyRequest,
    EvictRequest,
    FlushRequest,
    LeaveRequest,
    RefreshRequest,
    Request,
    RestoreRequest,
    StatusRequest,
    UndeleteRequest,
    UrlRequest,
    VersionsRequest,
    WarmRequest,
    decode_progress,
    decode_reply,
    encode_request,
    status_from_json,
    warm_from_json,
)
from b2mount.control.places import (
    absolute,
    known_sockets,
    locked,
    mount_at,
    mount_holding,
    mount_table,
    socket_name,
)
from b2mount.errors import B2MountError, MountPointUnusable
from b2mount.filesystem.status import EvictStatus, MountStatus, VersionStatus, WarmStatus

PATIENCE: Final = 10.0
"""Seconds that a mount has to answer what it can answer at once."""
SILENCE: Final = 600.0
"""Seconds that a mount may take to list a big tree, or to wait for an unreachable B2."""
PEER: Final = struct.Struct("3i")


class NotAnswering(MountPointUnusable):
    """The mount's process is gone, hangs, or belongs to somebody else."""


@attrs.define(eq=False)
class Call:
    """A request that is under way."""

    _socket: socket.socket
    _received: bytearray = attrs.field(factory=bytearray, init=False)

    def wait(self, seconds: float | None) -> bool:
        """Whether the reply is there, after at most so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return False
            try:
                chunk = self._socket.recv(1 << 16)
            except ConnectionError:  # the mount has ended
                chunk = b""
            self._received += chunk
            if not chunk or self._received.endswith(b"\n"):
                return True

    def lines(self, seconds: float) -> Iterator[bytes]:
        """What comes, line by line, until the mount hangs up. Raises NotAnswering when nothing has come
        for so long."""
        while True:
            *whole, rest = self._received.split(b"\n")
            self._received = rest
            yield from (bytes(line) for line in whole)
            if not select.select([self._socket], [], [], seconds)[0]:
                raise NotAnswering("the mount does not answer: its process hangs")
            try:
                chunk = self._socket.recv(1 << 16)
            except ConnectionError:  # the mount has ended
                chunk = b""
            if not chunk:
                return
            self._received += chunk

    def result(self) -> Any:
        """What came out. Raises the mount's error, or NotAnswering if it died meanwhile."""
        self.close()
        if not self._received:
            raise NotAnswering("the mount ended before it had answered")
        return decode_reply(bytes(self._received))

    def close(self) -> None:
        """Stop waiting; what was asked for may still happen."""
        self._socket.close()


@attrs.frozen
class ControlClient:
    """Asks the mount that listens at `path`."""

    path: Path

    def status(self) -> MountStatus:
        """The mount at this moment."""
        return status_from_json(self._ask(StatusRequest(), PATIENCE))

    def flush(self, path: str | None) -> Call:
        """Begin to flush everything or one path; the call is done when it is in B2."""
        return self.call(FlushRequest(path))

    def url(self, path: str, expires: int | None) -> str:
        """The URL of the file at `path`."""
        return str(self._ask(UrlRequest(path, expires), 120))

    def warm(self, path: str) -> Iterator[WarmStatus]:
        """Fetch what is at `path` into the cache: how far it is, now and then, and last how it ended.
        It ends too when the caller stops listening. Raises the mount's error."""
        return self._followed(WarmRequest(path))

    def copy(self, source: str, target: str, *, recursive: bool, into: bool) -> Iterator[WarmStatus]:
        """Copy what is at `source` inside B2; otherwise as `warm`."""
        return self._followed(CopyRequest(source, target, recursive, into))

    def _followed(self, request: Request) -> Iterator[WarmStatus]:
        call = self.call(request)
        try:
            for line in call.lines(SILENCE):
                progress = decode_progress(line)
                yield warm_from_json(decode_reply(line) if progress is None else progress)
                if progress is None:
                    return
            raise NotAnswering("the mount ended before it was done")
        finally:
            call.close()

    def evict(self, path: str) -> EvictStatus:
        """Drop what is at `path` from the cache."""
        return EvictStatus(**self._ask(EvictRequest(path), SILENCE))

    def refresh(self, path: str | None) -> None:
        """Have B2 asked again for the names at and below one path, or for all."""
        self._ask(RefreshRequest(path), SILENCE)

    def versions(self, path: str) -> list[VersionStatus]:
        """The versions of the file at `path`, newest first."""
        return [VersionStatus(**one) for one in self._ask(VersionsRequest(path), SILENCE)]

    def restore(self, path: str, version_id: str | None, moment_ms: int | None) -> VersionStatus:
        """Make a version of the file at `path` current again, and say which."""
        return VersionStatus(**self._ask(RestoreRequest(path, version_id, moment_ms), SILENCE))

    def undelete(self, path: str) -> int:
        """Bring back the hidden files at and below `path`, and say how many."""
        return int(self._ask(UndeleteRequest(path), SILENCE))

    def leave(self) -> None:
        """Let the mount end without waiting for its uploads."""
        self._ask(LeaveRequest(), PATIENCE)

    def process(self) -> int | None:
        """A descriptor that becomes readable when the mount's process has ended; the caller
        closes it. None where the process can't be seen from here."""
        with self._connect() as connected:
            pid, _, _ = PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
            try:
                return os.pidfd_open(pid) if pid else None
            except ProcessLookupError:
                return None

    def is_dead(self) -> bool:
        """Whether nobody listens any more."""
        try:
            self._connect().close()
        except NotAnswering as error:
            return isinstance(error.__cause__, ConnectionRefusedError)
        return False

    def call(self, request: Request) -> Call:
        """Send a request without waiting for the reply. Raises NotAnswering."""
        connected = self._connect()
        try:
            connected.sendall(encode_request(request))
        except OSError as error:
            connected.close()
            raise self._not_answering(error) from error
        return Call(connected)

    def _ask(self, request: Request, seconds: float) -> Any:
        call = self.call(request)
        try:
            if not call.wait(seconds):
                raise NotAnswering("the mount does not answer: its process hangs")
            return call.result()
        except OSError as error:
            raise self._not_answering(error) from error
        finally:
            call.close()

    def _connect(self) -> socket.socket:
        """Through the directory's descriptor, because the kernel takes 107 bytes at most."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.settimeout(PATIENCE)
        try:
            directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                connected.connect(f"/proc/self/fd/{directory}/{self.path.name}")
            finally:
                os.close(directory)
        except OSError as error:
            connected.close()
            raise self._not_answering(error) from error
        return connected

    def _not_answering(self, error: OSError) -> NotAnswering:
        if isinstance(error, PermissionError):
            return NotAnswering("the mount belongs to another user")
        if isinstance(error, TimeoutError):
            return NotAnswering("the mount does not answer: its process hangs")
        return NotAnswering("the mount's process has died: mounting again, or `b2mount umount`, clears it")


def client_at(mountpoint: str) -> ControlClient:
    """The client of the mount at an absolute mount point. Raises NotAnswering if there is no
    socket of it that this user may see."""
    name = f"{socket_name(mountpoint)}.sock"
    for path in known_sockets():
        if path.name == name:
            return ControlClient(path)
    raise NotAnswering(f"no process of yours answers for {mountpoint}: it has died or is another user's")


def find_mount(mountpoint: str) -> tuple[ControlClient, str]:
    """The client of the mount that is at `mountpoint`, or was until umount(8) took it away and still
    sends, and its absolute mount point.

    Raises MountPointUnusable if b2mount has mounted nothing there.
    """
    path = absolute(mountpoint)
    entry = mount_at(path)
    if entry is None and (client := leaving_mount(path)) is not None:
        return client, path
    if entry is None or not entry.is_ours:
        raise MountPointUnusable(f"{path} is not where b2mount has mounted anything: see `b2mount status`")
    return client_at(path), path


def remove_dead_sockets() -> list[Path]:
    """Take away, and name, the sockets of mounts that were killed and are in the mount table no more. (As
    long as one is, its socket tells a mount that died from one of another user.)"""
    known = {f"{socket_name(entry.mountpoint)}.sock" for entry in mount_table() if entry.is_ours}
    removed = []
    for path in known_sockets():
        if path.name not in known and ControlClient(path).is_dead():
            with suppress(OSError), locked(path.parent):  # a new mount may have put one there meanwhile
                if ControlClient(path).is_dead():
                    path.unlink()
                    removed.append(path)
    return removed


def leaving_mount(mountpoint: str) -> ControlClient | None:
    """The client of a mount that answers for this absolute path, whatever the mount table says."""
    try:
        client = client_at(mountpoint)
        client.status()
    except NotAnswering:
        return None
    return client


def find_path(path: str) -> tuple[ControlClient, str]:
    """The client of the mount that holds `path`, and the path below its mount point.

    Raises MountPointUnusable if no mount of ours holds it.
    """
    whole = absolute(path)
    entry = mount_holding(whole)
    if entry is None or not entry.is_ours:
        raise MountPointUnusable(f"{whole} is not inside anything that b2mount has mounted")
    return client_at(entry.mountpoint), whole.removeprefix(entry.mountpoint).lstrip("/")


def reachable_mounts() -> list[ControlClient]:
    """A client for every mount that answers, be it of another version, which its status() says."""
    found = []
    for path in known_sockets():
        client = ControlClient(path)
        try:
            client.status()
        except NotAnswering:
            continue
        except B2MountError:
            pass
        found.append(client)
    return found

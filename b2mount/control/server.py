"""ControlServer: the door through which `b2mount status`, `flush`, `url`, `warm`, `evict`, `refresh`,
`cp`, `versions`, `restore`, `undelete` and `umount` come.

Invariants: only the mount's own user and root are answered; a client that hangs, talks nonsense
or goes away hurts nobody but itself; the socket disappears with the server.

Must not know: what the requests mean inside the file system.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

from b2mount.control.messages import (
    MAX_REQUEST,
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
    decode_request,
    encode_error,
    encode_progress,
    encode_reply,
    status_to_json,
)
from b2mount.control.places import locked, runtime_dir, socket_name
from b2mount.errors import AccessDenied, B2MountError, InvalidArgument
from b2mount.filesystem.status import EvictStatus, MountStatus, VersionStatus, WarmStatus

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds that a client has for sending its request, and for taking the reply."""
TELL_EVERY: Final = 0.2
"""Seconds between two lines of progress."""
PEER: Final = struct.Struct("3i")

Tell = Callable[[WarmStatus], None]


class Controlled(Protocol):
    """What a file system must offer to be asked about. Paths lie below the mount point, without
    a leading slash; the empty path is the mount itself."""

    def status(self) -> MountStatus:
        """The mount at this moment."""
        ...

    async def flush_path(self, path: str | None) -> None:
        """Returns when everything, or what is at `path`, is in B2; raises the first error."""
        ...

    async def url(self, path: str, expires: int | None) -> str:
        """The URL of a file."""
        ...

    async def warm(self, path: str, tell: Callable[[WarmStatus], None]) -> WarmStatus:
        """Fetches what is at `path` into the cache."""
        ...

    async def copy(
        self, source: str, target: str, recursive: bool, into: bool, tell: Callable[[WarmStatus], None]
    ) -> WarmStatus:
        """Copies a file or tree inside B2."""
        ...

    async def evict(self, path: str) -> EvictStatus:
        """Drops what is at `path` from the cache."""
        ...

    async def refresh(self, path: str | None) -> None:
        """Forgets the names at and below `path`, or all; the kernel too."""
        ...

    async def versions(self, path: str) -> tuple[VersionStatus, ...]:
        """The versions of a file, newest first, whether it is hidden or not."""
        ...

    async def restore(self, path: str, version_id: str | None, moment_ms: int | None) -> VersionStatus:
        """Makes a version of a file current again: the one with the id, the one of that moment, or the one
        before the current."""
        ...

    async def undelete(self, path: str) -> int:
        """Brings back the hidden files at and below `path`; returns how many."""
        ...


@attrs.define(eq=False)
class ControlServer:
    """Answers requests about one mount on its unix socket."""

    filesystem: Controlled
    mountpoint: str
    request_unmount: Callable[[], None]
    """Called when the mount is to end without waiting for uploads. Returns at once."""

    async def run(self, *, task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `nursery.start` returns the socket's path when it listens."""
        path = runtime_dir() / f"{socket_name(self.mountpoint)}.sock"
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen_on(path)))
        try:
            task_status.started(path)
            await trio.serve_listeners(self._serve, [listener])
        finally:
            path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                reply = await self._reply(stream)
                with trio.move_on_after(PATIENCE):
                    await stream.send_all(reply)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a client of the control socket went away")

    async def _reply(self, stream: trio.SocketStream) -> bytes:
        try:
            check_peer(stream)
            return encode_reply(await self._carry_out(decode_request(await _read_line(stream)), stream))
        except B2MountError as error:
            return encode_error(error)
        except OSError as error:  # of the staging disk
            return encode_error(B2MountError(error.strerror or str(error)))
        except trio.BrokenResourceError:
            raise
        except Exception:  # the mount must outlive whatever a request brings to light
            log.exception("a request on the control socket failed")
            return encode_error(B2MountError("the mount failed to do this: its log says more"))

    async def _carry_out(self, request: Request, stream: trio.SocketStream) -> object:
        match request:
            case WarmRequest(path):
                return await self._followed(partial(self.filesystem.warm, path), stream)
            case CopyRequest(source, target, recursive, into):
                work = partial(self.filesystem.copy, source, target, recursive, into)
                return await self._followed(work, stream)
            case EvictRequest(path):
                return attrs.asdict(await self.filesystem.evict(path))
            case StatusRequest():
                return status_to_json(self.filesystem.status())
            case UrlRequest(path, expires):
                return await self.filesystem.url(path, expires)
            case FlushRequest(path):
                await self.filesystem.flush_path(path)
            case VersionsRequest(path):
                return [attrs.asdict(version) for version in await self.filesystem.versions(path)]
            case RestoreRequest(path, version_id, moment_ms):
                return attrs.asdict(await self.filesystem.restore(path, version_id, moment_ms))
            case UndeleteRequest(path):
                return await self.filesystem.undelete(path)
            case RefreshRequest(path):
                await self.filesystem.refresh(path)
            case LeaveRequest():
                self.request_unmount()
        return None

    async def _followed(
        self,
        begin: Callable[[Tell], Awaitable[WarmStatus]],
        stream: trio.SocketStream,
    ) -> object:
        """Raises BrokenResourceError when the client has gone away; nothing goes on any more then."""
        latest: list[WarmStatus] = []
        outcome: list[WarmStatus | Exception] = []

        def hear(status: WarmStatus) -> None:
            latest[:] = [status]

        async def work(scope: trio.CancelScope) -> None:
            try:
                outcome.append(await begin(hear))
            except Exception as error:
                outcome.append(error)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, nursery.cancel_scope)
            nursery.start_soon(_tell, latest, stream, nursery.cancel_scope)
            nursery.start_soon(_wait_until_gone, stream, nursery.cancel_scope)
        if not outcome:
            raise trio.BrokenResourceError("the client went away")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return attrs.asdict(outcome[0])


async def _tell(latest: list[WarmStatus], stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Send what is new now and then; a line that was begun is ended, for the reply follows it."""
    try:
        while True:
            if latest:
                line = encode_progress(attrs.asdict(latest[-1]))
                latest.clear()
                with trio.fail_after(PATIENCE, shield=True):
                    await stream.send_all(line)
            await trio.sleep(TELL_EVERY)
    except (trio.BrokenResourceError, trio.TooSlowError):
        scope.cancel()


async def _wait_until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(4096):
            pass
    scope.cancel()


def listen_on(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600, in place of one that a dead mount has left.

    It is bound through the directory's descriptor, because the kernel takes 107 bytes at most; and under
    another name until it listens, for one that does not is taken for that of a dead mount.
    """
    begun = path.with_suffix(".new")
    begun.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with locked(path.parent) as directory:
            listening.bind(f"/proc/self/fd/{directory}/{begun.name}")
            listening.listen(16)
            begun.rename(path)
    finally:
        os.umask(before)
    return listening


def check_peer(stream: trio.SocketStream) -> None:
    """Raises AccessDenied unless the other side is this user or root."""
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    _, uid, _ = PEER.unpack(raw)
    if uid not in (0, os.getuid()):
        raise AccessDenied("this mount belongs to another user")


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = bytearray()
    with trio.move_on_after(PATIENCE):
        while not line.endswith(b"\n"):
            chunk = await stream.receive_some(4096)
            if not chunk:
                raise InvalidArgument("the request ended early")
            line += chunk
            if len(line) > MAX_REQUEST:
                raise InvalidArgument("the request is too long")
        return bytes(line)
    raise InvalidArgument("the request did not arrive in time")

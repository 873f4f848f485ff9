"""b2mount umount: everything into B2, then unmount, then wait for the process to end.

Plain umount(8) works too, but returns before the mount has sent what is left.
"""

from __future__ import annotations

import os
import select
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Final

from b2mount.cli import wording
from b2mount.cli.flush_command import GLANCE, drain
from b2mount.cli.mount_point import is_dead, unmount
from b2mount.cli.progress import UploadProgress
from b2mount.control.client import ControlClient, NotAnswering, find_mount
from b2mount.control.places import absolute, mount_at
from b2mount.errors import UnsentData, UsageError
from b2mount.filesystem.status import PendingFile

LEAVING: Final = 30.0
"""Seconds that a process which need not wait for uploads has to end."""


def execute(arguments: Namespace) -> int:
    """Unmount, or say why not. What stays unsent is named, and kept for the next mount."""
    if arguments.now and arguments.timeout is not None:
        raise UsageError("--now and --timeout contradict each other")
    if _clear_if_dead(arguments.mountpoint):
        return 0
    client, mountpoint = find_mount(arguments.mountpoint)
    if mount_at(mountpoint) is None:
        return _let_end(client, arguments.timeout, now=arguments.now)
    client.status()
    os.chdir("/")  # lest this process be one that uses the mount
    if arguments.now:
        left = _leave_now(client, mountpoint)
    else:
        left = _leave_clean(client, mountpoint, arguments.timeout)
    if left:
        raise UnsentData(f"{wording.unsent(left)}; unmounted, the next mount sends it")
    return 0


def _clear_if_dead(given: str) -> bool:
    """Whether there was a mount whose process had died; it has been cleared then."""
    path = absolute(given)
    entry = mount_at(path)
    if entry is None or not entry.is_ours or not is_dead(path):
        return False
    unmount(path, lazily=True)
    print(
        f"b2mount: the mount on {path} was dead and is cleared; what it had not sent, the next mount sends",
        file=sys.stderr,
    )
    return True


def _let_end(client: ControlClient, timeout: float | None, *, now: bool) -> int:
    """Wait for a mount that umount(8) has taken away. Raises UnsentData, naming what is unsent."""
    pending: Sequence[PendingFile] = ()
    process = None
    try:
        pending = client.status().pending
        process = client.process()
        drain(client, None, timeout=0 if now else timeout)
    except UnsentData as error:
        raise UnsentData(f"{error}; unmounted already, and still being sent") from error
    except NotAnswering as error:
        if pending:
            raise UnsentData("the mount has ended meanwhile; the next mount sends what is left") from error
    _wait_for_end(client, process, time.monotonic() + LEAVING)
    return 0


def _leave_clean(client: ControlClient, mountpoint: str, timeout: float | None) -> Sequence[PendingFile]:
    """What was written while we were about to unmount, and could not be sent since."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        drain(client, None, timeout=timeout)
    except UnsentData as error:
        raise UnsentData(f"{error}; still mounted (--now unmounts all the same)") from error
    process = client.process()
    unmount(mountpoint)
    return _wait_for_end(client, process, deadline and max(deadline, time.monotonic() + LEAVING))


def _leave_now(client: ControlClient, mountpoint: str) -> Sequence[PendingFile]:
    """What was unsent when the mount was told not to wait for it."""
    process = client.process()
    unmount(mountpoint)
    left: Sequence[PendingFile] = ()
    try:
        left = client.status().pending
        client.leave()
    except NotAnswering:  # it had nothing to wait for
        pass
    _wait_for_end(client, process, time.monotonic() + LEAVING)
    return left


def _wait_for_end(
    client: ControlClient, process: int | None, deadline: float | None
) -> Sequence[PendingFile]:
    """What was pending at the last look. Raises UnsentData if the process is not over in time."""
    pending: Sequence[PendingFile] = ()
    if process is None:
        return pending
    try:
        with UploadProgress() as progress:
            while not select.select([process], [], [], GLANCE)[0]:
                pending = _pending(client)
                progress.show(pending)
                if deadline is not None and time.monotonic() >= deadline:
                    break
            else:
                return pending
    finally:
        os.close(process)
    raise UnsentData(f"{wording.unsent(pending)}; unmounted, and still being sent")


def _pending(client: ControlClient) -> Sequence[PendingFile]:
    try:
        return client.status().pending
    except NotAnswering:  # it is about to end
        return ()

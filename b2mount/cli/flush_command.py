"""b2mount flush: send what is unsent now, and wait for it. Also the waiting part of umount."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence

from b2mount.cli import wording
from b2mount.cli.progress import UploadProgress
from b2mount.control.client import Call, ControlClient, NotAnswering, find_path, reachable_mounts
from b2mount.errors import B2MountError, NotFound, UnsentData
from b2mount.filesystem.status import PendingFile

GLANCE = 0.2
"""Seconds between two looks at the progress."""


def execute(arguments: Namespace) -> int:
    """Returns when everything, or what is at PATH, is in B2."""
    if arguments.path is None:
        for client in reachable_mounts():
            drain(client, None)
        return 0
    client, path = find_path(arguments.path)
    try:
        drain(client, path or None)
    except NotFound as error:
        raise B2MountError(f"{arguments.path}: no such file or directory") from error
    return 0


def drain(client: ControlClient, path: str | None, *, timeout: float | None = None) -> None:
    """Wait, showing progress, until everything (or what is at `path`) of a mount is in B2.

    Raises UnsentData, naming what is not, when an upload failed or after `timeout` seconds;
    NotFound when there is nothing at `path`.
    """
    call = client.flush(path)
    try:
        _watch(call, client, path, timeout)
        call.result()
    except (NotFound, NotAnswering, UnsentData):
        raise
    except B2MountError as error:
        pending = _pending(client, path)
        raise UnsentData(wording.unsent(pending) if pending else str(error)) from error
    finally:
        call.close()


def _pending(client: ControlClient, path: str | None) -> Sequence[PendingFile]:
    """What is unsent of a mount, or of what is at or below `path` in it."""
    pending = client.status().pending
    if path is None:
        return pending
    return [file for file in pending if file.path == path or file.path.startswith(f"{path}/")]


def _watch(call: Call, client: ControlClient, path: str | None, timeout: float | None) -> None:
    """Show progress until the call is done; raises UnsentData after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with UploadProgress() as progress:
        while not call.wait(GLANCE):
            pending = _pending(client, path)
            progress.show(pending)
            if deadline is not None and time.monotonic() >= deadline:
                raise UnsentData(f"{wording.unsent(pending)}; given up after {timeout:g} s")

"""b2mount emulator: a local B2 in the foreground, until it is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
from argparse import Namespace
from pathlib import Path
from types import FrameType

from b2mount.emulator.errors import ApiError, DirectoryInUse
from b2mount.emulator.server import CREDENTIALS, EmulatorServer, serve
from b2mount.errors import B2MountError, UsageError


def execute(arguments: Namespace) -> int:
    """Serve until SIGINT or SIGTERM. The first line that it prints ends in its URL, and is printed
    when it listens."""
    data = Path(os.path.abspath(arguments.data))
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupt)

    def on_ready(server: EmulatorServer) -> None:
        known = {bucket.name for bucket in server.state.buckets.all()}
        for name in arguments.bucket:
            if name not in known:
                _create(server, name)
        print(f"a local B2 listens on {server.url}\n{_how_to(server, data)}", flush=True)

    try:
        with contextlib.suppress(KeyboardInterrupt):
            serve(data, arguments.port, on_ready=on_ready)
    except DirectoryInUse as error:
        raise B2MountError(f"another emulator has its data in {data}: end that, or choose another") from error
    except OSError as error:
        raise B2MountError(f"can't listen on port {arguments.port}: {error.strerror}") from error
    return 0


def _create(server: EmulatorServer, name: str) -> None:
    try:
        server.state.buckets.create(name, "allPrivate")
    except ApiError as error:
        raise UsageError(f"--bucket {name}: {error.message}") from error


def _how_to(server: EmulatorServer, data: Path) -> str:
    return (
        f"mount a bucket of it:  B2_ENVIRONMENT={server.url} b2mount mount BUCKET MOUNTPOINT "
        f"--credentials {data / CREDENTIALS}\n"
        f"use the b2 tool on it: export B2_ENVIRONMENT={server.url} "
        f"B2_APPLICATION_KEY_ID={server.key_id} B2_APPLICATION_KEY={server.application_key}"
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

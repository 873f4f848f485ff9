"""b2mount mount: check what can be checked, then run the mount, in the background unless told."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from b2mount.cli.background import run_in_background
from b2mount.cli.log_setup import leave_terminal, log_to_file, log_to_stderr
from b2mount.cli.mount_point import check_machine, check_mount_point
from b2mount.control.client import leaving_mount, remove_dead_sockets
from b2mount.control.places import absolute
from b2mount.errors import MountPointUnusable, UsageError
from b2mount.mount import run_mount
from b2mount.options import MountOptions, mount_options

PRIVATE: Final = 0o077
"""The umask of a mount's process: what is cached, staged and logged is nobody else's business."""


def execute(arguments: Namespace) -> int:
    """Returns when the mount is ready, or with --foreground when it has ended."""
    given = mount_options(arguments.source, arguments.mountpoint, arguments.settings)
    check_machine(allow_other=given.allow_other)
    options = attrs.evolve(given, mountpoint=absolute(given.mountpoint))
    check_mount_point(options.mountpoint)
    remove_dead_sockets()
    if leaving_mount(options.mountpoint) is not None:
        raise MountPointUnusable(
            f"{options.mountpoint} was unmounted, and its process still sends what was unsent: "
            f"`b2mount umount {options.mountpoint}` waits for it"
        )
    for path in (options.cache_dir, options.log_file):
        if path is not None and path.is_relative_to(Path(options.mountpoint)):
            raise UsageError(f"{path} lies below the mount point: cache and log must be elsewhere")
    if options.foreground:
        os.umask(PRIVATE)
        log_to_stderr(options)
        return run_mount(options, lambda: None)
    run_in_background(lambda on_ready: _run_detached(options, on_ready))
    return 0


def _run_detached(options: MountOptions, on_ready: Callable[[], None]) -> int:
    os.umask(PRIVATE)
    terminal = log_to_file(options)

    def ready() -> None:
        leave_terminal(terminal)
        on_ready()

    return run_mount(options, ready)

"""Is a directory fit to mount on, is this machine fit to mount, and taking a mount away.

A dead mount, whose process was killed, answers "Transport endpoint is not connected" to
everything; it is cleared here. Whatever might hang is asked in a child process, with a time-out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from b2mount.cli.packages import TO_RUN
from b2mount.control.client import NotAnswering, client_at
from b2mount.control.places import MountEntry, mount_at
from b2mount.errors import FuseMissing, MountPointUnusable, UsageError

DEVICE: Final = Path("/dev/fuse")
FUSE_CONFIG: Final = Path("/etc/fuse.conf")
PATIENCE: Final = 5.0
"""Seconds that a mount may take for a `stat` before it counts as hanging."""
DEAD: Final = "not connected"
"""What strerror says of a mount whose process has gone."""


def check_machine(*, allow_other: bool) -> None:
    """Raises FuseMissing, or UsageError if allow_other is not allowed here."""
    if not DEVICE.exists():
        raise FuseMissing(
            f"{DEVICE} is missing: load the kernel module with `modprobe fuse`; "
            "a container needs --device /dev/fuse --cap-add SYS_ADMIN"
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise FuseMissing(
            f"{DEVICE} can't be opened by this user ({error.strerror}): `chmod 666 {DEVICE}` as root, as "
            "udev has it; a container needs --device /dev/fuse"
        ) from error
    if os.getuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise FuseMissing(f"fusermount3 is missing: {TO_RUN}")
    if allow_other and not others_allowed():
        raise UsageError(f"allow-other needs the line user_allow_other in {FUSE_CONFIG}")


def others_allowed() -> bool:
    """Whether an ordinary user may let others into a mount."""
    try:
        lines = FUSE_CONFIG.read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def check_mount_point(path: str) -> None:
    """Raises MountPointUnusable unless `path` is an empty directory with nothing mounted on it
    by FUSE; a dead mount is cleared first."""
    while (entry := mount_at(path)) is not None and entry.is_fuse:
        _clear_if_dead(entry)
    check_directory(path)


def check_directory(path: str) -> None:
    """Raises MountPointUnusable unless `path` is an empty directory that this user may mount on."""
    try:
        with os.scandir(path) as names:
            empty = next(names, None) is None
    except FileNotFoundError:
        raise MountPointUnusable(f"{path} is not there: make it with `mkdir -p {path}`") from None
    except NotADirectoryError:
        raise MountPointUnusable(f"{path} is not a directory") from None
    except OSError as error:
        raise MountPointUnusable(f"{path} can't be used: {error.strerror}") from error
    if not empty:
        raise MountPointUnusable(
            f"{path} is not empty: choose an empty directory, a mount hides what is there"
        )
    if os.getuid() != 0 and not os.access(path, os.W_OK):
        raise MountPointUnusable(f"{path} is not yours to write to, which mounting needs")


def _clear_if_dead(entry: MountEntry) -> None:
    """Unmount a dead mount. Raises MountPointUnusable if it lives."""
    path = entry.mountpoint
    if entry.is_ours and answers(path):
        raise MountPointUnusable(
            f"{path} is already mounted ({entry.source}): `b2mount umount {path}` unmounts it"
        )
    if not is_dead(path):
        raise MountPointUnusable(
            f"{path} is already mounted ({entry.source}, {entry.type}): unmount that first"
        )
    unmount(path, lazily=True)
    if mount_at(path) == entry:
        raise MountPointUnusable(f"{path} holds a dead mount that can't be cleared: try `umount -l {path}`")


def answers(mountpoint: str) -> bool:
    """Whether a process of ours serves this mount."""
    try:
        client_at(mountpoint).status()
    except NotAnswering:
        return False
    return True


def is_dead(mountpoint: str) -> bool:
    """Whether the process of this FUSE mount has gone. A hanging one is not dead."""
    command = ["stat", "--", mountpoint]
    try:
        done = subprocess.run(
            command, env={"LC_ALL": "C"}, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode != 0 and DEAD in done.stderr


def unmount(mountpoint: str, *, lazily: bool = False) -> None:
    """Take the mount away, as root by umount(8), else by fusermount3.

    Raises MountPointUnusable, naming the programs that use it, if it is busy.
    """
    if os.getuid() == 0:
        command = ["umount", "-i", "-c", *(["-l"] if lazily else []), "--", mountpoint]
    else:
        command = ["fusermount3", "-u", *(["-z"] if lazily else []), "--", mountpoint]
    done = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, text=True, check=False)
    if done.returncode == 0 or mount_at(mountpoint) is None:
        return
    if "busy" in done.stderr:
        users = ", ".join(users_of(mountpoint)) or "some program"
        raise MountPointUnusable(f"{mountpoint} is in use by {users}: close that and try again")
    raise MountPointUnusable(f"{mountpoint} could not be unmounted: {done.stderr.strip()}")


def users_of(mountpoint: str) -> Iterator[str]:
    """The programs that have something open in the mount or stand in it, as far as this user may
    see; found from /proc, without touching the mount."""
    inside = mountpoint.rstrip("/") + "/"
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if any((target + "/").startswith(inside) for target in _links(process)):
            try:
                name = (process / "comm").read_text().strip()
            except OSError:
                continue
            yield f"{name} ({process.name})"


def _links(process: Path) -> Iterator[str]:
    try:
        files = [entry.path for entry in os.scandir(process / "fd")]
    except OSError:
        return
    for link in [str(process / "cwd"), *files]:
        try:
            yield os.readlink(link)
        except OSError:
            continue

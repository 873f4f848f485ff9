"""What `b2mount doctor` looks at on this machine: FUSE, the kernel, who may come in, what earlier mounts left
in the mount table and among the sockets. Nothing is changed, but for sockets of mounts that are no more."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from typing import Final

from b2mount.cli.finding import Finding, ok, trouble, warning
from b2mount.cli.mount_point import (
    DEVICE,
    FUSE_CONFIG,
    answers,
    check_directory,
    check_machine,
    is_dead,
    others_allowed,
)
from b2mount.cli.packages import fuse_missing
from b2mount.control.client import remove_dead_sockets
from b2mount.control.places import absolute, mount_at, mount_table
from b2mount.errors import B2MountError, FuseMissing
from b2mount.options import MountOptions

KERNEL_FOR_REFRESH: Final = (6, 2)
NAMED: Final = 3
"""Sockets of dead mounts."""


def look_at_machine(options: MountOptions) -> Iterator[Finding]:
    """In the order in which a mount would meet them."""
    yield look_at_library()
    yield look_at_fuse()
    if os.getuid() != 0:
        yield look_at_others(options)
    yield look_at_kernel(platform.release())
    yield from look_at_mounts()
    yield from look_at_sockets()


def look_at_library() -> Finding:
    """libfuse3 and pyfuse3: whatever a mount loads is loaded."""
    try:
        importlib.import_module("b2mount.mount")
    except ImportError as error:
        return trouble("libfuse", fuse_missing(error) or FuseMissing(str(error)))
    return ok("libfuse", f"libfuse {_libfuse_version()}, pyfuse3 {importlib.metadata.version('pyfuse3')}")


def _libfuse_version() -> str:
    name = ctypes.util.find_library("fuse3")
    try:
        tell = ctypes.CDLL(name).fuse_pkgversion
    except (OSError, AttributeError):
        return "3"
    tell.restype = ctypes.c_char_p
    return bytes(tell()).decode(errors="replace")


def look_at_fuse() -> Finding:
    """The device, and the program that lets an ordinary user mount."""
    try:
        check_machine(allow_other=False)
    except B2MountError as error:
        return trouble("FUSE", error)
    return ok("FUSE", f"{DEVICE} can be opened" + ("" if os.getuid() == 0 else ", fusermount3 is there"))


def look_at_others(options: MountOptions) -> Finding:
    """Whether an ordinary user may let others in."""
    if others_allowed():
        return ok("allow-other", f"{FUSE_CONFIG} lets you let others in")
    if not options.allow_other:
        return ok(
            "allow-other", f"would need the line user_allow_other in {FUSE_CONFIG}; it was not asked for"
        )
    try:
        check_machine(allow_other=True)
    except B2MountError as error:
        return trouble("allow-other", error)
    return ok("allow-other", "is allowed")


def look_at_kernel(release: str) -> Finding:
    """What an old kernel lacks."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= KERNEL_FOR_REFRESH:
        return ok("kernel", f"Linux {release}")
    return warning(
        "kernel",
        f"Linux {release} is older than 6.2: programs inside a directory that `b2mount refresh` forgets have "
        "to enter it again",
    )


def look_at_mounts() -> Iterator[Finding]:
    """Mounts of ours, the dead ones among them."""
    for entry in mount_table():
        if not entry.is_ours:
            continue
        place = entry.mountpoint
        try:
            is_well = answers(place)
        except B2MountError as error:  # of another version
            yield warning("mounts", f"{place}: {error}")
            continue
        if is_well:
            yield ok("mounts", f"{entry.source} is mounted on {place}")
        elif is_dead(place):
            mend = f"`b2mount umount {place}` clears it, and so does mounting there again"
            yield warning("mounts", f"the mount on {place} is dead", mend)
        else:
            text = f"the mount on {place} does not answer: it is another user's, or its process hangs"
            yield warning("mounts", text)


def look_at_mount_point(place: str) -> Iterator[Finding]:
    """Where a named mount would be, unless something is mounted there by FUSE: a mount of ours is among
    the mounts, and a dead one of anybody's is cleared by the next."""
    path = absolute(place)
    entry = mount_at(path)
    if entry is not None and entry.is_fuse:
        return
    try:
        check_directory(path)
    except B2MountError as error:
        yield trouble("mountpoint", error)
    else:
        yield ok("mountpoint", f"{path} is an empty directory")


def look_at_sockets() -> Iterator[Finding]:
    """Sockets of processes that have died, which are taken away."""
    if removed := remove_dead_sockets():
        named = ", ".join(str(path) for path in removed[:NAMED])
        more = f" and {len(removed) - NAMED} more" if len(removed) > NAMED else ""
        yield ok("sockets", f"removed those of mounts that were killed: {named}{more}")

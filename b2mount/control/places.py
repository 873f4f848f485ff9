"""Where mounts and their sockets are found, without touching a mount that may hang.

Only /proc/self/mountinfo and the socket directories are read; a path is never resolved through
a mount.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from b2mount.option_values import default_cache_dir
from b2mount.private_directory import private_directory

FILE_SYSTEM_TYPE: Final = "fuse.b2mount"
SYSTEM_RUNTIME_DIR: Final = Path("/run/b2mount")


@attrs.frozen
class MountEntry:
    """One line of the mount table."""

    mountpoint: str
    type: str
    source: str
    device: int = 0
    """What stat calls st_dev; no two mounted at a time have the same."""

    @property
    def is_ours(self) -> bool:
        """Whether b2mount mounted it."""
        return self.type == FILE_SYSTEM_TYPE

    @property
    def is_fuse(self) -> bool:
        """Whether a process of some user serves it, which may have died."""
        return self.type == "fuse" or self.type.startswith("fuse.")


def parse_mount_table(text: str) -> list[MountEntry]:
    """The entries of a mountinfo file, in the order of mounting."""
    entries = []
    for line in text.removesuffix("\n").split("\n"):  # no other end of a line is one: names may have them
        before, _, after = line.partition(" - ")
        kind, source, *_ = [*after.split(" "), "", ""]
        _, _, device, _, mountpoint, *_ = before.split(" ")
        number = os.makedev(*map(int, device.split(":")))
        entries.append(MountEntry(_unescape(mountpoint), kind, _unescape(source), number))
    return entries


def mount_table() -> list[MountEntry]:
    """What is mounted now, in the order of mounting."""
    return parse_mount_table(Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape"))


def mount_at(mountpoint: str) -> MountEntry | None:
    """What is mounted on exactly this absolute path; the topmost where there are several."""
    return next((e for e in reversed(mount_table()) if e.mountpoint == mountpoint), None)


def mount_holding(path: str) -> MountEntry | None:
    """The file system that the absolute `path` lies in, judged by names alone."""
    best: MountEntry | None = None
    for entry in mount_table():
        if _lies_in(path, entry.mountpoint) and (not best or len(entry.mountpoint) >= len(best.mountpoint)):
            best = entry
    return best


def absolute(path: str) -> str:
    """`path` absolute and without links, as the mount table has it, yet without entering a mount
    of ours: the last component is resolved only where no mount of ours holds it."""
    plain = os.path.abspath(path)
    entry = mount_holding(plain)
    if entry and entry.is_ours:
        return plain
    parent, name = os.path.split(plain)
    resolved = os.path.join(os.path.realpath(parent), name)
    entry = mount_holding(resolved)
    return resolved if entry and entry.is_ours else os.path.realpath(resolved)


def socket_name(mountpoint: str) -> str:
    """The name of a mount's socket and log: readable, and different for every mount point."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", mountpoint).strip("-")[-24:].strip("-")
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:12]
    return f"{readable}-{digest}" if readable else digest


def runtime_dir() -> Path:
    """The private directory of this user's sockets, made if need be.

    Raises MountPointUnusable if it belongs to somebody else or is open to others.
    """
    return private_directory(_candidates()[0])


def known_sockets() -> Sequence[Path]:
    """The sockets of mounts that this user may ask, dead ones included."""
    directories = _candidates()
    if os.getuid() == 0:
        directories += sorted(Path("/run/user").glob("*/b2mount"))
    return [path for directory in directories for path in sorted(directory.glob("*.sock"))]


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """The only one who puts sockets into a directory or takes them away, with a descriptor of it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _candidates() -> list[Path]:
    fallback = default_cache_dir() / "run"
    if os.getuid() == 0:
        return [SYSTEM_RUNTIME_DIR, fallback]
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    return [Path(given) / "b2mount", fallback] if given.startswith("/") else [fallback]


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

"""Directories that nobody else may look into: what is cached, unsent and logged, and the control sockets."""

from __future__ import annotations

import os
from pathlib import Path

from b2mount.errors import MountPointUnusable


def private_directory(directory: Path) -> Path:
    """The directory, made if need be, as one of this user's own with mode 0700.

    Raises MountPointUnusable where it is a link or somebody else's, who could have prepared what is in it,
    or lies in a directory of another ordinary user, who could exchange it.
    """
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.parent.stat().st_uid not in (os.getuid(), 0):
        raise MountPointUnusable(
            f"{directory.parent} belongs to another user: choose a directory of your own"
        )
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or directory.is_symlink():
        raise MountPointUnusable(f"{directory} must be a directory of your own: remove it and try again")
    if status.st_mode & 0o077:
        directory.chmod(0o700)
    return directory

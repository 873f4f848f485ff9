"""What systems call the packages that b2mount needs beside Python's own: for errors, doctor and README."""

from __future__ import annotations

from typing import Final

from b2mount.errors import FuseMissing

TO_RUN: Final = "`apt-get install fuse3` (Debian), `dnf install fuse3` (Fedora) or `pacman -S fuse3` (Arch)"
TO_BUILD: Final = (
    "`apt-get install fuse3 libfuse3-dev pkg-config gcc python3-dev` (Debian), "
    "`dnf install fuse3 fuse3-devel pkgconf-pkg-config gcc python3-devel` (Fedora) or "
    "`pacman -S fuse3 pkgconf gcc` (Arch)"
)
"""pyfuse3 is built where it is installed, with libfuse3's headers."""


def fuse_missing(error: ImportError) -> FuseMissing | None:
    """What is to be installed when this is why b2mount can't be loaded; None when it is something else."""
    if error.name == "pyfuse3" and isinstance(error, ModuleNotFoundError):
        return FuseMissing(f"pyfuse3 is missing: {TO_BUILD}, then install b2mount again")
    if "libfuse" in str(error):
        return FuseMissing(f"libfuse3 is missing: {TO_RUN}")
    return None

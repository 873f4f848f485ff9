"""What new things look like: modes, owner and group, times of the directory; and who may make them."""

from __future__ import annotations

import os
import stat
from functools import partial

from tests.mounted.conformance.calls import KINDS
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.scene import ANN, Scene

MODES = (0o644, 0, 0o777, 0o151, 0o7777)
SIGNS = (" ", "*", "?", '"', "%", "+", "&", "=", "#", "~", "-", "$(x)", "'", ";", "|", ":", "\u202e")
NAMES = ("a", "...", "..a", "%2F", " x ", "--", "n" * 200, "n" * 250, "ü" * 125, "日本語", *SIGNS)
UMASKS = (0, 0o022, 0o501, 0o777)


def _modes(kind: str, scene: Scene) -> None:
    for mode in MODES:
        for umask in UMASKS:
            os.umask(umask)
            scene.do("make", kind, "new", mode)
            os.umask(0)
            scene.look("new")
            scene.quietly("rmdir" if kind == "dir" else "unlink", "new")


def _owners(kind: str, scene: Scene) -> None:
    """The new thing belongs to who made it, or to the group of a setgid directory."""
    scene.quietly("mkdir", "dir")
    scene.quietly("chmod", "dir", 0o777)
    for mode in (0o777, 0o1777, 0o2777):
        for owner in ((65534, 7), (0, 0)):
            scene.quietly("chown", "dir", *owner)
            scene.quietly("chmod", "dir", mode)
            for user in (ANN, (65534, 65531), (65532, 65531, (65531, 7))):
                with scene.user(user):
                    scene.do("make", kind, "dir/new", 0o2755)
                    scene.look("dir/new")
                if os.path.lexists("dir/new"):  # not a device
                    scene.quietly("rmdir" if kind == "dir" else "unlink", "dir/new")


def _over_others(kind: str, scene: Scene) -> None:
    """Nothing is made where something is."""
    for there in KINDS:
        scene.quietly("make", there, there)
        with scene.times(".", there):
            scene.do("make", kind, there)
        scene.look(there)


def _times(kind: str, scene: Scene) -> None:
    """The directory changes with a new name, and with nothing else."""
    scene.quietly("mkdir", "dir")
    with scene.times(".", "dir"):
        scene.do("make", kind, "dir/new")
    scene.note("all times agree", lambda: _agree("dir/new"))
    with scene.times(".", "dir", "dir/new"):
        scene.do("make", kind, "dir/new")
    scene.quietly("chmod", "dir", 0o755)
    with scene.user(ANN), scene.times("dir"):
        scene.do("make", kind, "dir/other")


def _agree(name: str) -> bool:
    found = os.lstat(name)
    return found.st_mtime_ns == found.st_ctime_ns == found.st_atime_ns


for _kind in KINDS:
    CASES[f"making: a {_kind} over others"] = partial(_over_others, _kind)
    CASES[f"making: times of a {_kind}"] = partial(_times, _kind)


for _kind in ("regular", "dir", "fifo", "symlink"):
    CASES[f"making: modes of a {_kind}"] = partial(_modes, _kind)
    CASES[f"making: owner of a {_kind}"] = partial(_owners, _kind)


@case("making: devices are for root")
def _devices(scene: Scene) -> None:
    scene.quietly("chmod", ".", 0o777)
    with scene.user(ANN):
        for kind in KINDS:
            scene.do("make", kind, kind)
            scene.do("look", kind)
    for number in (0, 1, 0xFF, 0x100, 0x12345, 0xFFF00, 0xFFFFFFFF):
        for bits in (stat.S_IFCHR, stat.S_IFBLK):
            scene.do("mknod", "device", bits | 0o600, number)
            scene.look("device")
            scene.quietly("unlink", "device")
    scene.do("mknod", "plain", 0o600, 5)
    scene.look("plain")
    scene.do("mknod", "dir", stat.S_IFDIR | 0o755)
    scene.do("mknod", "symlink", stat.S_IFLNK | 0o755)
    scene.do("mknod", "odd", 0o150644)


@case("making: sockets answer")
def _sockets(scene: Scene) -> None:
    scene.do("bind", "socket")
    scene.look("socket")
    scene.do("bind", "socket")
    scene.do("open", "socket", os.O_RDONLY)
    scene.do("open", "socket", os.O_WRONLY)
    scene.do("rename", "socket", "other")
    scene.do("unlink", "other")
    scene.do("bind", "socket")


@case("making: symlinks")
def _symlinks(scene: Scene) -> None:
    for target in ("x", "a/b/../c ü", "x" * 255, "y" * 4095, "d/" * 2047, "+%20&=", "\\", "/", "."):
        scene.do("symlink", target, "link")
        scene.look("link")
        scene.do("readlink", "link")
        scene.quietly("unlink", "link")
    scene.do("symlink", "", "link")
    scene.do("symlink", "z" * 4096, "link")
    scene.quietly("make", "regular", "file")
    scene.quietly("symlink", "file", "link")
    scene.do("append", "link", "through")
    scene.do("read", "file")
    scene.do("truncate", "link", 3)
    scene.do("read", "file")
    scene.do("chmod", "link", 0o600)
    scene.do("chown", "link", 5, 6)
    scene.look("file", "link")
    scene.do("unlink", "link")
    scene.look("file")


@case("making: names")
def _names(scene: Scene) -> None:
    """Of all kinds that B2 takes."""
    for name in NAMES:
        scene.do("create", name)
        scene.do("listdir", ".")
        scene.do("rename", name, f"{name[:100]}'")
        scene.do("unlink", f"{name[:100]}'")
        scene.do("mkdir", name)
        scene.do("create", f"{name}/below")
        scene.do("listdir", name)
        scene.do("unlink", f"{name}/below")
        scene.do("rmdir", name)
    scene.do("listdir", ".")


@case("making: hard links of directories and devices are refused")
def _links(scene: Scene) -> None:
    scene.quietly("mkdir", "dir")
    scene.do("link", "dir", "new")
    scene.do("link", "nothing", "new")
    scene.do("link", "dir/x", "new")
    scene.quietly("make", "regular", "file")
    scene.quietly("make", "regular", "other")
    scene.do("link", "file", "other")
    scene.do("link", "file", "dir")
    scene.do("link", "file", "file")
    scene.do("link", "file/x", "new")
    scene.do("link", "file", "file/x")
    scene.do("link", "file", "nothing/x")
    scene.quietly("chmod", "dir", 0o755)
    with scene.user(ANN):
        scene.do("link", "other", "dir/new")
    scene.do("listdir", ".")

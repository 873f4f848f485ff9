"""unlink and rmdir: what they refuse, what changes, what lives on; sticky directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from tests.mounted.conformance.calls import KINDS, NO_DIRECTORIES
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.scene import ANN, BOB, Scene


def _right_call(kind: str, scene: Scene) -> None:
    scene.quietly("mkdir", "dir")
    for call in ("rmdir", "unlink"):
        scene.quietly("make", kind, "dir/it")
        with scene.times(".", "dir", "dir/it"):
            done = scene.do(call, "dir/it")
        scene.do("lstat", "dir/it")
        if done != "ok":
            scene.quietly("unlink" if call == "rmdir" else "rmdir", "dir/it")
    scene.do("listdir", "dir")
    scene.quietly("make", kind, "dir/it")
    scene.quietly("chmod", "dir", 0o755)
    call = "rmdir" if kind == "dir" else "unlink"
    with scene.user(ANN), scene.times("dir", "dir/it"):
        scene.do(call, "dir/it")


def _sticky(kind: str, scene: Scene) -> None:
    """In a sticky directory only the owner of the thing or of the directory may take it away."""
    call = "rmdir" if kind == "dir" else "unlink"
    scene.quietly("mkdir", "dir")
    for mode in (0o777, 0o1777):
        for owner in (0, ANN[0], BOB[0]):
            scene.quietly("chown", "dir", owner, 0)
            scene.quietly("chmod", "dir", mode)
            for thing_owner in (0, ANN[0], BOB[0]):
                scene.quietly("make", kind, "dir/it", 0o666)
                scene.quietly("lchown", "dir/it", thing_owner, 65533)
                with scene.user(ANN):
                    scene.do(call, "dir/it")
                if os.path.lexists("dir/it"):
                    scene.look("dir/it")
                    scene.do(call, "dir/it")


for _kind in KINDS:
    CASES[f"removing: a {_kind}"] = partial(_right_call, _kind)


for _kind in ("regular", "dir", "symlink"):
    CASES[f"removing: a {_kind} from a sticky directory"] = partial(_sticky, _kind)


@case("removing: full directories")
def _full(scene: Scene) -> None:
    scene.quietly("mkdir", "dir")
    for kind in KINDS:
        scene.quietly("make", kind, "dir/it")
        with scene.times(".", "dir"):
            scene.do("rmdir", "dir")
        scene.do("listdir", "dir")
        scene.quietly("rmdir" if kind == "dir" else "unlink", "dir/it")
    scene.do("rmdir", "dir/.")
    scene.do("rmdir", "dir/..")
    scene.do("rmdir", ".")
    scene.do("rmdir", "..")
    scene.do("rmdir", "dir/")
    scene.do("listdir", ".")


@case("removing: a directory that is in use")
def _in_use(scene: Scene) -> None:
    scene.quietly("mkdir", "dir")
    home = os.getcwd()
    scene.do("chdir", "dir")
    scene.do("rmdir", "../dir")
    scene.do("listdir", ".")
    scene.do("create", "file")
    scene.do("mkdir", "sub")
    scene.do("stat", ".")
    os.chdir(home)
    scene.do("mkdir", "dir")
    fd = os.open("dir", os.O_RDONLY)
    scene.do("rmdir", "dir")
    scene.note("listing", lambda: os.listdir(fd))
    scene.note("links", lambda: os.fstat(fd).st_nlink < 2)
    scene.note("mode", lambda: os.fchmod(fd, 0o700))
    scene.note("create in it", lambda: os.open("x", os.O_CREAT, dir_fd=fd))
    scene.note("lookup in it", lambda: os.stat("x", dir_fd=fd))
    os.close(fd)


@case("removing: a file that is open")
def _open(scene: Scene) -> None:
    scene.quietly("make", "regular", "file")
    scene.quietly("append", "file", "0123456789")
    fd = os.open("file", os.O_RDWR)
    doings: list[tuple[str, Callable[[], object]]] = [
        ("unlink", lambda: os.unlink("file")),
        ("links", lambda: os.fstat(fd).st_nlink),
        ("size", lambda: os.fstat(fd).st_size),
        ("read", lambda: os.pread(fd, 100, 0)),
        ("write", lambda: os.pwrite(fd, b"xx", 4)),
        ("read", lambda: os.pread(fd, 100, 0)),
        ("cut", lambda: os.ftruncate(fd, 6)),
        ("mode", lambda: os.fchmod(fd, 0o640)),
        ("mode", lambda: os.fstat(fd).st_mode),
        ("owner", lambda: os.fchown(fd, 5, 6)),
        ("owner", lambda: (os.fstat(fd).st_uid, os.fstat(fd).st_gid)),
        ("sync", lambda: os.fsync(fd)),
        ("again", lambda: os.close(os.open("file", os.O_CREAT | os.O_EXCL))),
        ("read", lambda: os.pread(fd, 100, 0)),
        ("size", lambda: os.stat("file").st_size),
        ("unlink", lambda: os.unlink("file")),
        ("close", lambda: os.close(fd)),
        ("names", lambda: os.listdir(".")),
    ]
    for label, action in doings:
        scene.note(label, action)


@case("removing: ctime of an open file")
def _ctime(scene: Scene) -> None:
    for kind in NO_DIRECTORIES:
        scene.quietly("make", kind, kind)
        fd = os.open(kind, os.O_PATH | os.O_NOFOLLOW)
        before = os.fstat(fd)
        with scene.times("."):
            scene.do("unlink", kind)
        scene.note("links", lambda fd=fd: os.fstat(fd).st_nlink)  # type: ignore[misc]  # a default has no inferred type
        scene.note("ctime", lambda fd=fd, at=before: os.fstat(fd).st_ctime_ns > at.st_ctime_ns)  # type: ignore[misc]  # a default has no inferred type
        os.close(fd)

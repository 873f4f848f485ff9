"""open: flags, permissions by class, pipes and sockets, programs that run."""

from __future__ import annotations

import os
import subprocess
from functools import partial

from tests.mounted.conformance.calls import KINDS
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.scene import ANN, Scene, User

ACCESS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)
EXTRAS = (
    0,
    os.O_CREAT,
    os.O_CREAT | os.O_EXCL,
    os.O_TRUNC,
    os.O_CREAT | os.O_TRUNC,
    os.O_APPEND,
    os.O_NOFOLLOW,
    os.O_DIRECTORY,
    os.O_CREAT | os.O_NOFOLLOW,
    os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
    os.O_PATH,
    os.O_PATH | os.O_NOFOLLOW,
    os.O_NOATIME,
    os.O_SYNC,
)


def _flags(kind: str, scene: Scene) -> None:
    for access in ACCESS:
        for extra in EXTRAS:
            scene.quietly("make", kind, "it")
            if kind == "regular":
                scene.do("append", "it", "bytes")
            with scene.times(".", "it"):
                scene.do("open", "it", access | extra | os.O_NONBLOCK)
            scene.look("it")
            scene.do("listdir", ".")
            for name in os.listdir("."):
                scene.quietly("rmdir" if kind == "dir" else "unlink", name)


for _kind in ("regular", "dir", "fifo", "socket", "symlink"):
    CASES[f"opening: flags on a {_kind}"] = partial(_flags, _kind)


@case("opening: through links")
def _links(scene: Scene) -> None:
    scene.quietly("make", "regular", "file")
    scene.quietly("mkdir", "dir")
    scene.quietly("symlink", "file", "to-file")
    scene.quietly("symlink", "dir", "to-dir")
    scene.quietly("symlink", "new", "to-new")
    for name in ("to-file", "to-dir", "to-new", "to-dir/", "to-dir/x", "to-file/"):
        for access in ACCESS:
            for extra in EXTRAS:
                scene.do("open", name, access | extra)
                scene.do("listdir", ".")
                scene.do("listdir", "dir")
                for made in ("new", "dir/x"):
                    if os.path.lexists(made):
                        scene.do("unlink", made)


def _permissions(who: str, scene: Scene) -> None:
    users: dict[str, User] = {
        "owner": (65534, 1),
        "group": (1, 65533),
        "other": (1, 1),
        "extra": (1, 1, (1, 65533)),
        "root": (0, 0),
    }
    for kind in ("regular", "fifo", "dir"):
        scene.quietly("make", kind, "it")
        scene.quietly("chown", "it", 65534, 65533)
        for bits in range(8):
            for shift in (0, 3, 6):
                scene.quietly("chmod", "it", bits << shift)
                with scene.user(users[who]):
                    for access in ACCESS:
                        scene.do("open", "it", access | os.O_NONBLOCK)
                    for wanted in (os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK):
                        scene.do("access", "it", wanted)
                    if kind == "regular":
                        scene.do("open", "it", os.O_RDONLY | os.O_TRUNC)
        scene.quietly("rmdir" if kind == "dir" else "unlink", "it")


for _who in ("owner", "group", "other", "extra", "root"):
    CASES[f"opening: permissions of {_who}"] = partial(_permissions, _who)


@case("opening: the maker of a file may write it, whatever its mode")
def _maker(scene: Scene) -> None:
    scene.quietly("chmod", ".", 0o777)
    with scene.user(ANN):
        for mode in (0, 0o444, 0o111):
            for access in ACCESS:
                fd = os.open("new", os.O_CREAT | os.O_EXCL | access, mode)
                scene.note("write", lambda fd=fd: os.write(fd, b"x"))  # type: ignore[misc]  # a default has no inferred type
                scene.note("cut", lambda fd=fd: os.ftruncate(fd, 5))  # type: ignore[misc]  # a default has no inferred type
                scene.note("read", lambda fd=fd: os.pread(fd, 9, 0))  # type: ignore[misc]  # a default has no inferred type
                os.close(fd)
                scene.look("new")
                scene.do("open", "new", access)
                scene.quietly("unlink", "new")


@case("opening: pipes")
def _pipes(scene: Scene) -> None:
    scene.quietly("make", "fifo", "pipe")
    scene.do("open", "pipe", os.O_WRONLY | os.O_NONBLOCK)
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("pipe", os.O_WRONLY | os.O_NONBLOCK)
    scene.note("write", lambda: os.write(writer, b"through the pipe"))
    scene.do("rename", "pipe", "moved")
    scene.note("read", lambda: os.read(reader, 100))
    other = os.open("moved", os.O_WRONLY | os.O_NONBLOCK)
    scene.note("write", lambda: os.write(other, b"more"))
    scene.do("unlink", "moved")
    scene.note("read", lambda: os.read(reader, 100))
    for fd in (reader, writer, other):
        os.close(fd)


@case("opening: a program that runs can't be written")
def _busy(scene: Scene) -> None:
    with open("/bin/sleep", "rb") as source, open("program", "wb") as target:
        target.write(source.read())
    scene.do("chmod", "program", 0o755)
    with subprocess.Popen(["./program", "100"]) as running:
        for access in ACCESS:
            scene.do("open", "program", access)
        scene.do("truncate", "program", 5)
        scene.do("unlink", "program")
        running.kill()


@case("opening: where it begins")
def _append(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")
    one = os.open("it", os.O_WRONLY | os.O_APPEND)
    other = os.open("it", os.O_RDWR | os.O_APPEND)
    third = os.open("it", os.O_RDWR)
    scene.note("one", lambda: os.write(one, b"one "))
    scene.note("other", lambda: os.write(other, b"other "))
    scene.note("third", lambda: os.write(third, b"ONE"))
    scene.note("one", lambda: os.write(one, b"again"))
    scene.note("place", lambda: os.lseek(one, 0, os.SEEK_CUR))
    scene.note("end", lambda: os.lseek(third, 0, os.SEEK_END))
    scene.note("cut", lambda: os.ftruncate(third, 4))
    scene.note("one", lambda: os.write(one, b"!"))
    scene.note("all", lambda: os.pread(other, 100, 0))
    for fd in (one, other, third):
        os.close(fd)
    scene.do("read", "it")


@case("opening: devices")
def _devices(scene: Scene) -> None:
    """On the mount no device node can be opened (nodev); that is looked at elsewhere."""
    for kind in KINDS:
        scene.quietly("make", kind, kind)
    for kind in ("char", "block"):
        scene.do("open", kind, os.O_PATH)
        scene.do("open", kind, os.O_RDONLY | os.O_DIRECTORY)
        scene.do("open", kind, os.O_CREAT | os.O_EXCL)

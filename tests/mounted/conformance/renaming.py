"""rename and renameat2: what takes whose place, what is refused, whose times change, who may."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from tests.mounted.conformance.calls import EXCHANGE, KINDS, NOREPLACE, WHITEOUT, read
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.scene import ANN, BOB, Scene


def remove(scene: Scene, name: str) -> None:
    if os.path.lexists(name):
        is_directory = os.path.isdir(name) and not os.path.islink(name)
        scene.quietly("rmdir" if is_directory else "unlink", name)


def changes(before: os.stat_result, name: str) -> str:
    """What of a thing is another after it was renamed."""
    after = os.lstat(name)
    fields = ("st_ino", "st_mtime_ns", "st_ctime_ns")
    return " ".join(field for field in fields if getattr(before, field) != getattr(after, field))


def _kinds(old: str, flags: int, scene: Scene) -> None:
    scene.quietly("mkdir", "from")
    scene.quietly("mkdir", "to")
    for new in (*KINDS, None):
        scene.quietly("make", old, "from/old", 0o640)
        scene.quietly("lchown", "from/old", 5, 6)
        if new is not None:
            scene.quietly("make", new, "to/new", 0o604)
        before = os.lstat("from/old")
        with scene.times(".", "from", "to"):
            done = scene.do("renameat2", "from/old", "to/new", flags)
        if done == "ok":
            scene.note("what has changed", lambda: changes(before, "to/new"))  # called at once
        scene.look("from/old", "to/new")
        remove(scene, "from/old")
        remove(scene, "to/new")


for _kind in KINDS:
    CASES[f"renaming: a {_kind}"] = partial(_kinds, _kind, 0)
    CASES[f"renaming: a {_kind} without replacing"] = partial(_kinds, _kind, NOREPLACE)


def _sticky(kind: str, scene: Scene) -> None:
    """Out of and into sticky directories."""
    for name in ("from", "to"):
        scene.quietly("mkdir", name)
        scene.quietly("chmod", name, 0o777)
    owners = (0, ANN[0], BOB[0])
    for place, thing in (("from", "from/old"), ("to", "to/new")):
        for owner in owners:
            scene.quietly("chown", place, owner, 0)
            scene.quietly("chmod", place, 0o1777)
            for thing_owner in owners:
                for name in ("from/old", "to/new"):
                    scene.quietly("make", kind, name, 0o666)
                    scene.quietly("lchown", name, ANN[0], 65533)
                scene.quietly("lchown", thing, thing_owner, 65533)
                with scene.user(ANN):
                    scene.do("rename", "from/old", "to/new")
                for name in ("from/old", "to/new"):
                    scene.do("look", name)
                    remove(scene, name)
        scene.quietly("chmod", place, 0o777)


for _kind in ("regular", "dir", "symlink"):
    CASES[f"renaming: a {_kind} and sticky directories"] = partial(_sticky, _kind)


@case("renaming: a directory of somebody else's")
def _dot_dot(scene: Scene) -> None:
    """To give a directory another parent is to write into it."""
    scene.quietly("mkdir", "from")
    scene.quietly("mkdir", "to")
    for name in ("from", "to"):
        scene.quietly("chmod", name, 0o777)
    for owner in (0, ANN[0]):
        for mode in (0o755, 0o777, 0o555):
            scene.quietly("mkdir", "from/dir")
            scene.quietly("chown", "from/dir", owner, 0)
            scene.quietly("chmod", "from/dir", mode)
            with scene.user(ANN):
                scene.do("rename", "from/dir", "from/other")
                scene.do("rename", "from/other", "to/dir")
            scene.do("listdir", "from")
            scene.do("listdir", "to")
            for name in ("from/dir", "from/other", "to/dir"):
                remove(scene, name)


@case("renaming: full directories")
def _full(scene: Scene) -> None:
    for name in ("full", "full/sub", "other", "empty"):
        scene.quietly("mkdir", name)
    for name in ("full/file", "full/sub/below", "other/file"):
        scene.quietly("make", "regular", name)
        scene.do("append", name, name)
    scene.do("rename", "empty", "full")
    scene.do("rename", "other", "full")
    scene.do("rename", "full", "full/sub/new")
    scene.do("rename", "full", "full/new")
    scene.do("rename", "full/sub", "full")
    scene.do("rename", "full/sub/below", "full/sub")
    scene.do("rename", "full", "full")
    scene.do("rename", "full/.", "x")
    scene.do("rename", "full/..", "x")
    scene.do("rename", "full", "empty/.")
    scene.do("rename", "full", "empty/..")
    scene.do("rename", "full", "empty")
    scene.do("listdir", ".")
    scene.do("listdir", "empty/sub")
    scene.do("read", "empty/sub/below")
    scene.do("rename", "empty/", "new/")
    scene.do("rename", "other/file", "x/")
    scene.do("rename", "other/file/", "x")
    scene.do("listdir", ".")


@case("renaming: with other flags")
def _flags(scene: Scene) -> None:
    scene.quietly("make", "regular", "a")
    scene.quietly("make", "regular", "b")
    for flags in (NOREPLACE | EXCHANGE, EXCHANGE | WHITEOUT, 8, 1 << 30):
        scene.do("renameat2", "a", "b", flags)
        scene.do("renameat2", "a", "c", flags)
    scene.do("renameat2", "a", "a", NOREPLACE)
    scene.do("listdir", ".")


@case("renaming: open files follow")
def _open(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.quietly("make", "regular", name)
        scene.do("append", name, f"bytes of {name}")
    one, other = os.open("a", os.O_RDWR), os.open("b", os.O_RDWR)
    doings: list[tuple[str, Callable[[], object]]] = [
        ("write", lambda: os.pwrite(one, b"BYTES", 0)),
        ("read one", lambda: os.pread(one, 100, 0)),
        ("read other", lambda: os.pread(other, 100, 0)),
        ("write other", lambda: os.pwrite(other, b"OTHER", 0)),
        ("replace", lambda: os.rename("b", "a")),
        ("read one", lambda: os.pread(one, 100, 0)),
        ("read other", lambda: os.pread(other, 100, 0)),
        ("links", lambda: (os.fstat(one).st_nlink, os.fstat(other).st_nlink)),
        ("write one", lambda: os.pwrite(one, b"one", 0)),
        ("write other", lambda: os.pwrite(other, b"gone", 0)),
        ("close", lambda: os.close(one)),
        ("close", lambda: os.close(other)),
        ("names", lambda: os.listdir(".")),
        ("bytes", lambda: read("a")),
    ]
    for label, action in doings:
        scene.note(label, action)


@case("renaming: ctime of what is replaced")
def _ctime(scene: Scene) -> None:
    for kind in ("regular", "fifo", "symlink"):
        scene.quietly("make", kind, "old")
        scene.quietly("make", kind, "new")
        fd = os.open("new", os.O_PATH | os.O_NOFOLLOW)
        before = os.fstat(fd)
        with scene.times("old"):
            scene.do("rename", "old", "new")
        scene.note("links", lambda fd=fd: os.fstat(fd).st_nlink)  # type: ignore[misc]  # a default has no inferred type
        scene.note("ctime", lambda fd=fd, at=before: os.fstat(fd).st_ctime_ns > at.st_ctime_ns)  # type: ignore[misc]  # a default has no inferred type
        os.close(fd)
        scene.quietly("unlink", "new")

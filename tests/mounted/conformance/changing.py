"""chmod, chown, utimensat, truncate and writing: what they change, what they clear, who may."""

from __future__ import annotations

import os
from functools import partial

from tests.mounted.conformance.calls import KINDS, NOFOLLOW, NOW, OMIT
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.scene import ANN, BOB, ROOT, Scene, User

LESS = ("block", "char", "socket")
"""Kinds that differ from a FIFO in nothing here: what is asked of them is less."""
NOLINK = tuple(kind for kind in KINDS if kind != "symlink")
EXTRA: User = (65534, 65533, (65533, 65530))


def _chmod(kind: str, scene: Scene) -> None:
    scene.quietly("make", kind, "it")
    for mode in (0o644, 0o111, 0, 0o7777, 0o4755, 0o2755, 0o1755, 0o6711, 0o600):
        with scene.times(".", "it"):
            scene.do("chmod", "it", mode)
        scene.look("it")
    if kind in LESS:
        return
    for owner in ((65534, 65533), (65534, 7), (65532, 65533), (0, 0)):
        scene.quietly("lchown", "it", *owner)
        scene.quietly("chmod", "it", 0o600)
        for user in (ANN, EXTRA):
            for mode in (0o755, 0o4755, 0o2755, 0o1755, 0o7777):
                with scene.user(user), scene.times("it"):
                    scene.do("chmod", "it", mode)
                    scene.look("it")


for _kind in NOLINK:
    CASES[f"changing: mode of a {_kind}"] = partial(_chmod, _kind)


def _chown(kind: str, scene: Scene) -> None:
    scene.quietly("make", kind, "it")
    for owner in ((1, 2), (3, -1), (-1, 4), (-1, -1), (3, 4), (65534, 65533), (0, 0), (2**32 - 2, 2**32 - 2)):
        if kind != "symlink":
            scene.quietly("chmod", "it", 0o6755)
        with scene.times(".", "it"):
            scene.do("lchown", "it", *owner)
        scene.look("it")
    if kind in LESS:
        return
    for user in (ANN, EXTRA, BOB):
        for mine in (True, False):
            for owner in (
                (-1, 65530),
                (-1, 65533),
                (-1, 65531),
                (65534, -1),
                (65532, -1),
                (65534, 65533),
                (0, 0),
            ):
                scene.quietly("lchown", "it", 65534 if mine else 9, 65533)
                if kind != "symlink":
                    scene.quietly("chmod", "it", 0o6755)
                with scene.user(user), scene.times("it"):
                    scene.do("lchown", "it", *owner)
                scene.look("it")


for _kind in KINDS:
    CASES[f"changing: owner of a {_kind}"] = partial(_chown, _kind)


@case("changing: owner clears set-id bits")
def _set_id(scene: Scene) -> None:
    for mode in (0o4755, 0o2745, 0o6744, 0o7777):
        for kind in ("regular", "dir"):
            for user in (ROOT, ANN):
                for owner in ((-1, 65530), (65534, 65533), (-1, -1)):
                    scene.quietly("make", kind, "it")
                    scene.quietly("chown", "it", 65534, 65533)
                    scene.quietly("chmod", "it", mode)
                    with scene.user(EXTRA if user == ANN else user):
                        scene.do("chown", "it", *owner)
                    scene.look("it")
                    scene.quietly("rmdir" if kind == "dir" else "unlink", "it")


@case("changing: writing clears set-id bits")
def _writing(scene: Scene) -> None:
    """Of a file that others may write: after write, truncate, ftruncate and O_TRUNC by anybody but root.
    Not S_ISGID on what no group may run: Linux clears that for those outside of the group, and FUSE leaves
    it for all."""
    doings = (
        ("append", ("it",)),
        ("truncate", ("it", 0)),
        ("truncate", ("it", 10)),
        ("ftruncate", ("it", 0)),
        ("open", ("it", os.O_WRONLY | os.O_TRUNC)),
        ("open", ("it", os.O_WRONLY)),
        ("open", ("it", os.O_RDWR | os.O_CREAT | os.O_TRUNC)),
    )
    for call, arguments in doings:
        for user in (ROOT, ANN, BOB):
            for mode in (0o6777, 0o4767):
                scene.quietly("make", "regular", "it")
                scene.do("append", "it", "some bytes")
                scene.quietly("chown", "it", 65534, 65533)
                scene.quietly("chmod", "it", mode)
                with scene.user(user):
                    scene.do(call, *arguments)
                scene.look("it")
                scene.quietly("unlink", "it")


@case("changing: one writer after another clears set-id bits")
def _one_writer(scene: Scene) -> None:
    scene.quietly("make", "regular", "it", 0o777)
    scene.quietly("chown", "it", 65534, 65533)
    with scene.user(ANN):
        fd = os.open("it", os.O_RDWR)
        for mode in (0o6777, 0o777, 0o4755):
            scene.do("chmod", "it", mode)
            scene.note("write", lambda: os.write(fd, b"x"))
            scene.look("it")
        scene.do("chmod", "it", 0o6777)
        scene.note("cut", lambda: os.ftruncate(fd, 1))
        scene.look("it")
        os.close(fd)
        scene.look("it")


def _utimensat(kind: str, scene: Scene) -> None:
    scene.quietly("make", kind, "it")
    values = [(1, 2), (0, 0), (2**31 - 1, 999_999_999), (4_000_000_000, 1), (0, NOW), (0, OMIT)]
    for accessed in values:
        for modified in values:
            with scene.times("it", fields="mca"):
                scene.do("utimensat", "it", accessed, modified, NOFOLLOW)
            if NOW not in (accessed[1], modified[1]):
                scene.note("modified", lambda: _told("it", modified))  # called at once
    for user in (ANN, BOB):
        for mode in (0o600, 0o666):
            if kind != "symlink":
                scene.quietly("chmod", "it", mode)
            for owner in (65534, 65532, 0):
                scene.quietly("lchown", "it", owner, 7)
                for pair in (((5, 5), (5, 5)), ((0, NOW), (0, NOW)), ((0, OMIT), (0, OMIT)),
                             ((0, NOW), (0, OMIT)), ((0, OMIT), (0, NOW)), ((5, 5), (0, NOW))):  # fmt: skip
                    with scene.user(user), scene.times("it", fields="mca"):
                        scene.do("utimensat", "it", *pair, NOFOLLOW)
    scene.do("utimensat", "it", (0, 10**9), (0, 0), NOFOLLOW)
    scene.do("utimensat", "it", (0, 0), (0, -1), NOFOLLOW)


def _told(name: str, modified: tuple[int, int]) -> int | str:
    return "left" if modified[1] == OMIT else os.lstat(name).st_mtime_ns


for _kind in ("regular", "dir", "fifo", "symlink"):
    CASES[f"changing: times of a {_kind}"] = partial(_utimensat, _kind)


@case("changing: size")
def _size(scene: Scene) -> None:
    scene.quietly("make", "regular", "it", 0o644)
    scene.do("append", "it", "0123456789")
    for call in ("truncate", "ftruncate"):
        for size in (5, 5, 10, 0, 0, 123_456, 1_000_000, 3):
            with scene.times(".", "it"):
                scene.do(call, "it", size)
            scene.look("it")
        for size in (-1, -(2**62)):
            with scene.times("it"):
                scene.do(call, "it", size)
        scene.do("read", "it")
    scene.do("ftruncate", "it", 5, os.O_RDONLY)
    scene.do("ftruncate", "it", 5, os.O_WRONLY)
    for kind in KINDS[1:]:
        scene.quietly("make", kind, kind)
        with scene.times(kind):
            scene.do("truncate", kind, 5)
    for mode in (0o644, 0o444, 0o222, 0o600, 0o606, 0o777):
        for owner in (65534, 0):
            scene.quietly("chmod", "it", mode)
            scene.quietly("chown", "it", owner, 65533)
            with scene.user(ANN), scene.times("it"):
                scene.do("truncate", "it", 4)


@case("changing: bytes")
def _bytes(scene: Scene) -> None:
    """Writing changes mtime and ctime, reading and opening neither."""
    scene.quietly("make", "regular", "it")
    for call, arguments in (
        ("append", ("it", "more")),
        ("append", ("it", "")),
        ("read", ("it",)),
        ("open", ("it", os.O_RDWR)),
        ("open", ("it", os.O_RDONLY)),
        ("open", ("it", os.O_WRONLY | os.O_APPEND)),
        ("open", ("it", os.O_WRONLY | os.O_TRUNC)),
        ("open", ("it", os.O_WRONLY | os.O_CREAT)),
        ("open", ("it", os.O_WRONLY | os.O_TRUNC)),
        ("append", ("it", "again")),
    ):
        with scene.times(".", "it"):
            scene.do(call, *arguments)
        scene.look("it")


@case("changing: things that are not yours")
def _others(scene: Scene) -> None:
    for kind in KINDS:
        scene.quietly("make", kind, kind, 0o644)
        with scene.user(ANN), scene.times(kind, fields="mca"):
            if kind != "symlink":
                scene.do("chmod", kind, 0o600)
            scene.do("lchown", kind, 65534, 65533)
            scene.do("utimensat", kind, (1, 1), (1, 1), NOFOLLOW)
        scene.look(kind)

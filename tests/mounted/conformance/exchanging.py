"""renameat2 with RENAME_EXCHANGE: two things of any kinds change places, with all that is in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from tests.mounted.conformance.calls import EXCHANGE, KINDS, read
from tests.mounted.conformance.registry import CASES, case
from tests.mounted.conformance.renaming import changes, remove
from tests.mounted.conformance.scene import ANN, Scene


def _kinds(one: str, scene: Scene) -> None:
    scene.quietly("mkdir", "from")
    scene.quietly("mkdir", "to")
    for other in KINDS:
        scene.quietly("make", one, "from/one", 0o640)
        scene.quietly("lchown", "from/one", 5, 6)
        scene.quietly("make", other, "to/other", 0o604)
        before, theirs = os.lstat("from/one"), os.lstat("to/other")
        with scene.times(".", "from", "to"):
            scene.do("renameat2", "from/one", "to/other", EXCHANGE)
        scene.note("what has changed", lambda: changes(before, "to/other"))  # called at once
        scene.note("what has changed", lambda: changes(theirs, "from/one"))
        scene.look("from/one", "to/other")
        scene.do("listdir", "from")
        remove(scene, "from/one")
        remove(scene, "to/other")


for _kind in KINDS:
    CASES[f"exchanging: a {_kind}"] = partial(_kinds, _kind)


@case("exchanging: what can't be")
def _refused(scene: Scene) -> None:
    scene.quietly("make", "regular", "a")
    scene.quietly("mkdir", "dir")
    scene.quietly("mkdir", "dir/sub")
    scene.do("renameat2", "a", "a", EXCHANGE)
    scene.do("renameat2", "a", "c", EXCHANGE)
    scene.do("renameat2", "c", "a", EXCHANGE)
    scene.do("renameat2", "dir", "dir/sub", EXCHANGE)
    scene.do("renameat2", "dir/sub", "dir", EXCHANGE)
    scene.do("renameat2", "dir", "dir", EXCHANGE)
    scene.do("renameat2", "a/x", "dir", EXCHANGE)
    scene.do("renameat2", "a/", "dir", EXCHANGE)
    scene.do("renameat2", "dir/.", "a", EXCHANGE)
    with scene.user(ANN):
        scene.do("renameat2", "a", "dir", EXCHANGE)
    scene.quietly("chmod", ".", 0o1777)
    with scene.user(ANN):
        scene.do("renameat2", "a", "dir", EXCHANGE)
        scene.do("create", "mine")
        scene.do("renameat2", "a", "mine", EXCHANGE)
        scene.do("renameat2", "mine", "a", EXCHANGE)
    scene.do("listdir", ".")


@case("exchanging: with what is inside")
def _exchange(scene: Scene) -> None:
    for name in ("one", "one/sub", "two"):
        scene.quietly("mkdir", name)
    for name in ("one/a", "one/sub/b", "two/c", "file"):
        scene.quietly("make", "regular", name)
        scene.do("append", name, f"bytes of {name}")
    scene.do("renameat2", "one", "two", EXCHANGE)
    for name in ("one", "two", "two/sub"):
        scene.do("listdir", name)
    for name in ("two/a", "two/sub/b", "one/c"):
        scene.do("read", name)
    scene.do("renameat2", "file", "two", EXCHANGE)
    scene.do("read", "two")
    scene.do("listdir", "file")
    scene.do("read", "file/sub/b")
    scene.do("renameat2", "file", "file/sub", EXCHANGE)
    scene.do("renameat2", "file/sub", "file", EXCHANGE)
    scene.do("renameat2", "file/sub", "one/c", EXCHANGE)
    scene.do("read", "file/sub")
    scene.do("read", "one/c/b")
    scene.do("append", "one/c/b", " and more")
    scene.do("renameat2", "one/c/b", "two", EXCHANGE)
    scene.do("read", "two")
    scene.do("read", "one/c/b")


@case("exchanging: open files follow")
def _open(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.quietly("make", "regular", name)
        scene.do("append", name, f"bytes of {name}")
    one, other = os.open("a", os.O_RDWR), os.open("b", os.O_RDWR)
    doings: list[tuple[str, Callable[[], object]]] = [
        ("write", lambda: os.pwrite(one, b"BYTES", 0)),
        ("exchange", lambda: scene.quietly("renameat2", "a", "b", EXCHANGE)),
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

"""Every call with every path that leads nowhere: missing, through a file, in circles, too long, closed."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from tests.mounted.conformance.calls import NOREPLACE, NOW
from tests.mounted.conformance.registry import CASES
from tests.mounted.conformance.scene import ANN, Scene

Arguments = tuple[object, ...]
PATH: Final = object()
"""Where the path goes."""

MAKING: Final[dict[str, tuple[str, Arguments]]] = {
    "create": ("open", (PATH, os.O_CREAT | os.O_WRONLY, 0o644)),
    "create exclusively": ("open", (PATH, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)),
    "mkdir": ("mkdir", (PATH, 0o755)),
    "mkfifo": ("mkfifo", (PATH, 0o644)),
    "mknod": ("mknod", (PATH, 0o100644)),
    "mknod of a device": ("mknod", (PATH, 0o20644, 259)),
    "bind": ("bind", (PATH,)),
    "symlink": ("symlink", ("target", PATH)),
    "rename to": ("rename", ("old", PATH)),
    "rename to a free name": ("renameat2", ("old", PATH, NOREPLACE)),
}
FINDING: Final[dict[str, tuple[str, Arguments]]] = {
    "open": ("open", (PATH, os.O_RDONLY)),
    "open to write": ("open", (PATH, os.O_WRONLY)),
    "open and cut": ("open", (PATH, os.O_WRONLY | os.O_TRUNC)),
    "open a directory": ("open", (PATH, os.O_RDONLY | os.O_DIRECTORY)),
    "stat": ("stat", (PATH,)),
    "lstat": ("lstat", (PATH,)),
    "access": ("access", (PATH, os.F_OK)),
    "chmod": ("chmod", (PATH, 0o600)),
    "chown": ("chown", (PATH, 7, 7)),
    "lchown": ("lchown", (PATH, 7, 7)),
    "utimensat": ("utimensat", (PATH, (5, NOW), (5, NOW))),
    "truncate": ("truncate", (PATH, 5)),
    "readlink": ("readlink", (PATH,)),
    "listdir": ("listdir", (PATH,)),
    "chdir": ("chdir", (PATH,)),
    "rmdir": ("rmdir", (PATH,)),
    "unlink": ("unlink", (PATH,)),
    "rename from": ("rename", (PATH, "new")),
}

PATHS: Final = {
    "nothing": "nothing",
    "in nothing": "nothing/name",
    "in a file": "file/name",
    "in a fifo": "fifo/name",
    "in a socket": "socket/name",
    "in a device": "device/name",
    "in a link to a file": "link/name",
    "in a dangling link": "dangling/name",
    "in a loop": "loop/name",
    "a loop": "loop",
    "a dangling link": "dangling",
    "a link to itself through a directory": "dir/up/loop",
    "a file with a slash": "file/",
    "a link with a slash": "link/",
    "a dangling link with a slash": "dangling/",
    "nothing with a slash": "nothing/",
    "an empty path": "",
    "dot": "dir/.",
    "dot dot": "dir/..",
    "a name of 256 bytes": "n" * 256,
    "in a name of 256 bytes": "n" * 256 + "/name",
    "256 bytes in UTF-8": "ü" * 128,
    "a path of 4096 bytes": "dir/../" * 585 + "x",
}


def _furnish(scene: Scene) -> None:
    for kind, name in (("regular", "file"), ("fifo", "fifo"), ("socket", "socket"), ("char", "device")):
        scene.quietly("make", kind, name)
    scene.quietly("mkdir", "dir")
    scene.quietly("symlink", "file", "link")
    scene.quietly("symlink", "missing", "dangling")
    scene.quietly("symlink", "loop", "loop")
    scene.quietly("symlink", "..", "dir/up")


def _fails(path: str, scene: Scene) -> None:
    _furnish(scene)
    home = os.getcwd()
    for call, arguments in (*MAKING.values(), *FINDING.values()):
        if "old" in arguments and not os.path.lexists("old"):
            scene.do("create", "old")
        scene.do(call, *(path if argument is PATH else argument for argument in arguments))
        os.chdir(home)
        _restore(scene)


def _restore(scene: Scene) -> None:
    """What a call has made or taken away where it worked, which it does with some."""
    scene.do("listdir", ".")
    for name in ("nothing", "missing", "new"):
        if os.path.lexists(name):
            scene.do("rmdir" if os.path.isdir(name) and not os.path.islink(name) else "unlink", name)
    if not os.path.lexists("loop"):
        scene.quietly("symlink", "loop", "loop")
    if not os.path.lexists("dangling"):
        scene.quietly("symlink", "missing", "dangling")
    if not os.path.isdir("dir"):
        scene.quietly("mkdir", "dir")
    if not os.path.lexists("dir/up"):
        scene.quietly("symlink", "..", "dir/up")


for _label, _path in PATHS.items():
    CASES[f"paths: {_label}"] = partial(_fails, _path)


def _closed(mode: int, scene: Scene) -> None:
    """Ann has no business in a directory, or only some."""
    scene.quietly("mkdir", "closed")
    for name in ("file", "other"):
        scene.quietly("make", "regular", f"closed/{name}", 0o666)
    scene.quietly("mkdir", "closed/dir", 0o777)
    scene.quietly("symlink", "file", "closed/link")
    scene.quietly("mkdir", "open", 0o777)
    scene.quietly("make", "regular", "open/old", 0o666)
    scene.quietly("chmod", ".", 0o777)
    scene.quietly("lchown", "open/old", 65534, 65533)
    scene.quietly("chmod", "closed", mode)
    with scene.user(ANN):
        for call, arguments in MAKING.values():
            words = ("open/old" if word == "old" else word for word in arguments)
            scene.do(call, *("closed/new" if word is PATH else word for word in words))
        for call, arguments in FINDING.values():
            if call not in ("chdir", "chmod", "chown", "lchown"):
                name = "closed/dir" if call in ("rmdir", "listdir") else "closed/file"
                scene.do(call, *(name if word is PATH else word for word in arguments))
        scene.do("unlink", "closed/link")
        scene.do("rename", "closed/other", "open/other")
    scene.do("listdir", "closed")


for _mode in (0o755, 0o711, 0o744, 0o777, 0o722, 0o700, 0o770, 0o773):
    CASES[f"paths: a directory of mode {_mode:o}"] = partial(_closed, _mode)


def _for_class(who: str, scene: Scene) -> None:
    """Search and write permission of a directory, by the class that the user is in."""
    user = {"owner": (65534, 1), "group": (1, 65533), "other": (1, 1), "extra": (1, 1, (1, 65533))}[who]
    scene.quietly("mkdir", "dir")
    scene.quietly("chown", "dir", 65534, 65533)
    for bits in range(8):
        for shift in (0, 3, 6):
            scene.quietly("chmod", "dir", bits << shift)
            with scene.user(user):  # type: ignore[arg-type]  # a stand-in
                made = scene.do("create", "dir/file", 0o644)
                scene.do("stat", "dir/file")
                scene.do("listdir", "dir")
                scene.do("unlink", "dir/file")
            if made == "ok" and os.path.exists("dir/file"):
                scene.quietly("unlink", "dir/file")


for _who in ("owner", "group", "other", "extra"):
    CASES[f"paths: a directory's bits for {_who}"] = partial(_for_class, _who)

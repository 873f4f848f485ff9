"""Whether files are made, changed or removed only where they belong: seen by Python's own audit events."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CHANGES: Final = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
}
"""By event, which of its arguments are paths that are changed."""
AT: Final = set(CHANGES) - {"os.truncate", "shutil.rmtree"}
"""Those whose last argument is the descriptor of a directory, or -1."""
MEMORY: Final = Path("/dev/shm")
_allowed: list[str] = []
_escapes: list[str] = []


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if not _allowed or (event != "open" and event not in CHANGES):
        return
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    for place in CHANGES.get(event, (0,)):
        path = arguments[place]
        if not isinstance(path, str | bytes | os.PathLike):
            continue  # a descriptor
        last = arguments[-1]
        if event in AT and isinstance(last, int) and last >= 0:
            continue  # relative to a descriptor, as shutil does it with what it has opened
        real = os.path.realpath(os.fsdecode(path))
        if not real.startswith(_allowed[-1]) and not real.startswith("/dev/null"):
            _escapes.append(f"{event} {real}")


sys.addaudithook(_heard)


@contextmanager
def confined() -> Iterator[Path]:
    """A directory of its own; raises AssertionError when anything else was changed meanwhile."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
        inside = Path(place).resolve() / "inside"
        inside.mkdir()
        _escapes.clear()
        _allowed.append(str(inside))
        try:
            yield inside
        finally:
            _allowed.pop()
        assert not _escapes, _escapes
        assert os.listdir(place) == ["inside"]

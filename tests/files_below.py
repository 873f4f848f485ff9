"""What a directory holds while another process or thread changes it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def stats(root: Path) -> dict[Path, os.stat_result]:
    """Every file below and its status; what goes while we look is left out.

    `Path.rglob` fails with FileNotFoundError where a directory vanishes under it; `os.walk` does not.
    """
    found: dict[Path, os.stat_result] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):
                path = Path(directory, name)
                found[path] = path.lstat()
    return found


def bytes_below(root: Path) -> int:
    """The sizes of all files below together."""
    return sum(status.st_size for status in stats(root).values())

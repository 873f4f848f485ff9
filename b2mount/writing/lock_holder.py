"""Who has locked a directory with flock(2), as the kernel tells it. Trying the lock to find out could turn a
mount away that just starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LOCKS: Final = Path("/proc/locks")
SHOWN: Final = 200
"""Characters of a command line."""


def holder_of(directory: Path) -> int | None:
    """The process that has it locked; None where there is none that can be seen from here."""
    try:
        inode = str(directory.stat().st_ino)
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, kind, _, mode, pid, place, *_ = [*line.replace("->", "").split(), *[""] * 6]
        if (kind, mode, place.rpartition(":")[2]) == ("FLOCK", "WRITE", inode) and int(pid) > 0:
            return int(pid)
    return None


def in_words(process: int | None) -> str:
    """`process 12 (b2mount mount my-bucket /mnt)`, as far as it can be seen from here."""
    if process is None:
        return "another process"
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {process}"
    words[0] = os.path.basename(words[0])
    command = b" ".join(words).decode(errors="replace").strip()
    return f"process {process} ({command[:SHOWN]})"

"""Memory that the machine really has.

A virtual machine may hand freed memory back to its host (free page reporting) and gets it again page by
page, at less than half the speed of memory that is there. Whether a row meets the one or the other is
chance: so rows of big files take as much as they need beforehand, every peer's alike.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

TAKE: Final = "import mmap; mmap.mmap(-1, {size}, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE)"
WITHIN: Final = 120.0


def settle_memory(size: int) -> None:
    """Have `size` bytes that were never used, or not for long, brought in by the host; free again when
    this returns."""
    subprocess.run([sys.executable, "-c", TAKE.format(size=size)], check=True, timeout=WITHIN)

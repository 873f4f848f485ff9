"""What the mount tells the kernel unasked. Blocking: to be called in a thread, never on the loop,
which may be what the kernel waits for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import pyfuse3

log = logging.getLogger(__name__)

READ_AHEAD_KB: Final = 4096
MAX_BACKGROUND: Final = 256
CONGESTION: Final = 192


def tune_kernel(device: int) -> None:
    """Bigger readahead and more requests at once, where this user may set them: the kernel's own
    128 KiB and 12 requests keep a line with 40 ms to the first byte idle."""
    connection = f"/sys/fs/fuse/connections/{os.minor(device)}"
    set_number(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", READ_AHEAD_KB)
    set_number(f"{connection}/max_background", MAX_BACKGROUND)
    set_number(f"{connection}/congestion_threshold", CONGESTION)


def set_number(path: str, value: int) -> None:
    """Write a kernel setting, where this user may."""
    try:
        Path(path).write_text(str(value))
    except OSError as error:
        log.debug("%s stays as it is: %s", path, error)


def drop_pages(number: int) -> None:
    """Make the kernel ask again for the bytes of an inode."""
    try:
        pyfuse3.invalidate_inode(pyfuse3.InodeT(number), attr_only=False)
    except OSError as error:
        log.debug("inode %d has no pages to drop: %s", number, error)

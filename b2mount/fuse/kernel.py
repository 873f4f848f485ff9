"""What the mount tells the kernel unasked. All of it may block, so it happens in a thread, never on
the loop, which may be what the kernel waits for."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs
import pyfuse3
import trio

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


@attrs.define(eq=False)
class KernelPages:
    """The pages of files that the kernel holds."""

    _in_thread: Callable[[Callable[[int], None], int], Awaitable[None]]
    _going: Counter[int] = attrs.field(factory=Counter)

    def drop(self, number: int, nursery: trio.Nursery) -> None:
        """Make the kernel ask again for the bytes of an inode. Who opens it from now on gets none of
        them; from who has it open they are taken in a while."""
        self._going[number] += 1
        nursery.start_soon(self._drop, number)

    async def _drop(self, number: int) -> None:
        try:
            await self._in_thread(_drop_pages, number)
        finally:
            self._going[number] -= 1
            if not self._going[number]:
                del self._going[number]

    def are_right(self, number: int) -> bool:
        """Whether what the kernel holds of an inode may be shown to who opens it now."""
        return number not in self._going


def _drop_pages(number: int) -> None:
    try:
        pyfuse3.invalidate_inode(pyfuse3.InodeT(number), attr_only=False)
    except OSError as error:
        log.debug("inode %d has no pages to drop: %s", number, error)

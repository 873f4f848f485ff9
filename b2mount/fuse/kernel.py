"""What the mount tells the kernel unasked. All of it may block, so it happens in a thread, never on
the loop, which may be what the kernel waits for."""

from __future__ import annotations

import logging
import os
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pyfuse3
import trio

log = logging.getLogger(__name__)

READ_AHEAD_KB: Final = 2048
"""The kernel asks for twice as much at once, of each file, and each MiB of it takes one of pyfuse3's
buffers. Whatever is further ahead is ours to fetch."""
MAX_BACKGROUND: Final = 256
CONGESTION: Final = 192

FUSE_DEVICE: Final = os.makedev(10, 229)
EXPIRE_ENTRY: Final = 3
"""FUSE_NOTIFY_INVAL_ENTRY of linux/fuse.h."""
EXPIRE_ONLY: Final = 1
"""FUSE_EXPIRE_ONLY, Linux 6.2 and later: the kernel asks for the name again, and whoever is in the
directory stays in it. Older kernels take the name out of the tree, as pyfuse3.invalidate_entry does on
all of them: a program whose working directory it is can't say any more where it is."""
NOTICE: Final = struct.Struct("=IiQQII")
"""fuse_out_header (length, code, 0) and fuse_notify_inval_entry_out (parent, length of name, flags)."""
AT_ONCE: Final = 1000
"""Names in one call of a thread: some 20 ms."""


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


@attrs.define(eq=False)
class KernelNames:
    """The names that the kernel knows: present and absent ones, with their attributes."""

    _in_thread: Callable[
        [Callable[[Mapping[int, Sequence[str]]], None], Mapping[int, Sequence[str]]], Awaitable[None]
    ]

    async def expire(self, names: Mapping[int, Sequence[str]], *, within: float) -> None:
        """Make the kernel ask again for these names, by the number of their directory, and for the
        root's attributes. A directory in which a lookup waits for B2 keeps this waiting as well; it ends
        `within` the seconds for which the kernel would have believed them anyway."""
        with trio.move_on_after(within):
            for some in _some_of(names):
                await self._in_thread(_expire, some)


def _some_of(names: Mapping[int, Sequence[str]]) -> Iterator[dict[int, Sequence[str]]]:
    some: dict[int, Sequence[str]] = {pyfuse3.ROOT_INODE: ()}
    room = AT_ONCE
    for number, all_names in names.items():
        for begin in range(0, len(all_names), AT_ONCE):
            some[number] = all_names[begin : begin + AT_ONCE]
            room -= len(some[number])
            if room <= 0:
                yield some
                some, room = {}, AT_ONCE
    yield some


def _expire(names: Mapping[int, Sequence[str]]) -> None:
    if pyfuse3.ROOT_INODE in names:
        pyfuse3.invalidate_inode(pyfuse3.ROOT_INODE, attr_only=True)
    with _connection() as connection:
        for number, some in names.items():
            for name in some:
                try:
                    os.write(connection, _notice(number, os.fsencode(name)))
                except OSError as error:
                    log.debug("%r in inode %d is not known: %s", name, number, error)


def _notice(directory: int, name: bytes) -> bytes:
    """What tells the kernel to ask for a name again; pyfuse3 3.5 offers that only with its removal."""
    size = NOTICE.size + len(name) + 1
    return NOTICE.pack(size, EXPIRE_ENTRY, 0, directory, len(name), EXPIRE_ONLY) + name + b"\0"


@contextmanager
def _connection() -> Iterator[int]:
    """A descriptor of this process's mount, which pyfuse3 keeps for itself. One of our own: the mount may
    end, and its number be another file's, while a notice is on its way."""
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            own = os.dup(number)
        except OSError:  # closed meanwhile
            continue
        try:
            if os.fstat(own).st_rdev == FUSE_DEVICE:
                yield own
                return
        finally:
            os.close(own)
    raise FileNotFoundError("nothing is mounted")


def fuse_options(source: str, *, allow_other: bool, read_only: bool) -> set[str]:
    """What libfuse is told. `nosuid` and `nodev` it adds itself."""
    name = source.replace("\\", "\\\\").replace(",", "\\,")
    options = {f"fsname={name}", "subtype=b2mount", "default_permissions", "noatime"}
    options |= {"allow_other"} if allow_other else set()
    options |= {"ro"} if read_only else set()
    return options

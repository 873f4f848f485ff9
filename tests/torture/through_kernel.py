"""The programs of tests/crash as processes on a real mount, which may die under them and come back.

python -m tests.torture.through_kernel MOUNT LEDGER SEED small|large|huge|share...
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from tests.crash.claims import Ledger
from tests.crash.load import Home, Sharer, Writer

HOMES: Final = {
    home.name: home
    for home in (
        Home("small", (0, 1, 700, 4096, 9000, 20_000), piece=5000),
        Home("large", (150_000, 400_000, 1_500_000), piece=60_000),
        Home("huge", (26_000_000,), piece=100_000, pause=0.2),
    )
}
"""`huge` files are sent in parts."""
SHARED_SIZE: Final = 5000
GONE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV})
BACK_WITHIN: Final = 200.0
"""Longer than any silence of B2 (`plan`), in which a mount that was killed can't say what is in it."""
LIBC: Final = ctypes.CDLL(None, use_errno=True)
EXCHANGE: Final = 2
"""RENAME_EXCHANGE of renameat2(2)."""


def stop_sign(ledger: Path) -> Path:
    """Programs end when this file is there."""
    return ledger.with_suffix(".stop")


@attrs.define(eq=False)
class ThroughKernel:
    """Files of a directory in a mount. Names are looked up from a descriptor of the directory in the mount:
    nothing ever goes into the plain directory below it while there is no mount."""

    mount_point: Path
    folder: str
    _root: int | None = None

    async def create(self, name: str) -> int:
        with self._at() as root:
            return os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=root)

    async def open(self, name: str, *, cut: bool = False) -> int:
        with self._at() as root:
            return os.open(name, os.O_RDWR | (os.O_TRUNC if cut else 0), dir_fd=root)

    async def write(self, fh: int, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(fh, view, offset)
            view, offset = view[written:], offset + written

    async def sync(self, fh: int) -> None:
        os.fsync(fh)

    async def close(self, fh: int) -> None:
        os.close(fh)

    async def truncate(self, name: str, size: int) -> None:
        fh = await self.open(name)
        try:
            os.ftruncate(fh, size)
        except OSError:
            with suppress(OSError):
                os.close(fh)
            raise
        os.close(fh)

    async def unlink(self, name: str) -> None:
        with self._at() as root:
            os.unlink(name, dir_fd=root)

    async def rename(self, old: str, new: str) -> None:
        with self._at() as root:
            os.rename(old, new, src_dir_fd=root, dst_dir_fd=root)

    async def exchange(self, one: str, other: str) -> None:
        with self._at() as root:
            if LIBC.renameat2(root, os.fsencode(one), root, os.fsencode(other), EXCHANGE):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    async def make_directory(self, name: str) -> None:
        with self._at() as root, suppress(FileExistsError):
            os.mkdir(name, dir_fd=root)

    @contextmanager
    def _at(self) -> Iterator[int]:
        if self._root is None:
            self._root = self._open_root()
        try:
            yield self._root
        except OSError as error:
            if error.errno in GONE:
                os.close(self._root)
                self._root = None
            raise

    def _open_root(self) -> int:
        """Wait until something is mounted there and answers."""
        below = self.mount_point.parent.stat().st_dev
        end = time.monotonic() + BACK_WITHIN
        while time.monotonic() < end:
            with suppress(OSError):
                fd = os.open(self.mount_point / self.folder, os.O_RDONLY | os.O_DIRECTORY)
                if os.fstat(fd).st_dev != below:
                    return fd
                os.close(fd)
            time.sleep(0.02)
        raise SystemExit(f"nothing is mounted at {self.mount_point}")


def _until(sign: Path) -> Callable[[], bool]:
    return lambda: not sign.exists()


def play(arguments: argparse.Namespace) -> int:
    """Until the sign; returns how many operations have returned."""
    ledger = Ledger(arguments.ledger)
    ledger.open()
    files = ThroughKernel(arguments.mount, arguments.folder)
    dice = random.Random(f"{arguments.seed} {arguments.program}")
    sign = stop_sign(arguments.ledger)
    program: Writer | Sharer
    if arguments.program in HOMES:
        program = Writer(files, ledger, dice, HOMES[arguments.program])
    else:
        program = Sharer(files, ledger, dice, arguments.program, SHARED_SIZE)
    trio.run(program.run, _until(sign))
    return program.done


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.through_kernel", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("folder")
    parser.add_argument("ledger", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("program")
    print(play(parser.parse_args()))


if __name__ == "__main__":
    main()

"""Every operation that a file system has, drawn at random; one can be done in several directories."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from tests.mounted.trees import LONG_AGO, look

LIBC: Final = ctypes.CDLL(None, use_errno=True)
NOREPLACE: Final = 1
EXCHANGE: Final = 2
DIRECTORIES: Final = ("d", "e")
LEAVES: Final = ("a", "b", "c", "d", "e", "ü f")
TARGETS: Final = ("a", "d/a", "d/../b", "nowhere", "d")
"""None leads out of the directory."""
SIZES: Final = (0, 1, 100, 4096, 5000, 70_000, 131_073, 300_000)
MODES: Final = (0o600, 0o644, 0o640, 0o755, 0o777, 0o400)
MARKS: Final = ("user.one", "user.two", "user.three")
KEPT: Final = 4
"""Descriptors that stay open."""


@attrs.define
class Side:
    """A directory, and the descriptors that are open in it."""

    root: Path
    kept: list[int] = attrs.field(factory=list)

    def close(self) -> None:
        while self.kept:
            os.close(self.kept.pop())


Action = Callable[[Side], object]
"""Returns what must be the same everywhere. Raises OSError."""


@attrs.frozen
class Draw:
    """Draws what an operation works on."""

    dice: random.Random

    def path(self) -> str:
        depth = self.dice.choice((0, 0, 1, 1, 2))
        return "/".join([*(self.dice.choice(DIRECTORIES) for _ in range(depth)), self.dice.choice(LEAVES)])

    def directory(self) -> str:
        depth = self.dice.choice((0, 1, 1, 2))
        return "/".join(["."] + [self.dice.choice(DIRECTORIES) for _ in range(depth)])

    def size(self) -> int:
        return self.dice.choice(SIZES)

    def data(self) -> bytes:
        return self.dice.randbytes(self.size())

    def offset(self) -> int:
        return self.dice.choice((0, 1, 4095, 65_536, 131_072, self.dice.randrange(400_000)))

    def mode(self) -> int:
        return self.dice.choice(MODES)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Whatever it is: nobody waits for the other end of a pipe."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


# -- names ---------------------------------------------------------------------------------


def creat(draw: Draw) -> Action:
    path, data = draw.path(), draw.data()
    flags = os.O_RDWR | os.O_CREAT | draw.dice.choice((0, os.O_TRUNC, os.O_TRUNC, os.O_EXCL))

    def action(side: Side) -> object:
        with opened(side.root / path, flags) as fd:
            return os.pwrite(fd, data, 0)

    return action


def mkdir(draw: Draw) -> Action:
    path, mode = draw.path(), draw.mode() | 0o700
    return lambda side: os.mkdir(side.root / path, mode)


def rmdir(draw: Draw) -> Action:
    path = draw.path()
    return lambda side: os.rmdir(side.root / path)


def unlink(draw: Draw) -> Action:
    path = draw.path()
    return lambda side: os.unlink(side.root / path)


def rename(draw: Draw) -> Action:
    old, new = draw.path(), draw.path()
    return lambda side: os.rename(side.root / old, side.root / new)


def rename_with(flags: int) -> Callable[[Draw], Action]:
    """renameat2(2)."""

    def drawn(draw: Draw) -> Action:
        old, new = draw.path(), draw.path()

        def action(side: Side) -> None:
            paths = (os.fsencode(side.root / old), os.fsencode(side.root / new))
            if LIBC.renameat2(-100, paths[0], -100, paths[1], flags):
                raise OSError(ctypes.get_errno(), "renameat2")

        return action

    return drawn


def symlink(draw: Draw) -> Action:
    path, target = draw.path(), draw.dice.choice(TARGETS)
    return lambda side: os.symlink(target, side.root / path)


def readlink(draw: Draw) -> Action:
    path = draw.path()
    return lambda side: os.readlink(side.root / path)


def mknod(draw: Draw) -> Action:
    path = draw.path()
    mode = draw.dice.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG)) | draw.mode()
    return lambda side: os.mknod(side.root / path, mode)


def readdir(draw: Draw) -> Action:
    path = draw.directory()
    return lambda side: sorted(os.listdir(side.root / path))


def scan(draw: Draw) -> Action:
    """Names and kinds, as find(1) asks."""
    path = draw.directory()

    def action(side: Side) -> object:
        with os.scandir(side.root / path) as entries:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)

    return action


# -- attributes ----------------------------------------------------------------------------


def lstat(draw: Draw) -> Action:
    path = draw.path()
    return lambda side: look(os.lstat(side.root / path))


def chmod(draw: Draw) -> Action:
    path, mode = draw.path(), draw.mode()

    def action(side: Side) -> None:
        # of a link it is what it points to, which others may have
        is_directory = stat.S_ISDIR(os.stat(side.root / path).st_mode)
        os.chmod(side.root / path, mode | 0o700 if is_directory else mode)

    return action


def chown(draw: Draw) -> Action:
    path, owner, group = draw.path(), draw.dice.choice((-1, 0, 1000)), draw.dice.choice((-1, 0, 100))
    return lambda side: os.lchown(side.root / path, owner, group)


def utimes(draw: Draw) -> Action:
    path, modified = draw.path(), draw.dice.randrange(LONG_AGO) * 10**9 + draw.dice.randrange(10**9)
    return lambda side: os.utime(side.root / path, ns=(modified, modified))


def setxattr(draw: Draw) -> Action:
    path, name = draw.path(), draw.dice.choice(MARKS)
    value = draw.dice.randbytes(draw.dice.choice((0, 5, 50)))
    return lambda side: os.setxattr(side.root / path, name, value)


def getxattr(draw: Draw) -> Action:
    path, name = draw.path(), draw.dice.choice(MARKS)
    return lambda side: os.getxattr(side.root / path, name)


def listxattr(draw: Draw) -> Action:
    path = draw.path()
    return lambda side: sorted(n for n in os.listxattr(side.root / path) if n.startswith("user."))


def removexattr(draw: Draw) -> Action:
    path, name = draw.path(), draw.dice.choice(MARKS)
    return lambda side: os.removexattr(side.root / path, name)


# -- bytes ---------------------------------------------------------------------------------


def read(draw: Draw) -> Action:
    path, offset, size = draw.path(), draw.offset(), draw.size()

    def action(side: Side) -> object:
        with opened(side.root / path, os.O_RDONLY) as fd:
            return os.pread(fd, size, offset)

    return action


def write(draw: Draw) -> Action:
    path, offset, data = draw.path(), draw.offset(), draw.data()
    syncs, flags = draw.dice.random() < 0.2, os.O_RDWR | draw.dice.choice((0, 0, os.O_APPEND))

    def action(side: Side) -> object:
        with opened(side.root / path, flags) as fd:
            written = os.pwrite(fd, data, offset)
            if syncs:
                os.fsync(fd)
            return written

    return action


def truncate(draw: Draw) -> Action:
    path, size = draw.path(), draw.offset()
    return lambda side: os.truncate(side.root / path, size)


def map_and_write(draw: Draw) -> Action:
    path, data, part = draw.path(), draw.dice.randbytes(5000), draw.dice.random()

    def action(side: Side) -> object:
        with opened(side.root / path, os.O_RDWR) as fd:
            size = os.fstat(fd).st_size
            if not size or not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            with mmap.mmap(fd, size) as pages:
                offset = int(part * size)
                before = pages[offset : offset + 100]
                piece = data[: size - offset]
                pages[offset : offset + len(piece)] = piece
                return before

    return action


def lock(draw: Draw) -> Action:
    """flock(2), held while it appends."""
    path, data = draw.path(), draw.dice.randbytes(100)

    def action(side: Side) -> object:
        with opened(side.root / path, os.O_RDWR | os.O_APPEND) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # what goes into a pipe is the kernel's business, and dates it only where times are too
            return os.write(fd, data) if stat.S_ISREG(os.fstat(fd).st_mode) else None

    return action


def fsync_directory(draw: Draw) -> Action:
    path = draw.directory()

    def action(side: Side) -> None:
        with opened(side.root / path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)

    return action


# -- descriptors that stay open ------------------------------------------------------------


def keep(draw: Draw) -> Action:
    path = draw.path()

    def action(side: Side) -> None:
        if len(side.kept) < KEPT:
            side.kept.append(os.open(side.root / path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644))

    return action


def with_kept(draw: Draw, use: Callable[[int], object]) -> Action:
    """With one of them, if there are any."""
    at = draw.dice.random()
    return lambda side: use(side.kept[int(at * len(side.kept))]) if side.kept else None


def write_kept(draw: Draw) -> Action:
    data, offset = draw.data(), draw.offset()
    return with_kept(draw, lambda fd: os.pwrite(fd, data, offset))


def read_kept(draw: Draw) -> Action:
    size, offset = draw.size(), draw.offset()
    return with_kept(draw, lambda fd: os.pread(fd, size, offset))


def truncate_kept(draw: Draw) -> Action:
    size = draw.offset()
    return with_kept(draw, lambda fd: os.ftruncate(fd, size))


def sync_kept(draw: Draw) -> Action:
    return with_kept(draw, os.fsync)


def stat_kept(draw: Draw) -> Action:
    return with_kept(draw, lambda fd: look(os.fstat(fd)))


def close_kept(draw: Draw) -> Action:
    at = draw.dice.random()
    return lambda side: os.close(side.kept.pop(int(at * len(side.kept)))) if side.kept else None


WEIGHTS: Final[Mapping[Callable[[Draw], Action], int]] = {
    creat: 10,
    mkdir: 6,
    rmdir: 3,
    unlink: 6,
    rename: 7,
    rename_with(NOREPLACE): 3,
    rename_with(EXCHANGE): 3,
    symlink: 2,
    readlink: 2,
    mknod: 2,
    readdir: 5,
    scan: 2,
    lstat: 8,
    chmod: 3,
    chown: 2,
    utimes: 3,
    setxattr: 3,
    getxattr: 2,
    listxattr: 2,
    removexattr: 1,
    read: 8,
    write: 8,
    truncate: 4,
    map_and_write: 3,
    lock: 3,
    fsync_directory: 1,
    keep: 4,
    write_kept: 6,
    read_kept: 5,
    truncate_kept: 3,
    sync_kept: 2,
    stat_kept: 2,
    close_kept: 3,
}
ALONE: Final = frozenset({map_and_write})
"""Not among names that others change: who cuts off a mapped page kills whoever touches it."""
MAY_HAPPEN: Final = frozenset(
    (
        *("ENOENT", "EEXIST", "ENOTEMPTY", "ENOTDIR", "EISDIR", "EINVAL", "ELOOP", "EAGAIN", "ENXIO"),
        *("ENODATA", "EPERM", "ESPIPE", "ENODEV"),
    )
)
"""What an operation may meet among names that others change."""


def outcome(action: Action, side: Side) -> object:
    """What it returned, or the name of the error."""
    try:
        return action(side)
    except OSError as error:
        return errno.errorcode[error.errno or 0]

"""The system calls that cases are made of, each under one name, with results that can be compared."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)
AT_FDCWD: Final = -100
NOFOLLOW: Final = 0x100
NOW: Final = (1 << 30) - 1
OMIT: Final = (1 << 30) - 2
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4

TYPES: Final = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}
KINDS: Final = ("regular", "dir", "fifo", "block", "char", "socket", "symlink")
NO_DIRECTORIES: Final = tuple(kind for kind in KINDS if kind != "dir")


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def utimensat(path: str, accessed: tuple[int, int], modified: tuple[int, int], flags: int = 0) -> None:
    """utimensat(2), with NOW and OMIT, which os.utime does not know."""
    times = (_Timespec * 2)(_Timespec(*accessed), _Timespec(*modified))
    _checked(LIBC.utimensat(AT_FDCWD, os.fsencode(path), times, flags))


def renameat2(old: str, new: str, flags: int) -> None:
    """renameat2(2)."""
    _checked(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def bind(path: str) -> None:
    """A unix socket with a name, in place of one that is made by mknod."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


def opened(path: str, flags: int, mode: int = 0o644) -> None:
    """Open and close."""
    os.close(os.open(path, flags, mode))


def create(path: str, mode: int = 0o644) -> None:
    """A new file."""
    opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)


def append(path: str, text: str = "x") -> int:
    """Write at the end of what is there."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, text.encode())
    finally:
        os.close(fd)


def ftruncate(path: str, size: int, flags: int = os.O_RDWR) -> None:
    """Cut through a descriptor."""
    fd = os.open(path, flags)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def make(kind: str, path: str, mode: int = 0o644) -> None:
    """One of each kind."""
    makers: dict[str, Callable[[], None]] = {
        "regular": lambda: create(path, mode),
        "dir": lambda: os.mkdir(path, mode),
        "fifo": lambda: os.mkfifo(path, mode),
        "block": lambda: os.mknod(path, stat.S_IFBLK | mode, os.makedev(7, 300)),
        "char": lambda: os.mknod(path, stat.S_IFCHR | mode, os.makedev(1, 3)),
        "socket": lambda: os.mknod(path, stat.S_IFSOCK | mode),
        "symlink": lambda: os.symlink("nowhere", path),
    }
    makers[kind]()


def read(path: str) -> str:
    """All of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 20).decode()
    finally:
        os.close(fd)


def look(path: str) -> str:
    """What lstat says, as far as file systems must agree on it."""
    found = os.lstat(path)
    kind = TYPES[stat.S_IFMT(found.st_mode)]
    text = f"{kind} {stat.S_IMODE(found.st_mode):o} {found.st_uid}:{found.st_gid}"
    if kind == "dir":  # its size and, on some, its link count are the file system's own business
        return text
    return f"{text} links={found.st_nlink} size={found.st_size} device={found.st_rdev:x}"


CALLS: Final[dict[str, Callable[..., object]]] = {
    "access": lambda path, mode: os.access(path, mode, effective_ids=True),
    "append": append,
    "bind": bind,
    "chdir": os.chdir,
    "chmod": os.chmod,
    "chown": os.chown,
    "create": create,
    "ftruncate": ftruncate,
    "lchown": os.lchown,
    "link": lambda old, new: os.link(old, new, follow_symlinks=False),
    "listdir": lambda path: sorted(os.listdir(path)),
    "look": look,
    "lstat": lambda path: stat.S_IFMT(os.lstat(path).st_mode),
    "make": make,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": os.mknod,
    "open": opened,
    "read": read,
    "readlink": os.readlink,
    "rename": os.rename,
    "renameat2": renameat2,
    "rmdir": os.rmdir,
    "stat": lambda path: stat.S_IFMT(os.stat(path).st_mode),
    "symlink": os.symlink,
    "truncate": os.truncate,
    "unlink": os.unlink,
    "utimensat": utimensat,
}


def outcome(action: Callable[[], object]) -> str:
    """A result as text, or the name of the error."""
    try:
        result = action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "ok" if result is None else str(result)

"""What is behind a name: streams of names, mapped memory, locks, holes, attributes."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import os
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.mounted.conformance.calls import KINDS, LIBC
from tests.mounted.conformance.registry import case
from tests.mounted.conformance.scene import ANN, Scene

COUNT: Final = 150
PREFIX: Final = "name" * 25
"""Long, so that the kernel asks several times."""
NAME_AT: Final = 19
"""Where the name is in a struct dirent."""
F_OFD_SETLK: Final = 37
LIBC.opendir.restype = LIBC.readdir.restype = ctypes.c_void_p
LIBC.telldir.restype = ctypes.c_long
LIBC.readdir.argtypes = LIBC.closedir.argtypes = LIBC.telldir.argtypes = [ctypes.c_void_p]
LIBC.rewinddir.argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class _Stream:
    """A DIR of the C library."""

    def __init__(self, path: str) -> None:
        self.handle = LIBC.opendir(path.encode())

    def next(self) -> str | None:
        entry = LIBC.readdir(self.handle)
        return ctypes.string_at(entry + NAME_AT).decode() if entry else None

    def some(self, count: int = COUNT + 10) -> list[str]:
        found: list[str] = []
        while len(found) < count and (name := self.next()) is not None:
            found.append(name)
        return found

    def tell(self) -> int:
        return int(LIBC.telldir(self.handle))

    def seek(self, place: int) -> None:
        LIBC.seekdir(self.handle, place)

    def rewind(self) -> None:
        LIBC.rewinddir(self.handle)

    def close(self) -> None:
        LIBC.closedir(self.handle)


@case("streams: places in a directory")
def _places(scene: Scene) -> None:
    for number in range(COUNT):
        os.symlink("x", f"{PREFIX}-{number}")
    stream = _Stream(".")
    first, place, second = stream.some(70), stream.tell(), stream.some()
    scene.note("all", lambda: len({*first, *second}))
    scene.note("none twice", lambda: len(first) + len(second))
    stream.seek(place)
    scene.note("from the place on", lambda: stream.some() == second)
    stream.seek(place)
    for name in first[2:60]:
        os.unlink(name)
    for number in range(20):
        os.symlink("x", f"new-{number}")
    left = [name for name in second if name.startswith("name")]
    scene.note("what stays comes once", lambda: [n for n in stream.some(COUNT * 2) if n in left] == left)
    stream.rewind()
    names = stream.some(COUNT * 2)
    scene.note("from the beginning", lambda: sorted(names) == sorted([".", "..", *os.listdir(".")]))
    stream.close()


@case("streams: removing while reading")
def _removing(scene: Scene) -> None:
    for number in range(COUNT):
        os.symlink("x", f"{PREFIX}-{number}")
    stream = _Stream(".")
    while (name := stream.next()) is not None:
        if name not in (".", ".."):
            os.unlink(name)
    stream.close()
    scene.do("listdir", ".")


@contextmanager
def _other_process(action: Callable[[], object]) -> Iterator[int]:
    """Inside, another process has done something and waits."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os.close(done[1])
            action()
            os.write(ready[1], b"x")
            os.read(done[0], 1)
        os._exit(0)
    os.close(ready[1])
    try:
        os.read(ready[0], 1)
        yield child
    finally:
        for fd in (ready[0], done[0], done[1]):
            os.close(fd)
        os.waitpid(child, 0)


def _lock(fd: int, kind: int, start: int, length: int, command: int = fcntl.F_SETLK) -> str:
    request = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    found = struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, request))
    return f"{found[0]} {found[2]} {found[3]}"


@case("locks: fcntl")
def _fcntl(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")

    def held() -> None:
        fd = os.open("it", os.O_RDWR)
        _lock(fd, fcntl.F_WRLCK, 0, 10)
        _lock(fd, fcntl.F_RDLCK, 20, 10)

    fd = os.open("it", os.O_RDWR)
    with _other_process(held):
        for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
            for start in (0, 9, 10, 20, 30):
                scene.note(f"ask {kind} {start}", lambda: _lock(fd, kind, start, 1, fcntl.F_GETLK))
                scene.note(f"take {kind} {start}", lambda: _lock(fd, kind, start, 1))
                scene.note(f"of its own {kind} {start}", lambda: _lock(fd, kind, start, 1, F_OFD_SETLK))
        scene.note("flock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    scene.note("afterwards", lambda: _lock(fd, fcntl.F_WRLCK, 0, 1))
    os.close(fd)


@case("locks: flock")
def _flock(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")
    for held in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        action = lambda held=held: fcntl.flock(os.open("it", os.O_RDONLY), held)  # noqa: E731  # one line each reads best
        with _other_process(action):
            fd = os.open("it", os.O_RDWR)
            for wanted in (fcntl.LOCK_SH, fcntl.LOCK_EX):
                scene.note(f"{held} {wanted}", lambda: fcntl.flock(fd, wanted | fcntl.LOCK_NB))
            os.close(fd)


@case("bytes: mapped memory that is shared")
def _mapped(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")
    scene.quietly("truncate", "it", 10_000)

    def write() -> None:
        with mmap.mmap(os.open("it", os.O_RDWR), 10_000) as view:
            view[5_000:5_005] = b"child"
            view.flush()

    fd = os.open("it", os.O_RDWR)
    with mmap.mmap(fd, 10_000) as view:
        view[0:5] = b"first"
        scene.note("by a read", lambda: os.pread(fd, 5, 0))
        scene.note("write", lambda: os.pwrite(fd, b"second", 100))
        scene.note("in the map", lambda: view[100:106])
        with _other_process(write):
            scene.note("of another process", lambda: view[5_000:5_005])
    with mmap.mmap(fd, 10_000, mmap.MAP_PRIVATE) as view:
        view[0:5] = b"mine!"
        scene.note("nobody else's", lambda: os.pread(fd, 5, 0))
    os.close(fd)
    scene.note("afterwards", lambda: bytes(open_and_read("it", 5_000, 5)))
    scene.look("it")


def open_and_read(path: str, offset: int, size: int) -> bytes:
    """Some bytes of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


@case("bytes: holes, and room made beforehand")
def _holes(scene: Scene) -> None:
    fd = os.open("it", os.O_CREAT | os.O_RDWR)
    doings: list[tuple[str, Callable[[], object]]] = [
        ("write", lambda: os.pwrite(fd, b"end", 3_000_000)),
        ("size", lambda: os.fstat(fd).st_size),
        ("a hole", lambda: os.pread(fd, 100_000, 1_000_000) == bytes(100_000)),
        ("data", lambda: os.lseek(fd, 0, os.SEEK_DATA) <= 3_000_000),
        ("the last hole", lambda: os.lseek(fd, 2_999_999, os.SEEK_HOLE) > 0),
        ("after the end", lambda: os.lseek(fd, 3_000_003, os.SEEK_DATA)),
        ("room", lambda: os.posix_fallocate(fd, 0, 100_000)),
        ("more room", lambda: os.posix_fallocate(fd, 3_000_000, 500_000)),
        ("size", lambda: os.fstat(fd).st_size),
        ("blocks", lambda: os.fstat(fd).st_blocks > 0),
        ("the end", lambda: os.pread(fd, 5, 3_000_000)),
        ("past the end", lambda: os.pread(fd, 5, 3_500_000)),
        ("cut", lambda: os.ftruncate(fd, 2)),
        ("longer", lambda: os.ftruncate(fd, 5)),
        ("all", lambda: os.pread(fd, 10, 0)),
        ("too much", lambda: os.pwrite(fd, b"x", 2**62)),
    ]
    for label, action in doings:
        scene.note(label, action)
    os.close(fd)


@case("bytes: past the kernel's pages")
def _direct(scene: Scene) -> None:
    fd = os.open("it", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, 8192) as pages:
        pages.write(b"0123456789abcdef" * 512)
        scene.note("write", lambda: os.pwritev(fd, [pages], 4096))
        pages.seek(0)
        pages.write(bytes(8192))
        scene.note("read", lambda: os.preadv(fd, [pages], 4096))
        scene.note("bytes", lambda: pages[:20])
        scene.note("before", lambda: (os.preadv(fd, [pages], 0), pages[:4], pages[4096:4100]))
        scene.note("at the end", lambda: os.preadv(fd, [pages], 12_288))
    os.close(fd)
    scene.look("it")


@case("bytes: copied by the kernel")
def _copied(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")
    scene.do("append", "it", "0123456789" * 1000)
    source, target = os.open("it", os.O_RDONLY), os.open("new", os.O_CREAT | os.O_RDWR)
    scene.note("copy_file_range", lambda: os.copy_file_range(source, target, 5_000, 10, 100))
    scene.note("sendfile", lambda: os.sendfile(target, source, 0, 50))
    scene.note("bytes", lambda: os.pread(target, 200, 0))
    scene.note("size", lambda: os.fstat(target).st_size)
    os.close(source)
    os.close(target)


@case("bytes: read, written, cut and mapped in any order")
def _any_order(scene: Scene) -> None:
    chance = random.Random(7)
    scene.quietly("make", "regular", "it")
    fd = os.open("it", os.O_RDWR)
    for number in range(200):
        offset, count = chance.randrange(300_000), chance.choice([1, 100, 4096, 5000, 65_536, 130_000])
        data, size = chance.randbytes(count), os.fstat(fd).st_size
        action = chance.choice([_read, _write, _cut, _append, _map_read, _map_write, _sync, _move])
        scene.note(f"{number} {action.__name__}", lambda: action(fd, min(offset, size), data))
        if chance.random() < 0.1:
            os.close(fd)
            fd = os.open("it", os.O_RDWR)
    scene.note("all", lambda: _digest(os.pread(fd, 1 << 20, 0)))
    os.close(fd)


def _digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha1(data).hexdigest()}"


def _read(fd: int, offset: int, data: bytes) -> str:
    return _digest(os.pread(fd, len(data), offset))


def _write(fd: int, offset: int, data: bytes) -> int:
    return os.pwrite(fd, data, offset + len(data) // 3)


def _cut(fd: int, offset: int, data: bytes) -> None:
    os.ftruncate(fd, offset + len(data) // 2)


def _append(_fd: int, _offset: int, data: bytes) -> int:
    fd = os.open("it", os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def _map_read(fd: int, offset: int, data: bytes) -> str:
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) if os.fstat(fd).st_size else mmap.mmap(-1, 1) as view:
        return _digest(view[offset : offset + len(data)])


def _map_write(fd: int, offset: int, data: bytes) -> None:
    if os.fstat(fd).st_size:
        with mmap.mmap(fd, 0) as view:
            data = data[: len(view) - offset]
            view[offset : offset + len(data)] = data


def _sync(fd: int, _offset: int, _data: bytes) -> None:
    os.fsync(fd)


def _move(_fd: int, _offset: int, _data: bytes) -> None:
    os.rename("it", "other")
    os.rename("other", "it")


@case("attributes: setting and finding them")
def _attributes(scene: Scene) -> None:
    scene.quietly("make", "regular", "it")
    scene.quietly("mkdir", "dir")
    for name in ("it", "dir"):
        for attribute, value, flags in (
            ("user.a", b"", os.XATTR_REPLACE),
            ("user.a", b"one", os.XATTR_CREATE),
            ("user.a", b"two", os.XATTR_CREATE),
            ("user.a", b"two", os.XATTR_REPLACE),
            ("user.b", b"\0\xff", 0),
            ("user.empty", b"", 0),
            ("user." + "n" * 250, b"x", 0),
            ("user." + "n" * 251, b"x", 0),
            ("user.", b"x", 0),
            ("user", b"x", 0),
        ):
            with scene.times(name):
                scene.note(f"set {attribute[:20]}", lambda: os.setxattr(name, attribute, value, flags))
            scene.note(f"get {attribute[:20]}", lambda: os.getxattr(name, attribute))
        scene.note("list", lambda: sorted(n for n in os.listxattr(name) if n.startswith("user.")))
        scene.note("short", lambda: _getxattr(name, "user.a", 1))
        scene.note("asked", lambda: _getxattr(name, "user.a", 0))
        for attribute in ("user.a", "user.a", "user.none"):
            scene.note(f"remove {attribute}", lambda: os.removexattr(name, attribute))
        scene.note("get none", lambda: os.getxattr(name, "user.a"))


def _getxattr(path: str, name: str, size: int) -> int:
    buffer = ctypes.create_string_buffer(max(1, size))
    found = LIBC.getxattr(path.encode(), name.encode(), buffer, ctypes.c_size_t(size))
    if found < 0:
        raise OSError(ctypes.get_errno(), "getxattr")
    return int(found)


@case("attributes: who may")
def _who_may(scene: Scene) -> None:
    for kind in KINDS:
        scene.quietly("make", kind, kind)
        scene.note(f"set of a {kind}", lambda: os.setxattr(kind, "user.a", b"x", follow_symlinks=False))
        scene.note(f"get of a {kind}", lambda: os.getxattr(kind, "user.a", follow_symlinks=False))
    for mode in (0o600, 0o644, 0o666):
        scene.quietly("chmod", "regular", mode)
        with scene.user(ANN):
            scene.note(f"set {mode:o}", lambda: os.setxattr("regular", "user.a", b"y"))
            scene.note(f"get {mode:o}", lambda: os.getxattr("regular", "user.a"))
            scene.note(f"remove {mode:o}", lambda: os.removexattr("regular", "user.none"))

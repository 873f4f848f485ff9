"""What can be done with the bytes of one file through its descriptors, each compared with a model."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.mounted.trees import assert_same_bytes
from tests.torture.fsx_model import File

LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
HANDLES: Final = 3
PAGE: Final = mmap.PAGESIZE
MARK: Final = "user.mark"
FALLOCATE_MODES: Final = (0, 1, 3, 8, 16, 17, 32)
"""Plain, and with KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE."""
EDGES: Final = (PAGE, 65_536, 131_072, 1 << 20, 5_000_000)
"""Where pages, blocks and parts begin."""


@attrs.frozen
class Scale:
    """How large a file is, and how often what costs much is done."""

    size: int
    piece: int
    closes: int
    """Weight of what sends the file to B2."""
    reads_all: int


SCALES: Final = {
    "small": Scale(300_000, 66_000, 3, 3),
    "large": Scale(36_000_000, 1_200_000, 3, 1),
}

WEIGHTS: Final[Mapping[str, int]] = {
    "read": 300,
    "read_afresh": 40,
    "write": 250,
    "write_beyond": 40,
    "append": 40,
    "cut": 40,
    "lengthen": 25,
    "resize_by_name": 4,
    "map_and_read": 10,
    "map_and_write": 8,
    "write_without_msync": 4,
    "copy_range": 15,
    "look_for_holes": 20,
    "fallocate": 8,
    "posix_fallocate": 1,
    "fsync": 8,
    "fdatasync": 5,
    "dress": 3,
}
"""Of the operations in this module."""


class Mismatch(AssertionError):
    """The file is not what it must be."""


@attrs.define(eq=False)
class Handle:
    """An open descriptor."""

    fd: int
    file: File
    flags: int

    @property
    def writes(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def reads(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY


@attrs.define(eq=False)
class Descriptors:
    """The file, as long as the mount lives."""

    mount: Path
    scale: Scale
    seed: int
    dice: random.Random = attrs.field(factory=random.Random)
    name: str = "file"
    file: File = attrs.field(factory=File)
    handles: list[Handle] = attrs.field(factory=list)
    log: deque[str] = attrs.field(factory=lambda: deque(maxlen=4000))
    number: int = 0

    @property
    def path(self) -> Path:
        return self.mount / self.name

    def note(self, text: str) -> None:
        self.log.append(f"{self.number}: {text}")

    # -- what is drawn -------------------------------------------------------------------

    def offset(self, stop: int) -> int:
        """Anywhere from 0 on and before `stop`, often at an edge."""
        raw, edge, shift = self.dice.randrange(1 << 40), self.dice.choice(EDGES), self.dice.randint(-1, 1)
        if stop <= 0:
            return 0
        at = raw % stop
        if self.dice.random() < 0.4:
            at = at // edge * edge + shift
        return min(max(at, 0), stop - 1)

    def length(self) -> int:
        few = self.dice.choice([1, 100, PAGE, 5000])
        many = self.dice.randint(1, self.scale.piece)
        return self.dice.choice([few, many])

    def news(self, size: int) -> bytes:
        """That nothing else has."""
        return self.dice.randbytes(size)

    def handle(self, *, writes: bool = False, reads: bool = False) -> Handle:
        """An open one, of the file or of one that was unlinked."""
        drawn = self.dice.random()
        fit = [h for h in self.handles if h.writes >= writes and h.reads >= reads]
        return fit[int(drawn * len(fit))] if fit else self.open(os.O_RDWR)

    # -- descriptors ---------------------------------------------------------------------

    def open(self, flags: int) -> Handle:
        """One more, the first one goes when there are too many."""
        while len(self.handles) >= HANDLES:
            self.close(self.handles[0])
        self.note(f"open {self.name} {flags:#x}")
        handle = Handle(os.open(self.path, flags, 0o644), self.file, flags)
        self.handles.append(handle)
        if flags & os.O_TRUNC:
            self.file.resize(0)
        return handle

    def close(self, handle: Handle) -> None:
        self.note(f"close one of {self.file}")
        self.handles.remove(handle)
        os.close(handle.fd)
        if handle.writes:
            self.acknowledge(handle.file)

    def close_all(self) -> None:
        while self.handles:
            self.close(self.handles[0])

    def acknowledge(self, file: File) -> None:
        if file is self.file:
            file.acknowledged()

    # -- reading -------------------------------------------------------------------------

    def read(self) -> None:
        self.read_with(self.handle(reads=True))

    def read_with(self, handle: Handle) -> None:
        offset, size = self.offset(handle.file.size + 2000), self.length()
        self.note(f"read {size} at {offset} of {handle.file.size}")
        self.same(os.pread(handle.fd, size, offset), handle.file.read(offset, size), offset)

    def read_afresh(self) -> None:
        """Of the mount, not of the kernel's memory."""
        handle = self.handle(reads=True)
        os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.read_with(handle)

    def map_and_read(self) -> None:
        handle = self.handle(reads=True)
        offset, size = self.offset(handle.file.size), self.length()
        size = min(size, handle.file.size - offset)
        if size > 0:
            self.note(f"map {size} at {offset} of {handle.file.size}")
            with self.mapped(handle, offset + size, mmap.PROT_READ) as pages:
                self.same(pages[offset : offset + size], handle.file.read(offset, size), offset)

    def mapped(self, handle: Handle, size: int, protection: int) -> mmap.mmap:
        return mmap.mmap(handle.fd, size, mmap.MAP_SHARED, protection)

    def look_for_holes(self) -> None:
        """There may be none known, but never bytes in one."""
        handle = self.handle(reads=True)
        offset = self.offset(handle.file.size)
        if handle.file.size:
            hole = os.lseek(handle.fd, offset, os.SEEK_HOLE)
            if hole != handle.file.size:
                self.same(os.pread(handle.fd, PAGE, hole), bytes(PAGE), hole)

    def check_size(self) -> None:
        for handle in self.handles:
            size = os.fstat(handle.fd).st_size
            if size != handle.file.size:
                raise Mismatch(f"it has {size} bytes, not {handle.file.size}")

    def same(self, found: bytes, expected: bytes, offset: int) -> None:
        try:
            assert_same_bytes(found, expected)
        except AssertionError as error:
            raise Mismatch(f"from {offset} on: {error}") from None

    # -- writing -------------------------------------------------------------------------

    def put(self, handle: Handle, offset: int, data: bytes) -> None:
        """pwrite(2), all of it; with O_APPEND the offset counts for nothing."""
        while data:
            at = handle.file.size if handle.flags & os.O_APPEND else offset
            self.note(f"write {len(data)} at {at} of {handle.file.size}, flags {handle.flags:#x}")
            written = os.pwrite(handle.fd, data, offset)
            handle.file.write(at, data[:written])
            data, offset = data[written:], offset + written
        if handle.flags & os.O_DSYNC:
            self.acknowledge(handle.file)

    def write(self) -> None:
        handle, size = self.handle(writes=True), self.length()
        offset = self.offset(min(handle.file.size + 1, self.scale.size))
        if handle.flags & os.O_APPEND and handle.file.size > self.scale.size:
            return
        self.put(handle, offset, self.news(size))

    def write_beyond(self) -> None:
        """Leaves a hole, where there is room for one."""
        handle, size = self.handle(writes=True), self.length()
        gap = self.offset(self.scale.piece * 2)
        if handle.file.size + gap < self.scale.size:
            self.put(handle, handle.file.size + gap, self.news(size))

    def append(self) -> None:
        handle, size = self.handle(writes=True), self.length()
        if handle.file.size < self.scale.size:
            self.put(handle, handle.file.size, self.news(size))

    def cut(self) -> None:
        """Mostly a little, now and then to anything."""
        handle, few = self.handle(writes=True), self.length()
        offset = self.offset(handle.file.size)
        size = offset if self.dice.random() < 0.15 else max(0, handle.file.size - few)
        self.resize(handle, size)

    def lengthen(self) -> None:
        handle = self.handle(writes=True)
        self.resize(handle, min(handle.file.size + self.length(), self.scale.size))

    def resize(self, handle: Handle, size: int) -> None:
        self.note(f"ftruncate {handle.file.size} to {size}")
        os.ftruncate(handle.fd, size)
        handle.file.resize(size)

    def resize_by_name(self) -> None:
        size = min(max(0, self.file.size + self.length() * self.dice.choice([1, -1])), self.scale.size)
        self.note(f"truncate {self.file.size} to {size}")
        os.truncate(self.path, size)
        self.file.resize(size)
        if not any(h.writes and h.file is self.file for h in self.handles):
            self.acknowledge(self.file)

    def map_and_write(self) -> None:
        self.write_mapped(msyncs=True)

    def write_without_msync(self) -> None:
        self.write_mapped(msyncs=False)

    def write_mapped(self, *, msyncs: bool) -> None:
        handle, size = self.handle(writes=True, reads=True), self.length()
        offset = self.offset(handle.file.size)
        data = self.news(min(size, handle.file.size - offset))
        if not data:
            return
        self.note(f"map and write {len(data)} at {offset} of {handle.file.size}, msync {msyncs}")
        with self.mapped(handle, offset + len(data), mmap.PROT_READ | mmap.PROT_WRITE) as pages:
            pages[offset : offset + len(data)] = data
            handle.file.write(offset, data)
            if msyncs:
                pages.flush()
                self.acknowledge(handle.file)

    def write_after_close(self) -> None:
        """A mapping outlives its descriptor: nobody but the last munmap(2) tells the mount."""
        handle, size = self.handle(writes=True, reads=True), self.length()
        offset = self.offset(handle.file.size)
        data = self.news(min(size, handle.file.size - offset))
        if not data:
            return
        with self.mapped(handle, offset + len(data), mmap.PROT_READ | mmap.PROT_WRITE) as pages:
            self.close(handle)
            self.note(f"write {len(data)} at {offset} of {handle.file.size} through what is still mapped")
            pages[offset : offset + len(data)] = data
            handle.file.write(offset, data)
        if handle.file is self.file:
            self.open(os.O_RDWR)  # the pages that are dirty go with this one's

    def copy_range(self) -> None:
        """Within the file, or from it to its end."""
        handle, size = self.handle(writes=True, reads=True), self.length()
        source, target = self.offset(handle.file.size), self.offset(handle.file.size + 1)
        size = min(size, abs(target - source), handle.file.size - source)
        if handle.flags & os.O_APPEND or size <= 0 or target + size > self.scale.size:
            return
        self.note(f"copy {size} from {source} to {target} of {handle.file.size}")
        while size:
            copied = os.copy_file_range(handle.fd, handle.fd, size, source, target)
            handle.file.write(target, handle.file.read(source, copied))
            source, target, size = source + copied, target + copied, size - copied
            if not copied:
                raise Mismatch(f"nothing was copied from {source} to {target}")

    def fallocate(self) -> None:
        """B2 has no such thing; nothing changes."""
        handle, mode = self.handle(writes=True), self.dice.choice(FALLOCATE_MODES)
        offset, size = self.offset(self.scale.size), self.length()
        result = LIBC.fallocate(handle.fd, mode, offset, size)
        number = ctypes.get_errno()
        if result == 0 or number != errno.EOPNOTSUPP:
            raise Mismatch(f"fallocate with mode {mode} returned {result}, errno {number}")

    def posix_fallocate(self) -> None:
        """The C library does it, with a byte in each page."""
        handle, size = self.handle(writes=True, reads=True), self.length()
        offset = self.offset(self.scale.size - size)
        if handle.flags & os.O_APPEND:
            return
        self.note(f"posix_fallocate {size} at {offset} of {handle.file.size}")
        os.posix_fallocate(handle.fd, offset, size)
        if offset + size > handle.file.size:
            handle.file.resize(offset + size)

    # -- making it durable ---------------------------------------------------------------

    def fsync(self) -> None:
        handle = self.handle()
        os.fsync(handle.fd)
        self.acknowledge(handle.file)

    def fdatasync(self) -> None:
        handle = self.handle()
        os.fdatasync(handle.fd)
        self.acknowledge(handle.file)

    def flags(self) -> int:
        """Of an open(2)."""
        access = self.dice.choice([os.O_RDWR] * 6 + [os.O_RDONLY, os.O_WRONLY])
        extra = self.dice.choice([0] * 6 + [os.O_APPEND, os.O_DIRECT, os.O_DIRECT, os.O_DSYNC])
        cuts = os.O_TRUNC if self.dice.random() < 0.07 and access != os.O_RDONLY else 0
        return access | extra | cuts | self.dice.choice([0, os.O_CREAT])

    def open_another(self) -> None:
        self.open(self.flags())

    def close_one(self) -> None:
        self.close(self.handle())

    def rewrite(self) -> None:
        """All of it, front to back, as programs do that save."""
        size, step = self.offset(self.scale.size), self.dice.choice([5000, 65_536, 1_000_000])
        handle = self.open(os.O_RDWR | os.O_TRUNC)
        data = self.news(size)
        for start in range(0, size, max(step, size // 20)):
            self.put(handle, start, data[start : start + max(step, size // 20)])

    def dress(self) -> None:
        """chmod(2), and an extended attribute."""
        mode, mark = self.dice.choice([0o600, 0o640, 0o644, 0o755]), self.news(20)
        self.note(f"chmod {mode:o}")
        self.path.chmod(mode)
        self.file.dress(attrs.evolve(self.file.look, mode=mode))
        if self.dice.random() < 0.5:
            os.setxattr(self.path, MARK, mark)
            self.file.dress(attrs.evolve(self.file.look, mark=mark))

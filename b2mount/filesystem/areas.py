"""Areas: the whole mount, the bucket as it is and `.b2` in it. Each operation goes to the side that
knows the number.

Invariants: `.b2` is at the mount's root, not listed, and always there: an object or a directory that has
this name in the bucket is not shown, but counted with those that no path can spell. What the kernel
changes in the bucket is seen below `.b2` at once.

Must not know: what an operation means.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import attrs

from b2mount.errors import AlreadyExists, NotFound, ReadOnly
from b2mount.filesystem.filesystem import FileSystem
from b2mount.filesystem.node import Node, Requester
from b2mount.filesystem.numbers import ENTRANCE, LIVE, area_of
from b2mount.filesystem.past import Past, read_only
from b2mount.filesystem.restoring import Restorer
from b2mount.filesystem.status import SpaceStatus
from b2mount.model import DELIMITER, AttributeChange, Kind, ObjectVersion
from b2mount.namespace.inode import ROOT_NUMBER
from b2mount.namespace.names import check_absent_name


@attrs.define(eq=False)
class Areas:
    """Has the methods of FileSystem that the kernel's operations need, with their promises."""

    _live: FileSystem
    _past: Past | None
    """None where there is no `.b2`: in a mount that shows one moment alone."""
    shadowed: int = 0
    """How many names in the bucket were seen that `.b2` stands before: 1 at most."""
    _listings_of_root: set[int] = attrs.field(factory=set)

    # -- inodes ----------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str) -> Node:
        if self._is_past(parent):
            return await self._there.lookup(parent, name)
        if self._is_entrance(parent, name):
            return self._there.entrance()
        try:
            return await self._live.lookup(parent, name)
        except NotFound:
            check_absent_name(name)
            raise

    def absent_for(self, parent: int, name: str) -> float:
        return 0.0 if self._is_past(parent) else self._live.absent_for(parent, name)

    def looked_up(self, number: int) -> None:
        if self._is_past(number):
            self._there.looked_up(number)
        else:
            self._live.looked_up(number)

    def forget(self, number: int, count: int) -> None:
        if self._is_past(number):
            self._there.forget(number, count)
        else:
            self._live.forget(number, count)

    def getattr(self, number: int) -> Node:
        return self._there.getattr(number) if self._is_past(number) else self._live.getattr(number)

    def readlink(self, number: int) -> str:
        return self._there.readlink(number) if self._is_past(number) else self._live.readlink(number)

    async def setattr(
        self, number: int, change: AttributeChange, *, size: int | None, fh: int | None
    ) -> Node:
        with self._changing(number):
            return await self._live.setattr(number, change, size=size, fh=fh)

    async def getxattr(self, number: int, name: bytes) -> bytes:
        side = self._there if self._is_past(number) else self._live
        return await side.getxattr(number, name)

    def listxattr(self, number: int) -> list[bytes]:
        return self._there.listxattr(number) if self._is_past(number) else self._live.listxattr(number)

    async def setxattr(self, number: int, name: bytes, value: bytes) -> None:
        with self._changing(number):
            await self._live.setxattr(number, name, value)

    async def removexattr(self, number: int, name: bytes) -> None:
        with self._changing(number):
            await self._live.removexattr(number, name)

    def statfs(self) -> SpaceStatus:
        return self._live.statfs()

    # -- names -----------------------------------------------------------------------------

    async def mkdir(self, parent: int, name: str, mode: int, requester: Requester) -> Node:
        with self._making(parent, name):
            return await self._live.mkdir(parent, name, mode, requester)

    async def symlink(self, parent: int, name: str, target: str, requester: Requester) -> Node:
        with self._making(parent, name):
            return await self._live.symlink(parent, name, target, requester)

    async def mknod(
        self, parent: int, name: str, kind: Kind, mode: int, device: int, requester: Requester
    ) -> Node:
        with self._making(parent, name):
            return await self._live.mknod(parent, name, kind, mode, device, requester)

    async def unlink(self, parent: int, name: str) -> None:
        if self._is_past(parent):
            await self._there.unlink(parent, name)
            return
        with self._changing(parent, name):
            await self._live.unlink(parent, name)

    async def rmdir(self, parent: int, name: str) -> None:
        if self._is_past(parent):
            await self._there.rmdir(parent, name)
            return
        with self._changing(parent, name):
            await self._live.rmdir(parent, name)

    async def rename(self, old: tuple[int, str], new: tuple[int, str], *, may_replace: bool) -> None:
        if self._is_past(old[0]):
            with self._changing(*new):
                await self._there.move_out(*old, new)
            return
        with self._changing(*old), self._changing(*new):
            await self._live.rename(old, new, may_replace=may_replace)

    async def exchange(self, one: tuple[int, str], other: tuple[int, str]) -> None:
        with self._changing(*one), self._changing(*other):
            await self._live.exchange(one, other)

    # -- directories -----------------------------------------------------------------------

    def opendir(self, number: int) -> int:
        if self._is_past(number):
            return self._there.opendir(number)
        fh = self._live.opendir(number)
        if number == ROOT_NUMBER and self._past is not None:
            self._listings_of_root.add(fh)
        return fh

    async def readdir(self, fh: int, start: int) -> AsyncGenerator[tuple[int, str, Node], None]:
        side = self._there if self._is_past(fh) else self._live
        hides, is_given = fh in self._listings_of_root, False
        while not is_given:  # none at all would be the end of the directory
            before = start
            async with aclosing(side.readdir(fh, start)) as entries:
                async for entry in entries:
                    start = entry[0]
                    if hides and entry[1] == ENTRANCE:
                        self.shadowed = 1
                    else:
                        is_given = True
                        yield entry
            is_given = is_given or start == before

    def releasedir(self, fh: int) -> None:
        self._listings_of_root.discard(fh)
        if self._is_past(fh):
            self._there.releasedir(fh)
        else:
            self._live.releasedir(fh)

    # -- files -----------------------------------------------------------------------------

    async def open(self, number: int, flags: int, requester: Requester) -> int:
        if self._is_past(number):
            return self._there.open(number, flags)
        return await self._live.open(number, flags, requester)

    async def create(
        self, parent: int, name: str, mode: int, flags: int, requester: Requester
    ) -> tuple[Node, int]:
        with self._making(parent, name):
            return await self._live.create(parent, name, mode, flags, requester)

    async def read(self, fh: int, offset: int, size: int) -> bytes | memoryview:
        if self._is_past(fh):
            return await self._there.read(fh, offset, size)
        return await self._live.read(fh, offset, size)

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        return await self._live.write(fh, offset, data)

    async def flush(self, fh: int) -> None:
        if not self._is_past(fh):
            with self._changing(LIVE):
                await self._live.flush(fh)

    async def fsync(self, fh: int) -> None:
        if not self._is_past(fh):
            await self._live.fsync(fh)

    async def release(self, fh: int) -> None:
        if self._is_past(fh):
            self._there.release(fh)
        else:
            await self._live.release(fh)

    # -- the mount as a whole --------------------------------------------------------------

    def bucket_changed(self) -> None:
        """Something was changed in the bucket: what `.b2` shows of it is asked again."""
        if self._past is not None:
            self._past.bucket_changed()

    @property
    def restorer(self) -> Restorer:
        """What brings versions back. Raises ReadOnly in a mount of one moment."""
        if self._past is None:
            raise ReadOnly("this is a mount of one moment")
        return self._past.restorer

    async def url(self, path: str, expires: int | None) -> str:
        """The URL of the file at a path below the mount point; in `.b2` of that very version. See ByPath."""
        entrance, _, below = path.lstrip(DELIMITER).partition(DELIMITER)
        if self._past is not None and entrance == ENTRANCE:
            return await self._past.url(below, expires)
        return await self._live.by_path.url(path, expires)

    def numbers_of(self, version: ObjectVersion) -> list[int]:
        """The inodes of open files that show this version."""
        past = self._past.numbers_of(version) if self._past is not None else []
        return self._live.numbers_of(version) + past

    def in_use(self) -> list[ObjectVersion]:
        """The versions that open files in `.b2` show."""
        return self._past.in_use() if self._past is not None else []

    @property
    def open_files(self) -> int:
        """How many handles are open."""
        return self._live.open_files + (self._past.open_files if self._past is not None else 0)

    # -- inside ----------------------------------------------------------------------------

    @property
    def _there(self) -> Past:
        if self._past is None:
            raise NotFound("there is no .b2 in this mount")
        return self._past

    def _is_past(self, number: int) -> bool:
        """Of an inode or a handle."""
        return area_of(number) != LIVE

    def _is_entrance(self, parent: int, name: str) -> bool:
        return parent == ROOT_NUMBER and name == ENTRANCE and self._past is not None

    @contextmanager
    def _changing(self, number: int, name: str = "") -> Iterator[None]:
        """Around a change of what `number` is, or of the name in it. Raises ReadOnly."""
        if self._is_past(number) or self._is_entrance(number, name):
            raise read_only()
        try:
            yield
        finally:
            self.bucket_changed()

    @contextmanager
    def _making(self, parent: int, name: str) -> Iterator[None]:
        """Around what makes a new name. Raises ReadOnly, AlreadyExists."""
        if self._is_entrance(parent, name):
            raise AlreadyExists("the name .b2 is b2mount's own here")
        with self._changing(parent):
            yield

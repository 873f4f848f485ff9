"""The file operations that a program needs, and a file system without a kernel that has them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, suppress
from typing import Protocol

import attrs
import trio

from b2mount.errors import AlreadyExists
from b2mount.model import AttributeChange
from tests.filesystem.world import World


class Files(Protocol):
    """By name, relative to the mount. They raise OSError or B2MountError."""

    async def create(self, name: str) -> int:
        """A new file, or the one that is there, cut to nothing; its handle."""
        ...

    async def open(self, name: str, *, cut: bool = False) -> int:
        """The handle of a file that is there; cut to nothing, if so wanted."""
        ...

    async def write(self, fh: int, offset: int, data: bytes) -> None: ...

    async def sync(self, fh: int) -> None: ...

    async def close(self, fh: int) -> None: ...

    async def truncate(self, name: str, size: int) -> None: ...

    async def unlink(self, name: str) -> None: ...

    async def rename(self, old: str, new: str) -> None: ...

    async def exchange(self, one: str, other: str) -> None: ...

    async def make_directory(self, name: str) -> None:
        """Fine when it is there."""
        ...


@attrs.define(eq=False)
class InProcess:
    """Files of a World. Like the kernel, it changes names of one directory one after the other."""

    world: World
    _locks: dict[str, trio.Lock] = attrs.field(factory=dict)

    async def create(self, name: str) -> int:
        async with self._parent(name):
            return await self.world.create(name, flags=os.O_WRONLY | os.O_TRUNC)

    async def open(self, name: str, *, cut: bool = False) -> int:
        return await self.world.open(name, os.O_RDWR | (os.O_TRUNC if cut else 0))

    async def write(self, fh: int, offset: int, data: bytes) -> None:
        await self.world.fs.write(fh, offset, data)

    async def sync(self, fh: int) -> None:
        await self.world.fs.fsync(fh)

    async def close(self, fh: int) -> None:
        await self.world.close(fh)

    async def truncate(self, name: str, size: int) -> None:
        number = (await self.world.node(name)).number
        await self.world.fs.setattr(number, AttributeChange(), size=size, fh=None)

    async def unlink(self, name: str) -> None:
        async with self._parent(name):
            await self.world.unlink(name)

    async def rename(self, old: str, new: str) -> None:
        async with self._parent(old):  # these programs rename within one directory, or one of their own
            await self.world.rename(old, new)

    async def exchange(self, one: str, other: str) -> None:
        async with AsyncExitStack() as stack:
            for parent in sorted({name.rpartition("/")[0] for name in (one, other)}):
                await stack.enter_async_context(self._parent(f"{parent}/"))
            w = self.world
            await w.fs.exchange(await w.split(one), await w.split(other))

    async def make_directory(self, name: str) -> None:
        with suppress(AlreadyExists):
            async with self._parent(name):
                await self.world.mkdir(name)

    def _parent(self, name: str) -> trio.Lock:
        return self._locks.setdefault(name.rpartition("/")[0], trio.Lock())

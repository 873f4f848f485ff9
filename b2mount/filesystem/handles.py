"""HandleTable: what is open. A number is used by one open and never given out again in this mount."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, Generic, TypeVar

import attrs
import trio

from b2mount.errors import BadHandle, NotADirectory
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.prefetch import Prefetch
from b2mount.filesystem.siblings import Visit
from b2mount.model import ByteRange, ObjectVersion
from b2mount.namespace.catalog import Catalog, Children
from b2mount.namespace.inode import Inode
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.reader import ObjectReader

H = TypeVar("H")

AT_ONCE: Final = 128
"""Entries that are told at once: 3 ms, for which nobody else is answered. A program's buffer has room for
hundreds."""


@attrs.define(eq=False)
class FileHandle:
    """One open of a file."""

    content: FileContent
    may_write: bool
    _fetcher: BlockFetcher
    _prefetch: Prefetch
    _reader: ObjectReader | None = None
    _visit: Visit | None = None

    async def read_version(self, version: ObjectVersion, span: ByteRange) -> bytes | memoryview:
        """Bytes of a committed version, with this handle's own readahead."""
        if self._reader is None or self._reader.version.version_id != version.version_id:
            self.close_reader()
            self._reader = ObjectReader(version, self._fetcher)
            if not self.may_write:
                self._visit = self._prefetch.begun(self.content.inode.path, version)
        if self._visit is not None:
            self._visit.has_read(span.start, span.stop)
        return await self._reader.read(span)

    def close_reader(self) -> None:
        """Drop the readahead that this handle asked for."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


@attrs.define(eq=False)
class DirectoryHandle:
    """One open of a directory. The snapshot is taken when reading begins at the start, which
    rewinddir does on the same handle. Raises NotADirectory."""

    _catalog: Catalog
    _inode: Inode = attrs.field()
    _children: Children | None = None

    @_inode.validator
    def _is_directory(self, _attribute: object, inode: Inode) -> None:
        if not inode.is_directory:
            raise NotADirectory("not a directory")

    async def entries(
        self, start: int, name_of: Callable[[Inode], str]
    ) -> AsyncGenerator[tuple[int, str, Inode], None]:
        """Entries after `start`, each with the offset that goes on behind it. Waits for the first one only:
        what has not arrived yet is left for the next call."""
        if self._inode.removed:
            return
        if start == 0 or self._children is None:
            self._children = self._catalog.children(self._inode)
        if start < 1:
            yield 1, ".", self._inode
        if start < 2:
            yield 2, "..", await self._catalog.lookup(self._inode, "..")
        position, given = max(0, start - 2), start < 2
        while not given or self._children.ready(position):
            inode = await self._children.get(position)
            if inode is None:
                return
            position += 1
            if not inode.removed:
                given = True
                yield position + 2, name_of(inode), inode
            if not position % AT_ONCE:
                await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class HandleTable(Generic[H]):
    """Numbers for handles."""

    _handles: dict[int, H] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    def add(self, handle: H) -> int:
        """A number of its own for `handle`."""
        number = next(self._numbers)
        self._handles[number] = handle
        return number

    def get(self, number: int) -> H:
        """Raises BadHandle."""
        try:
            return self._handles[number]
        except KeyError:
            raise BadHandle(f"no handle {number} is open") from None

    def pop(self, number: int) -> H:
        """The handle, no longer open. Raises BadHandle."""
        handle = self.get(number)
        del self._handles[number]
        return handle

    def __iter__(self) -> Iterator[H]:
        return iter(list(self._handles.values()))

    def __len__(self) -> int:
        return len(self._handles)

"""ByPath: what people ask of a mount by the names of files: their URLs, and what is to be cached, or to
be asked again.

Invariants: the cache is filled and emptied with what B2 has under the names now; what is staged here
is neither touched nor sent.

Must not know: who asks, how paths outside the mount look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError, InvalidArgument, IsADirectory, NoRoom, NotFound
from b2mount.filesystem.absences import Absences
from b2mount.filesystem.status import EvictStatus, Unfetched, WarmStatus
from b2mount.model import DELIMITER, PLACEHOLDER, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import can_be_spelled
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import kind_of
from b2mount.reading.block_index import GROUP, LEAST
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.filling import Filler
from b2mount.reading.flight import count_of
from b2mount.store.interface import ObjectStore

_AT_ONCE: Final = 64
"""Files that are fetched at once; their bytes have a bound of their own."""
_NAMED: Final = 20
_EVICTED_AT_ONCE: Final = 50
"""Files that are dropped before others have their turn: some milliseconds."""


@attrs.define(eq=False)
class ByPath:
    """Paths lie below the mount point, without a leading slash; the empty one is the mount itself."""

    _namespace: Namespace
    _fetcher: BlockFetcher
    _store: ObjectStore
    _absences: Absences
    _is_past: bool
    """Whether files may have newer versions than those that are shown."""

    async def inode(self, path: str) -> Inode:
        """Raises NotFound, NotADirectory."""
        inode = self._namespace.root
        for name in path.split("/"):
            if name:
                inode = await self._namespace.lookup(inode, name)
        return inode

    def refresh(self, path: str) -> dict[int, list[str]]:
        """Forget what B2 said of the names at and below a path, which need not exist. Returns those that
        the kernel was told of, present and absent, by the number of the directory that they stand in."""
        where = self._namespace.root.path
        for name in path.split(DELIMITER):
            where = where.directory(name) if name else where
        return self.refresh_at(where)

    def refresh_at(self, where: ObjectPath) -> dict[int, list[str]]:
        """As `refresh`, of a directory's path, whatever is there."""
        self._namespace.forget_listing(where)
        told = self._namespace.told(where)
        for number, name in self._absences:
            with suppress(NotFound):  # the kernel has forgotten the directory, and so its names
                directory = self._namespace.inode(number).path
                if where.holds(directory) or where == directory.directory(name):
                    told.setdefault(number, []).append(name)
        return told

    async def url(self, path: str, expires: int | None) -> str:
        """The file's URL; with `expires` seconds one that needs no key for that long.
        Raises NotFound, IsADirectory, and InvalidArgument for a key to an old version."""
        inode = await self.inode(path)
        if self._is_past:
            return url_of_version(self._store, inode, expires)
        if inode.attributes.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{path} is a directory: only files have a URL")
        url = self._store.url(inode.path)
        if expires is None:
            return url
        token = await self._store.authorize_download(inode.path.bucket, inode.path.key, expires)
        return f"{url}?Authorization={token}"

    async def warm(self, path: str, tell: Callable[[WarmStatus], None]) -> WarmStatus:
        """Fetch a file, or all files below a directory, into the cache; `tell` hears how far it is.
        What can't be fetched is in the result. Raises NotFound, and NoRoom when it is more than the
        cache may hold; then nothing is fetched."""
        versions = await self._versions(path)
        size, capacity = sum(version.size for version in versions), self._fetcher.status().capacity
        if size > capacity:
            raise NoRoom(f"that is {size:,} bytes, and the cache holds {capacity:,} (--cache-size)")
        if sum(-(-count_of(version) // GROUP) for version in versions) > (most := capacity // LEAST):
            raise NoRoom(f"that is {len(versions):,} files, and the cache holds {most:,} (--cache-size)")
        return await Warming(self._fetcher, self._namespace.root.path, versions, tell).run()

    async def evict(self, path: str) -> EvictStatus:
        """Drop a file, or all files below a directory, from the cache. Raises NotFound."""
        files = size = 0
        for number, version in enumerate(await self._versions(path), 1):
            freed = self._fetcher.evict(version.version_id)
            files, size = files + (freed > 0), size + freed
            if number % _EVICTED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return EvictStatus(files, size)

    async def _versions(self, path: str) -> list[ObjectVersion]:
        """What B2 has of the files at or below a path, without those that have no bytes."""
        inode = await self.inode(path)
        if not inode.is_directory:
            return [inode.version] if inode.version is not None and inode.version.size else []
        found = await self._namespace.subtree(inode)
        return [version for version in found if version.size and _is_file(version, inode.path)]


def url_of_version(store: ObjectStore, inode: Inode, expires: int | None) -> str:
    """The URL of the very version that is shown, whatever the name stands for now. Raises IsADirectory,
    InvalidArgument when it is to need no key."""
    if inode.is_directory or inode.version is None:
        raise IsADirectory(f"{inode.path.name} is a directory: only files have a URL")
    if expires is not None:
        raise InvalidArgument("B2 makes links that need no key to the newest version of a name only")
    return store.url_of(inode.version)


def _is_file(version: ObjectVersion, directory: ObjectPath) -> bool:
    """Whether a program can see it as a file below the directory."""
    names = version.path.key.removeprefix(directory.key).split(DELIMITER)
    return all(map(can_be_spelled, names)) and names[-1] != PLACEHOLDER and kind_of(version) is Kind.FILE


@attrs.define(eq=False)
class Warming:
    """One fetch into the cache."""

    _fetcher: BlockFetcher
    _root: ObjectPath
    _versions: Sequence[ObjectVersion]
    _tell: Callable[[WarmStatus], None]
    _filled: list[ObjectVersion] = attrs.field(factory=list)
    _status: WarmStatus = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._status = WarmStatus(len(self._versions), sum(version.size for version in self._versions))

    async def run(self) -> WarmStatus:
        """Fetch them all. When cancelled, nothing goes on."""
        self._tell(self._status)
        filler, left = Filler(self._fetcher), iter(self._versions)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(_AT_ONCE, len(self._versions))):
                    nursery.start_soon(self._work, filler, left)
        finally:
            filler.close()
        for version in self._filled:  # what others need, or what the disk has no room for, is let go
            if self._fetcher.lost(version, range(count_of(version))) is not None:
                self._set(attrs.evolve(self._status, files_done=self._status.files_done - 1))
                self._failed(version, NoRoom("the cache had no room to keep it"))
        return self._status

    async def _work(self, filler: Filler, left: Iterator[ObjectVersion]) -> None:
        for version in left:
            try:
                await filler.fill(version, self._arrived)
            except B2MountError as error:
                self._failed(version, error)
            else:
                self._filled.append(version)
                self._set(attrs.evolve(self._status, files_done=self._status.files_done + 1))

    def _arrived(self, size: int) -> None:
        self._set(attrs.evolve(self._status, size_done=self._status.size_done + size))

    def _failed(self, version: ObjectVersion, error: B2MountError) -> None:
        failed = self._status.failed
        if len(failed) < _NAMED:
            path = version.path.below(self._root)
            failed = (*failed, Unfetched(path, str(error), type(error).__name__))
        self._set(attrs.evolve(self._status, failed=failed, failures=self._status.failures + 1))

    def _set(self, status: WarmStatus) -> None:
        self._status = status
        self._tell(status)

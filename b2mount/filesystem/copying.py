"""Copier: `b2mount cp`, files and trees copied inside B2: no byte of them is moved, and what they carry
(times, mode, content type, attributes) comes along.

Invariants: what is copied is what programs see at the beginning, unsent bytes included; what is unsent under
the new names is in B2 before, so that the copy is the later one; a copy that was interrupted leaves whole
files, and done again it does all. When the directory that it goes to is renamed meanwhile, the rest goes to
its new name; a rename waits for the copies that are on their way, no more.

Must not know: who asks, what the kernel has to be told, and how.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

import attrs
import trio

from b2mount.errors import (
    B2MountError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
)
from b2mount.filesystem.by_path import ByPath
from b2mount.filesystem.creating import check_allowed
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.status import Unfetched, WarmStatus
from b2mount.model import DELIMITER, PLACEHOLDER, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_new_directory_name, check_new_name
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectStore
from b2mount.writing.mover import Mover

Told = Mapping[int, Sequence[str]]
Tell = Callable[[WarmStatus], None]

_AT_ONCE: Final = 16
_NAMED: Final = 20


@attrs.frozen
class Request:
    """What is to be copied where. Paths lie below the mount point, without a leading slash."""

    source: str
    target: str
    recursive: bool = False
    into: bool = False
    """The target must be a directory that is there."""


@attrs.define(eq=False)
class Copier:
    """See the module."""

    _namespace: Namespace
    _store: ObjectStore
    _by_path: ByPath
    _mover: Mover
    _gate: PathGate
    _settle: Callable[[ObjectPath | None], Awaitable[None]]
    """What is unsent at and below a path is in B2 when this returns."""
    _made: Callable[[ObjectVersion], None]
    """Hears of every version that was made here, when nobody is shown an older one any more."""

    async def copy(self, request: Request, tell: Tell) -> tuple[WarmStatus, Told]:
        """Copy a file, or with `recursive` a directory with all that is in it; what could not be copied is
        in the result. Also returns the names that the kernel knows otherwise. Raises NotFound,
        IsADirectory, NotADirectory, InvalidArgument, and what the rules for names refuse."""
        source = await self._there(request.source)
        if source.is_directory and not request.recursive:
            raise IsADirectory(f"{request.source} is a directory: -r copies it with all that is in it")
        directory, name = await self._place(request, source)
        await self._check(source, directory, name)
        target = Target(source.path, directory, name, source.is_directory)
        for path in (source.path, target.path):
            await self._settle(path)
        target = attrs.evolve(target, source=source.path)  # it may have been renamed meanwhile
        versions, done = await self._versions(source), list[ObjectVersion]()

        async def copy(version: ObjectVersion) -> None:
            async with self._gate.using(lambda: target.of(version)) as path:
                done.append(await self._mover.copy(version, path))

        try:
            with self._mover.needing(versions):
                status = await Copying(copy, self._namespace.root.path, versions, target, tell).run()
        finally:
            told = self._by_path.refresh_at(directory.path.directory(name))
            for version in done:
                self._made(version)
        return status, told

    async def _there(self, path: str) -> Inode:
        try:
            return await self._by_path.inode(path)
        except NotFound:
            raise NotFound(f"{path}: no such file or directory") from None

    async def _place(self, request: Request, source: Inode) -> tuple[Inode, str]:
        """The directory and the name of the copy."""
        try:
            there = await self._by_path.inode(request.target)
        except NotFound:
            there = None
        if there is not None and there.is_directory:
            return there, source.path.name
        if request.into:
            raise NotADirectory(f"{request.target} is not a directory that is there")
        above, _, name = request.target.rstrip(DELIMITER).rpartition(DELIMITER)
        directory = await self._there(above)
        if not directory.is_directory:
            raise NotADirectory(f"{above} is not a directory")
        return directory, name

    async def _check(self, source: Inode, directory: Inode, name: str) -> None:
        if source is self._namespace.root or source.path.is_bucket or directory.path.is_account:
            raise NotPermitted("neither a whole mount nor a bucket can be copied, nor be the copy")
        if source.is_directory and source.path.holds(directory.path):
            raise InvalidArgument("a directory can't be copied into itself")
        (check_new_directory_name if source.is_directory else check_new_name)(directory.path, name)
        check_allowed(self._store, directory.path, name)
        try:
            there = await self._namespace.lookup(directory, name)
        except NotFound:
            return
        if there is source:
            raise InvalidArgument("source and target are the same")
        if there.is_directory and not source.is_directory:
            raise IsADirectory(f"{name} is a directory there")
        if source.is_directory and not there.is_directory:
            raise NotADirectory(f"{name} is not a directory there")

    async def _versions(self, source: Inode) -> list[ObjectVersion]:
        if source.is_directory:
            return await self._namespace.subtree(source)
        if source.version is None:
            raise NotFound(f"{source.path} is not in B2")
        return [source.version]


@attrs.frozen
class Target:
    """Where copies go: into a directory, whatever its name is by then."""

    source: ObjectPath
    _directory: Inode
    _name: str
    _is_directory: bool

    @property
    def path(self) -> ObjectPath:
        """Of what is copied, as a whole."""
        into = self._directory.path
        return into.directory(self._name) if self._is_directory else into.file(self._name)

    def of(self, version: ObjectVersion) -> ObjectPath:
        """Of one object. Raises NotFound when the directory was removed."""
        if self._directory.removed:
            raise NotFound("the directory that it should go to is gone")
        return version.path.moved(self.source, self.path) if self._is_directory else self.path


@attrs.define(eq=False)
class Copying:
    """One run of copies."""

    _copy: Callable[[ObjectVersion], Awaitable[None]]
    _root: ObjectPath
    _versions: Sequence[ObjectVersion]
    _target: Target
    _tell: Tell
    _status: WarmStatus = attrs.field(init=False)

    @_status.default
    def _nothing_yet(self) -> WarmStatus:
        files = sum(_is_seen(version.path) for version in self._versions)
        return WarmStatus(files, sum(version.size for version in self._versions))

    async def run(self) -> WarmStatus:
        """Copy them all. When cancelled, nothing goes on."""
        self._tell(self._status)
        left = iter(self._versions)
        async with trio.open_nursery() as nursery:
            for _ in range(min(_AT_ONCE, len(self._versions))):
                nursery.start_soon(self._work, left)
        return self._status

    async def _work(self, left: Iterator[ObjectVersion]) -> None:
        for version in left:
            try:
                await self._copy(version)
            except B2MountError as error:
                self._failed(version, error)
            else:
                status = self._status
                done = status.files_done + _is_seen(version.path)
                self._set(attrs.evolve(status, files_done=done, size_done=status.size_done + version.size))

    def _failed(self, version: ObjectVersion, error: B2MountError) -> None:
        status, named = self._status, self._status.failed
        if len(named) < _NAMED:
            path = version.path.moved(self._target.source, self._target.path)
            named = (*named, Unfetched(path.below(self._root), str(error), type(error).__name__))
        self._set(attrs.evolve(status, failed=named, failures=status.failures + 1))

    def _set(self, status: WarmStatus) -> None:
        self._status = status
        self._tell(status)


def _is_seen(path: ObjectPath) -> bool:
    """Whether it counts as a file: what keeps a directory's place is none to programs."""
    return path.name != PLACEHOLDER

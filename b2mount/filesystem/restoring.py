"""Restorer: brings versions back. An old version becomes the current one by a copy inside B2; what is
hidden comes back when its hide marker is removed, which is free and copies nothing. What is done returns
the names that the kernel knows otherwise.

Invariants: nothing that B2 has is lost by it, but by `discard` and `delete_version`. What is done again
after it was interrupted does the rest. Names are forgotten when B2 has changed them, so that the next look
sees it; what a file's handles read stays the version that they opened.

Must not know: what the kernel has to be told, and how.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import attrs
import trio

from b2mount.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    IsADirectory,
    NotFound,
    NotPermitted,
)
from b2mount.filesystem.creating import check_allowed
from b2mount.filesystem.protecting import deletable
from b2mount.model import DELIMITER, PLACEHOLDER, Action, ObjectPath, ObjectVersion
from b2mount.moments import moment_name
from b2mount.namespace.history import Reading, as_of
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_new_directory_name, check_new_name
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.version_lists import VersionLists
from b2mount.store.interface import ObjectStore
from b2mount.writing.mover import Mover

T = TypeVar("T")
R = TypeVar("R")

Told = Mapping[int, Sequence[str]]
"""Names that the kernel knows and that have to be asked again, by the number of their directory."""

_AT_ONCE: Final = 16
"""Names of a directory that are brought back at a time."""
_AREAS: Final = ((".b2", "trash"), (".b2", "versions"))
"""Where a path may begin that means what is behind it."""


@attrs.frozen
class _Live:
    """What has a name in the bucket as it is."""

    inode: Inode | None
    where: ObjectPath
    """The name, or the topmost directory above it that is not there either: what is to be asked again when
    B2 has something there. A directory's path, whatever it is."""


@attrs.define(eq=False)
class Restorer:
    """Paths lie below the mount point, without a leading slash."""

    _namespace: Namespace
    _store: ObjectStore
    _lists: VersionLists
    _mover: Mover
    _settle: Callable[[ObjectPath], Awaitable[None]]
    """What is unsent of a file is in B2 when this returns."""
    _forget: Callable[[ObjectPath], Told]
    """B2 has something else under a path now, or below it; a directory's path, whatever is there."""
    _in_use: Callable[[], Iterable[ObjectVersion | None]]
    """The versions that files of the live bucket show, or that unsent bytes stand on."""
    _made: Callable[[ObjectVersion], None]
    """Hears of every version that was made here."""
    _deletes: bool
    """--unlink=delete: what is removed is not hidden."""

    async def versions(self, path: str) -> list[ObjectVersion]:
        """The uploads and hide markers of a file, newest first. Raises NotFound, IsADirectory."""
        place = self._place(path)
        found = await self._lists.of(place)
        if not found and await self._has_below(place):
            raise IsADirectory(f"{path} is a directory: only files have versions")
        if not found:
            raise NotFound(f"{path}: B2 has no version of it")
        return found

    async def restore(
        self, path: str, version_id: str | None = None, moment_ms: int | None = None
    ) -> tuple[ObjectVersion, Told]:
        """Make a version current again: the one with this id, the one of that moment, or else the one
        before the current; but for empty ones, since a shell's `>` makes one of the file that it writes
        anew. Returns it. Raises NotFound where there is none, InvalidArgument when it is
        current already, IsADirectory when the name is a directory's now."""
        place = self._place(path)
        live = await self._walk(place)
        if live.inode is not None and live.inode.is_directory:
            raise IsADirectory(f"{path} is a directory now: copy the version from .b2/versions")
        await self._settle(place)
        versions = await self.versions(path)
        chosen = _chosen(path, versions, version_id, moment_ms)
        if chosen.version_id == versions[0].version_id:
            raise InvalidArgument(f"{path} is this version already")
        try:
            if chosen == _under_markers(versions):
                await self._unhide(versions)
            else:
                await self._copy(chosen, place)
        finally:
            told = self._forget(live.where)
        return chosen, told

    async def undelete(self, path: str) -> tuple[int, Told]:
        """Bring a hidden file back, or all hidden files below a directory. Returns how many files those
        were, as programs count them: directories alone are none. Raises NotFound when nothing is hidden
        there, AlreadyExists when something else has the name."""
        place = self._place(path)
        directory = place.as_directory
        below = await self._hidden_below(directory)
        if below:
            back, told = await self._bring_back(directory, below)
        else:
            back, told = await self._bring_back(place, [await self._lists.of(place)])
        if not back:
            raise NotFound(f"{path}: nothing of that name is deleted")
        return sum(path.name != PLACEHOLDER for path in back), told

    async def move_out(self, inode: Inode, number: int, name: str) -> Told:
        """Bring back what the trash shows as `inode`: to its own place by removing the hide markers, to
        another by copies, which leaves it in the trash too. `number` is the directory of the new name.
        Raises AlreadyExists, and what the rules for names refuse."""
        directory = self._namespace.inode(number)
        is_directory = inode.is_directory
        target = directory.path.directory(name) if is_directory else directory.path.file(name)
        hidden = await self._hidden_below(inode.path) if is_directory else [await self._lists.of(inode.path)]
        if target == inode.path:
            _, told = await self._bring_back(target, hidden)
            return told
        check = check_new_directory_name if is_directory else check_new_name
        await self._check_free(directory, name, check)

        async def copy(versions: Sequence[ObjectVersion]) -> None:
            version = _under_markers(versions)
            if version is not None:
                await self._copy(version, version.path.moved(inode.path, target))

        try:
            await _in_parallel(copy, hidden)
        finally:
            told = self._forget(directory.path.directory(name))
        return told

    async def discard(self, path: ObjectPath) -> None:
        """Delete all versions of a hidden name for good. Raises AccessDenied; NotPermitted also when one is
        open, or a file which was renamed is still to be made from it, and when the name is not hidden (any
        more: the trash is believed for some time, others may have written since)."""
        versions = await deletable(self._store, path)
        if next((each.action for each in versions if each.action is not Action.START), None) is Action.UPLOAD:
            raise NotPermitted(f"{path} is there again, and so not in the trash")
        await self._delete(path, versions)

    async def _delete(self, path: ObjectPath, versions: Sequence[ObjectVersion]) -> None:
        used = {version.version_id for version in self._in_use() if version is not None}
        if any(version.version_id in used for version in versions):
            raise NotPermitted(f"{path}: a version of it is open, or unsent changes stand on it")
        # oldest first: the marker that hides the others goes last
        for version in reversed(versions):
            if version.action is not Action.START:
                await self._store.delete_version(version)

    async def delete_version(self, version: ObjectVersion) -> None:
        """Delete one old version for good; with the last one of a hidden name what hides it goes as well.
        Raises NotPermitted for what the name stands for now, and for what is protected; NotFound,
        AccessDenied."""
        versions = await self._lists.of(version.path)
        if versions and versions[0].version_id == version.version_id:
            raise NotPermitted(
                f"{version.path}: this is its current version: remove the file, or restore another before"
            )
        if [one.version_id for one in versions if one.action is Action.UPLOAD] == [version.version_id]:
            await self.discard(version.path)
            return
        for found in await deletable(self._store, version.path, version.version_id):
            await self._store.delete_version(found)

    async def remove(self, path: ObjectPath) -> None:
        """Do with an object of any name what `rm` does."""
        if self._deletes:
            await self._delete(path, await deletable(self._store, path))
        else:
            await self._store.hide(path)

    async def rename(self, version: ObjectVersion, number: int, name: str) -> Told:
        """Give an object of any name one that a path can spell, in the directory with this number. Raises
        AlreadyExists, and what the rules for names refuse."""
        directory = self._namespace.inode(number)
        await self._check_free(directory, name, check_new_name)
        target = directory.path.file(name)
        try:
            (renamed,) = await self._mover.move([(version, target)])
            self._made(renamed)
        finally:
            told = self._forget(directory.path.directory(name))
        return told

    # -- inside ----------------------------------------------------------------------------

    async def _copy(self, version: ObjectVersion, path: ObjectPath) -> None:
        self._made(await self._mover.copy(version, path))

    def _place(self, path: str) -> ObjectPath:
        names = tuple(name for name in path.split(DELIMITER) if name)
        if names[:2] in _AREAS:
            names = names[2:]
        where = self._namespace.root.path
        for name in names:
            where = where.directory(name)
        if not names or where.is_bucket:
            raise InvalidArgument("name a file or directory below the mount point")
        return ObjectPath(where.bucket, where.key.removesuffix(DELIMITER))

    async def _has_below(self, place: ObjectPath) -> bool:
        page = await self._store.list_versions(place.bucket, place.key + DELIMITER, limit=1)
        return bool(page.versions)

    async def _hidden_below(self, directory: ObjectPath) -> list[list[ObjectVersion]]:
        """The versions of each name below a directory that has something to come back."""
        return [each for each in await self._lists.below(directory) if _under_markers(each) is not None]

    async def _bring_back(
        self, place: ObjectPath, hidden: Sequence[Sequence[ObjectVersion]]
    ) -> tuple[list[ObjectPath], Told]:
        """All that is hidden at or below a path. Returns what came back. What is there now must be of the
        same kind: of a file and a directory with one name only the directory would be seen."""
        live = await self._walk(place)
        if live.inode is not None and live.inode.is_directory != place.is_directory:
            kind = "directory" if live.inode.is_directory else "file"
            raise AlreadyExists(f"{place.name} is a {kind} now: move it away before")
        try:
            done = await _in_parallel(self._unhide, hidden)
        finally:
            told = self._forget(live.where)
        return [versions[0].path for versions, is_back in zip(hidden, done, strict=True) if is_back], told

    async def _unhide(self, versions: Sequence[ObjectVersion]) -> bool:
        """Let a name show the version that its hide markers hide."""
        below = _under_markers(versions)
        if below is None:
            return False
        try:
            for marker in itertools.takewhile(lambda version: version is not below, versions):
                await self._store.delete_version(marker)
        except AccessDenied:
            if "deleteFiles" in self._store.account.capabilities:
                raise
            await self._copy(below, below.path)
        return True

    async def _check_free(
        self, directory: Inode, name: str, check: Callable[[ObjectPath, str], None]
    ) -> None:
        check(directory.path, name)
        check_allowed(self._store, directory.path, name)
        try:
            await self._namespace.lookup(directory, name)
        except NotFound:
            return
        raise AlreadyExists(f"{name} exists")

    async def _walk(self, path: ObjectPath) -> _Live:
        """What is there under a path. Raises NotADirectory when something above it is a file now."""
        inode, where = self._namespace.root, path.as_directory
        names = path.key.removeprefix(inode.path.key) if inode.path.bucket else f"{path.bucket}/{path.key}"
        for name in names.removesuffix(DELIMITER).split(DELIMITER):
            where = inode.path.directory(name)
            try:
                inode = await self._namespace.lookup(inode, name)
            except NotFound:
                return _Live(None, where)
        return _Live(inode, where)


def _chosen(
    path: str, versions: list[ObjectVersion], version_id: str | None, moment_ms: int | None
) -> ObjectVersion:
    uploads = [version for version in versions if version.action is Action.UPLOAD]
    if version_id is not None:
        found = [version for version in uploads if version.version_id == version_id]
        missing = f"no version of it has the id {version_id}"
    elif moment_ms is not None:
        found = Reading(as_of(moment_ms)).take(versions)
        missing = f"there was none at {moment_name(moment_ms)}"
    else:
        before = [version for version in uploads if version is not versions[0]]
        found = [version for version in before if version.size] or before
        missing = "it has had one version only"
    if not found:
        raise NotFound(f"{path}: {missing}")
    return found[0]


def _under_markers(versions: Sequence[ObjectVersion]) -> ObjectVersion | None:
    """What comes back when the hide markers are removed; None for what is not hidden."""
    if not versions or versions[0].action is not Action.HIDE:
        return None
    return next((version for version in versions if version.action is Action.UPLOAD), None)


async def _in_parallel(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """Do it for all; raises the first error, when all have had their turn."""
    todo = iter(items)
    results: list[R] = []
    errors: list[Exception] = []

    async def some() -> None:
        for item in todo:
            try:
                results.append(await work(item))
            except Exception as error:
                errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(some)
    if errors:
        raise errors[0]
    return results

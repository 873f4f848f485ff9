"""Renamer: `rename`, with POSIX's rules of replacement. B2 has no rename: an object is copied
inside B2 and its old name hidden, journaled by the Mover, so that a crash is finished later.

Invariants: the new name has its bytes (in B2, or in the journal) before the old name goes; a file
that was not sent yet only changes the name it will have; open handles follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import trio

from b2mount.errors import (
    AlreadyExists,
    B2MountError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.creating import check_allowed
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.keys import check_keys
from b2mount.filesystem.removing import Remover
from b2mount.model import Kind, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_moved, check_new_directory_name, check_new_name
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectStore
from b2mount.writing.mover import MoveIncomplete, Mover
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import Staging
from b2mount.writing.write_back import WriteBack


@attrs.frozen(eq=False)
class Taken:
    """What was closed and unsent of a file that is to be replaced: its local bytes stay until it is, or is on
    record again."""

    sealed: SealedFile
    user: str
    """For whom Staging keeps them."""


@attrs.define(eq=False)
class Renamer:
    """rename(2)."""

    _namespace: Namespace
    _store: ObjectStore
    _committer: Committer
    _write_back: WriteBack
    _mover: Mover
    _remover: Remover
    _gate: PathGate
    _staging: Staging

    async def rename(self, old: tuple[Inode, str], new: tuple[Inode, str], *, may_replace: bool) -> None:
        """Give the entry `old` the name `new`. Raises NotFound, AlreadyExists, IsADirectory,
        NotADirectory, NotEmpty, InvalidArgument, and what B2 or the name rules refuse."""
        if await self._mover.take_back():
            self._namespace.forget_listing(None)
        inode = await self._namespace.lookup(*old)
        target = await self._target(*new)
        if target is inode:
            return
        is_directory = inode.attributes.kind is Kind.DIRECTORY
        if is_directory and inode.path.holds(new[0].path):
            raise InvalidArgument("a directory can't be moved into itself")
        if inode.path.is_bucket or new[0].path.is_account:
            raise NotPermitted("B2 renames no buckets, and nothing else stands beside them")
        check = check_new_directory_name if is_directory else check_new_name
        check(new[0].path, new[1])
        check_allowed(self._store, new[0].path, new[1])
        if target is not None:
            if not may_replace:
                raise AlreadyExists(f"{new[1]} exists")
            await self._check_replaceable(target, is_directory)
        if is_directory:
            await self._move_directory(inode, new, target)
        else:
            await self._move_file(inode, new, target)
        await self._remover.keep(old[0])

    def _announce(self, old: ObjectPath, new: ObjectPath) -> None:
        self._namespace.changing(old)
        self._namespace.changing(new)

    async def _target(self, directory: Inode, name: str) -> Inode | None:
        try:
            return await self._namespace.lookup(directory, name)
        except NotFound:
            return None

    async def _check_replaceable(self, target: Inode, by_directory: bool) -> None:
        target_is_directory = target.attributes.kind is Kind.DIRECTORY
        if by_directory and not target_is_directory:
            raise NotADirectory(f"{target.path.name} is not a directory")
        if not by_directory and target_is_directory:
            raise IsADirectory(f"{target.path.name} is a directory")
        if target_is_directory and not await self._namespace.is_empty(target):
            raise NotEmpty(f"{target.path.name} is not empty")

    # -- files -----------------------------------------------------------------------------

    async def _move_file(self, inode: Inode, new: tuple[Inode, str], target: Inode | None) -> None:
        directory, name = new
        replaced = self._committer.known(target) if target is not None else None
        content = self._committer.known(inode)
        gathers = content is not None and self._committer.gathers(content)
        taken, left = None, list[ObjectPath]()
        try:
            async with self._gate.moving(lambda: inode.path, lambda: directory.path.file(name)) as (
                old,
                path,
            ):
                self._mover.check_taken_back()
                self._announce(inode.path, path)
                with self._write_back.holding(path):
                    taken = await self._take_back(replaced)
                    left += [old] if self._committer.is_in_b2(inode) else []
                    version = await self._move_bytes(
                        inode, path, self._recorded(replaced), self._covered(target)
                    )
                    inode.covers = target is not None and self._committer.is_in_b2(target)
                    if target is not None:
                        await self._remover.replaced(target)
                    self._namespace.moved(inode, directory, name)
                self._take_version(inode, version)
        except BaseException:
            await self._record_again(replaced, taken)
            raise
        finally:
            await self._let_go(taken)
        await self._remover.moved(left)
        if content is not None and gathers:  # one copy for the new name and for what was changed before
            await self._committer.arrive(content)

    async def _take_back(self, replaced: FileContent | None) -> Taken | None:
        """Keep what is closed and unsent from coming in over the one that is about to replace it."""
        sealed = replaced.sealed if replaced is not None else None
        if replaced is None or sealed is None:
            return None
        await self._write_back.wait_out(sealed.staging_id)
        replaced.take_back()
        return Taken(sealed, self._staging.keep(sealed))

    async def _let_go(self, taken: Taken | None) -> None:
        if taken is not None:
            with trio.CancelScope(shield=True):
                await self._staging.let_go(taken.sealed, taken.user)

    def _recorded(self, replaced: FileContent | None) -> list[SealedFile]:
        """What the next mount would send of an unsent file, over the one that replaces it; oldest first, as
        it is on record again when the rename fails."""
        layers = (replaced.sealed, replaced.staged) if replaced is not None else ()
        found = (self._write_back.recorded(layer.staging_id) for layer in layers if layer is not None)
        return [sealed for sealed in found if sealed is not None]

    async def _record_again(self, replaced: FileContent | None, taken: Taken | None) -> None:
        """What was to be replaced is still there."""
        if replaced is None or replaced.inode.removed:
            return
        staged_id = replaced.staged.staging_id if replaced.staged is not None else None
        with trio.CancelScope(shield=True):
            if taken is not None and replaced.sealed is not None:  # it could not be taken back for editing
                await self._write_back.submit(replaced.sealed, under=staged_id)
            if taken is not None and taken.sealed.staging_id == staged_id:
                await self._committer.commit(replaced, wait=False)
            else:
                await self._committer.checkpoint(replaced)

    async def _move_bytes(
        self, inode: Inode, path: ObjectPath, replaces: Sequence[SealedFile], over: Mapping[ObjectPath, str]
    ) -> ObjectVersion | None:
        content = self._committer.known(inode)
        try:
            unsent = content is not None and await self._rename_unsent(content, path)
            version = inode.version if inode.version and inode.version.path == inode.path else None
            if version is not None and not unsent:
                return (await self._mover.move([(version, path)], replaces, over))[0]
            # the new name comes with the upload: no copy of bytes that it replaces
            if self._committer.is_in_b2(inode):
                await self._hide(inode.path)
        except Exception:
            if content is not None:
                await self._rename_unsent(content, inode.path, replaces)
            raise
        return None

    async def _hide(self, path: ObjectPath) -> None:
        try:
            await self._store.hide(path)
        except NotFound:
            return

    async def _rename_unsent(
        self, content: FileContent, path: ObjectPath, restores: Sequence[SealedFile] = ()
    ) -> bool:
        """Let what is on its way arrive under `path`; on the way back, what it was to replace is on record
        again in the same moment. False when B2 has all that was closed."""
        if content.staged is not None:
            await self._write_back.rename(content.staged.staging_id, path, restores)
        while content.sealed is not None:
            staging_id = content.sealed.staging_id
            if await self._write_back.rename(staging_id, path, restores):
                return True
            try:
                await self._write_back.settle(staging_id)
            except B2MountError:
                continue  # it stays staged, and can take its new name now
        return False

    def _take_version(self, inode: Inode, version: ObjectVersion | None) -> None:
        if version is None:
            return
        self._committer.made(version)
        content = self._committer.known(inode)
        if content is not None and (content.staged or content.sealed):
            self._namespace.rebased(version.path, version)
        else:
            self._namespace.adopted(version.path, version)

    # -- directories -----------------------------------------------------------------------

    async def _move_directory(self, inode: Inode, new: tuple[Inode, str], target: Inode | None) -> None:
        directory, name = new
        replaced = self._committer.known(target) if target is not None else None
        taken = None
        try:
            place = self._gate.moving(lambda: inode.path, lambda: directory.path.directory(name))
            async with place as (old, path):
                self._mover.check_taken_back()
                self._announce(inode.path, path)
                with self._write_back.holding(path):
                    taken = await self._take_back(replaced)
                    versions = await self._move_tree(inode, path, replaced, self._covered(target))
                    if target is not None:
                        await self._remover.replaced(target)
                    self._namespace.moved(inode, directory, name)
                    for version in versions:
                        self._committer.arrived(version)
        except BaseException:
            await self._record_again(replaced, taken)
            raise
        finally:
            await self._let_go(taken)
        await self._remover.moved([version.path.moved(path, old) for version in versions])
        if not versions:
            await self._remover.keep(inode)

    def _covered(self, target: Inode | None) -> dict[ObjectPath, str]:
        """What B2 has under the name that is replaced."""
        if target is None:
            return {}
        versions = self._namespace.keepers(target) if target.is_directory else [target.version]
        return {version.path: version.version_id for version in versions if version is not None}

    async def _move_tree(
        self, inode: Inode, path: ObjectPath, replaced: FileContent | None, over: Mapping[ObjectPath, str]
    ) -> list[ObjectVersion]:
        old_path, replaces = inode.path, self._recorded(replaced)
        renamed: list[FileContent] = []
        try:
            contents = list(self._committer.under(old_path))
            for content in contents:  # one that can't be sent under its new name would stay here for ever
                check_moved(content.inode.object_path, content.inode.object_path.moved(old_path, path))
            for content in contents:
                renamed.append(content)
                await self._rename_unsent(content, content.inode.object_path.moved(old_path, path))
            moves = [(v, v.path.moved(old_path, path)) for v in await self._namespace.subtree(inode)]
            for version, destination in moves:  # before the first is moved: no tree is torn in two
                check_moved(version.path, destination)
            await check_keys(self._store, [version for version, _ in moves])
            return await self._mover.move(moves, replaces, over)
        except BaseException as error:
            self._namespace.forget_listing(old_path)
            self._namespace.forget_listing(path)
            if isinstance(error, Exception):  # when cancelled, the next mount finishes the move
                for content in renamed:
                    await self._rename_unsent(content, content.inode.object_path, replaces)
            raise (error.cause if isinstance(error, MoveIncomplete) else error) from None

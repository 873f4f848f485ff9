"""Remover: names that go away. A file's object is hidden (or deleted), an empty directory's
placeholder too; a directory that lost its last file gets a placeholder, so that it stays.

Invariants: B2 is asked first, once nothing of the name is on its way there any more, and only what it has
confirmed disappears here; the unsent bytes are on record until then: a removal that fails or is cut by a
crash leaves the newest. Nothing that was unlinked is sent afterwards; what open handles still see lives
until they are closed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from functools import partial

import attrs

from b2mount.errors import B2MountError, IsADirectory, NotADirectory, NotEmpty, NotFound
from b2mount.filesystem.clearing import Clearer
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.echoes import Echoes
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.protecting import deletable
from b2mount.model import ByteSource, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import metadata_of
from b2mount.store.interface import ObjectStore
from b2mount.writing.sealed_file import SealedFile

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Remover:
    """unlink and rmdir."""

    _namespace: Namespace
    _store: ObjectStore
    _committer: Committer
    _gate: PathGate
    _deletes: bool
    """--unlink=delete: every version goes, instead of being hidden."""
    _clearer: Clearer
    _echoes: Echoes = attrs.field(init=False)
    _doomed: dict[int, tuple[ObjectVersion, ...]] = attrs.field(factory=dict)
    """By inode: versions to delete when its last handle is closed."""

    @_echoes.default
    def _make_echoes(self) -> Echoes:
        return Echoes(self._store, self._committer, self._gate)

    async def run(self) -> None:
        """Remove again what B2 shows of names that are gone, until cancelled."""
        await self._echoes.run()

    async def unlink(self, directory: Inode, name: str) -> None:
        """Remove a file or symlink. Raises NotFound, IsADirectory."""
        inode = await self._namespace.lookup(directory, name)
        if inode.attributes.kind is Kind.DIRECTORY:
            raise IsADirectory(f"{name} is a directory")
        async with self._gate.using(lambda: inode.path) as path:
            with self._committer.holding(path):
                sent = await self._stop_sending(inode)
                if self._committer.is_in_b2(inode):
                    await self._remove_object(inode)
                if sent is not None:
                    await self._echoes.silence(sent, partial(self._remove_object, inode))
                await self.replaced(inode)
        await self.keep(directory)

    async def rmdir(self, directory: Inode, name: str) -> None:
        """Remove an empty directory; a bucket only when it holds no old versions either. Raises
        NotFound, NotADirectory, NotEmpty."""
        inode = await self._namespace.lookup(directory, name)
        if inode.attributes.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{name} is not a directory")
        async with self._gate.moving(lambda: inode.path) as (path,):
            if not await self._namespace.is_empty(inode):
                raise NotEmpty(f"{name} is not empty")
            self._namespace.changing(inode.path)
            if path.is_bucket:
                await self._delete_bucket(path)
                await self.replaced(inode)
            else:
                with self._committer.holding(path):
                    await self._remove_keepers(inode)
        await self.keep(directory)

    async def _remove_keepers(self, inode: Inode) -> None:
        sent = await self._stop_sending(inode)
        paths = {version.path for version in self._namespace.keepers(inode)}
        if self._committer.is_in_b2(inode):  # or may be: the reply to an upload can be lost
            paths.add(inode.object_path)
        for path in sorted(paths):
            await self._remove_versions(path, frozenset())
        if sent is not None:
            remove = partial(self._remove_versions, inode.object_path, frozenset())
            await self._echoes.silence(sent, remove)
        await self.replaced(inode)

    async def _stop_sending(self, inode: Inode) -> SealedFile | None:
        """Inside `holding`: nothing of it is on its way to B2 then. Returns what was, and has not arrived as
        far as anyone knows."""
        sent, before = self._committer.being_sent(inode.object_path), inode.version
        content = self._committer.known(inode)
        if content is not None:
            await content.stop_sending()
        return sent if inode.version == before else None

    async def replaced(self, inode: Inode) -> None:
        """Another object, or nothing, has the name of `inode`."""
        self._namespace.removed(inode)
        if (content := self._committer.known(inode)) is not None:
            await self._committer.withdraw_for_good(content)
        if not self._is_open(inode):  # any more
            await self._delete_doomed(inode)

    def _is_open(self, inode: Inode) -> bool:
        content = self._committer.known(inode)
        return content is not None and bool(content.readers or content.writers)

    async def moved(self, paths: Sequence[ObjectPath]) -> None:
        """Objects have other names now, and are hidden under these. Never raises."""
        if self._deletes:
            await self._clearer.clear(paths)

    async def keep(self, directory: Inode) -> None:
        """Write a placeholder when `directory` has just lost its last entry. B2 is asked what is in it
        where nobody here knows: of a big one, when what was known has expired."""
        try:
            if not await self._has_lost_all(directory):
                return
        except B2MountError as error:
            log.warning("%s may be empty now and then could not be kept in B2: %s", directory.path, error)
            return
        content = self._committer.known(directory)
        if content is not None and content.sealed is not None:  # it is on its way, with changed attributes
            await self._committer.arrive(content)
            return
        try:
            await self._write_placeholder(directory)
        except B2MountError as error:
            # the removal itself is done; the directory stays visible here in any case
            log.warning("%s is empty now and could not be kept in B2: %s", directory.path, error)

    async def _has_lost_all(self, directory: Inode) -> bool:
        known = self._namespace.needs_placeholder(directory)
        if known is None:
            children = self._namespace.children(directory)
            known = await children.get(0) is None and not children.keepers and not directory.removed
        return known

    async def _write_placeholder(self, directory: Inode) -> None:
        """Put the object that keeps `directory` alive and carries its attributes."""
        async with self._gate.using(lambda: directory.object_path) as path:
            if directory.unlinked:
                return
            metadata = metadata_of(directory.attributes, directory.metadata)
            with self._committer.holding(path):  # what changes meanwhile comes in after it
                version = await self._store.put(path, ByteSource(), metadata)
            self._committer.made(version)
            is_newer_pending = self._committer.known(directory) is not None
            (self._namespace.rebased if is_newer_pending else self._namespace.adopted)(path, version)

    async def let_go(self, content: FileContent) -> None:
        """Somebody has it open no more: of a removed file that nobody has open nothing stays."""
        if content.inode.removed and not (content.is_leaving or self._is_open(content.inode)):
            self._committer.discard(content)
            await self._delete_doomed(content.inode)
        self._committer.drop_idle(content)

    async def _delete_doomed(self, inode: Inode) -> None:
        """Never raises: the name has gone, and nobody could be told of what stays, hidden."""
        for version in self._doomed.pop(inode.number, ()):
            if version.version_id in self._committer.needed_by_others(inode):
                continue
            try:
                await self._store.delete_version(version)
            except B2MountError as error:
                log.warning("a version of %s stays, hidden: %s", version.path, error)

    async def _delete_bucket(self, path: ObjectPath) -> None:
        try:
            await self._store.delete_bucket(path.bucket)
        except NotEmpty:
            log.warning("%s stays: old or hidden versions or unfinished uploads are still in it", path)
            raise

    async def _remove_object(self, inode: Inode) -> None:
        self._namespace.changing(inode.path)
        if not self._deletes:
            await self._hide(inode.path)
            return
        if self._is_open(inode):
            doomed = await deletable(self._store, inode.path)
            await self._hide(inode.path)
            self._doomed[inode.number] = doomed
            if inode.removed and not self._is_open(inode):  # any more
                await self._delete_doomed(inode)
        else:
            await self._remove_name(inode)

    async def _remove_name(self, inode: Inode) -> None:
        """Delete what has its name, but for what a file that had the name before is still to be made from:
        that stays, hidden."""
        needed = self._committer.needed_by_others(inode)
        await self._remove_versions(inode.path, needed)

    async def _remove_versions(self, path: ObjectPath, needed: Set[str]) -> None:
        if not self._deletes:
            await self._hide(path)
            return
        versions = await deletable(self._store, path)
        free = [version for version in versions if version.version_id not in needed]
        if len(free) < len(versions):
            log.info("a version of %s stays, hidden: an unsent file is made from it", path)
            await self._hide(path)
        # oldest first: deleting the newest first would bring the older ones back for a moment
        for version in reversed(free):
            await self._store.delete_version(version)

    async def _hide(self, path: ObjectPath) -> None:
        try:
            await self._store.hide(path)
        except NotFound:
            log.debug("%s was gone from B2 already", path)

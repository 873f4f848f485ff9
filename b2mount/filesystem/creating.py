"""Creator: new files, directories and symlinks, and the attributes that they start with."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

import attrs

from b2mount.errors import (
    AccessDenied,
    AlreadyExists,
    NameTooLong,
    NotFound,
    NotPermitted,
    StoreFailure,
)
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.gate import PathGate
from b2mount.filesystem.node import Requester
from b2mount.model import Attributes, ByteSource, Kind, ObjectMetadata, ObjectPath
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import (
    SAFE_TARGET_BYTES,
    check_new_bucket_name,
    check_new_directory_name,
    check_new_name,
    check_new_target,
)
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import metadata_of
from b2mount.store.interface import ObjectStore


@attrs.define(eq=False)
class Creator:
    """Every method raises AlreadyExists, NotFound when the directory is gone, and what the rules for
    names refuse: NameTooLong, BadName, IllegalCharacters."""

    _namespace: Namespace
    _store: ObjectStore
    _committer: Committer
    _gate: PathGate

    async def mkdir(self, directory: Inode, name: str, mode: int, requester: Requester) -> Inode:
        """B2 has the directory's placeholder when this returns; a private bucket among buckets."""
        if directory.path.is_account:
            return await self._make_bucket(directory, name, mode, requester)
        await self._check_free(directory, name, check_new_directory_name)
        attributes = _first_attributes(Kind.DIRECTORY, mode, directory, requester)
        async with self._gate.using(lambda: directory.path.directory(name)) as path:
            self._namespace.changing(path)
            version = await self._store.put(
                path.placeholder, ByteSource(), metadata_of(attributes, ObjectMetadata())
            )
            self._committer.made(version)
            return self._namespace.created(directory, name, attributes, version)

    async def symlink(self, directory: Inode, name: str, target: str, requester: Requester) -> Inode:
        """An empty object that carries its target; in B2 when this returns."""
        check_new_target(target)
        await self._check_free(directory, name)
        attributes = _first_attributes(Kind.SYMLINK, 0o777, directory, requester)
        attributes = attrs.evolve(attributes, target=target, size=len(os.fsencode(target)))
        try:
            return await self._special(directory, name, attributes)
        except StoreFailure as error:
            if attributes.size > SAFE_TARGET_BYTES:
                raise NameTooLong(f"B2 has no room for a symlink target so long: {error}") from error
            raise

    async def node(
        self, directory: Inode, name: str, kind: Kind, mode: int, device: int, requester: Requester
    ) -> Inode:
        """A FIFO, socket or device node: an empty object whose info says which; in B2 when this returns."""
        await self._check_free(directory, name)
        attributes = attrs.evolve(_first_attributes(kind, mode, directory, requester), device=device)
        return await self._special(directory, name, attributes)

    async def _special(self, directory: Inode, name: str, attributes: Attributes) -> Inode:
        async with self._gate.using(lambda: directory.path.file(name)) as path:
            self._namespace.changing(path)
            version = await self._store.put(path, ByteSource(), metadata_of(attributes, ObjectMetadata()))
            self._committer.made(version)
            return self._namespace.created(directory, name, attributes, version)

    async def file(self, directory: Inode, name: str, mode: int, requester: Requester) -> FileContent:
        """An empty file, so far only here."""
        await self._check_free(directory, name)
        attributes = _first_attributes(Kind.FILE, mode, directory, requester)
        inode = self._namespace.created(directory, name, attributes, None)
        content = self._committer.content(inode)
        try:
            content.edit()
        except OSError:
            self._namespace.removed(inode)
            self._committer.drop_idle(content)
            raise
        return content

    async def _make_bucket(self, account: Inode, name: str, mode: int, requester: Requester) -> Inode:
        check_new_bucket_name(name)
        attributes = _first_attributes(Kind.DIRECTORY, mode, account, requester)
        async with self._gate.using(lambda: account.path.directory(name)):
            await self._store.create_bucket(name)
            return self._namespace.created(account, name, attributes, None)

    async def _check_free(
        self, directory: Inode, name: str, check: Callable[[ObjectPath, str], None] = check_new_name
    ) -> None:
        if directory.path.is_account:
            raise NotPermitted("only buckets stand at the top of an account: mkdir makes one")
        check(directory.path, name)
        check_allowed(self._store, directory.path, name)
        if directory.removed:
            raise NotFound("the directory was removed")
        try:
            await self._namespace.lookup(directory, name)
        except NotFound:
            return
        raise AlreadyExists(f"{name} exists")


def check_allowed(store: ObjectStore, directory: ObjectPath, name: str) -> None:
    """Whether the application key may write such a name: once staged, it could never be sent.
    Raises AccessDenied."""
    if not (directory.key + name).startswith(store.account.prefix):
        raise AccessDenied(f"the application key is only for names that begin with {store.account.prefix!r}")


def _first_attributes(kind: Kind, mode: int, directory: Inode, requester: Requester) -> Attributes:
    now = time.time_ns()
    gid = requester.gid
    mode = stat.S_IMODE(mode)
    if directory.attributes.mode & stat.S_ISGID:  # the kernel leaves this inheritance to us
        gid = directory.attributes.gid
        if kind is Kind.DIRECTORY:
            mode |= stat.S_ISGID
    return Attributes(
        kind, mode, requester.uid, gid, size=0, modified_ns=now, changed_ns=now, accessed_ns=now
    )

"""Changer: attributes and sizes of what is there. What a program asks for is true here at once, durable
on the local disk, and on its way to B2, maybe with bytes that are on their way anyway.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable

import attrs

from b2mount.errors import InvalidArgument, IsADirectory, NotSupported, TooLarge
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.content import FileContent
from b2mount.filesystem.node import Requester
from b2mount.filesystem.removing import Remover
from b2mount.model import AttributeChange, Attributes, Kind, ObjectMetadata
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectStore

LARGEST_FILE = 10 * 1000**4
"""B2's limit for one object: 10 TB."""


@attrs.define(eq=False)
class Changer:
    """chmod, chown, utimes, truncate, and what is behind extended attributes."""

    _namespace: Namespace
    _store: ObjectStore
    _committer: Committer
    _remover: Remover

    async def change(self, inode: Inode, change: AttributeChange) -> None:
        """The attributes are durable on the local disk when this returns, and on their way; further changes
        in the next moments go with them. Whoever asks for what is so already changes the ctime, which is
        known here only, as the atime is."""
        await self.learn(inode)
        before, changed = inode.attributes, apply(change, inode.attributes)
        if kept(changed) == kept(before):
            inode.attributes = changed
        elif inode.unlinked or self._is_top(inode):
            inode.attributes, inode.entries_changed_ns = changed, 0
        else:
            await self._publish(inode, lambda: apply(change, inode.attributes))
            await self._send(inode, wait=False)

    async def learn(self, inode: Inode) -> None:
        """A directory keeps of its attributes what is not changed, also when nobody has listed it yet."""
        if inode.is_directory and not self._is_top(inode):
            await self._namespace.learn(inode)

    async def change_metadata(self, inode: Inode, metadata: ObjectMetadata, *, wait: bool) -> None:
        """Content type and info of a file or directory, on the same way as attributes; B2 has them when
        this returns, if `wait` says so. Raises NotSupported for what has no object that could carry them."""
        if self._is_top(inode) or inode.kind.is_special:
            raise NotSupported("the root of the mount, buckets and what has no bytes carry nothing")
        await self._publish(inode, lambda: apply(AttributeChange(), inode.attributes), metadata)
        if not inode.unlinked:
            await self._send(inode, wait=wait)

    async def _publish(
        self, inode: Inode, changed: Callable[[], Attributes], carried: ObjectMetadata | None = None
    ) -> None:
        """Programs see it. `changed` is of what is so then: others may write meanwhile."""
        if inode.kind is Kind.FILE:
            await self.check_key(inode)
        if inode.is_directory or carried is not None:
            inode.carried = carried or inode.metadata
        self._namespace.published(inode, changed())

    def _is_top(self, inode: Inode) -> bool:
        """Whether no object stands for the directory: what it is given, it has for this mount only."""
        return inode is self._namespace.root or inode.path.is_bucket

    async def _send(self, inode: Inode, *, wait: bool) -> None:
        content = self._committer.content(inode)
        try:
            await self._committer.change_attributes(content, wait=wait)
        finally:
            self._committer.drop_idle(content)

    async def empty(self, inode: Inode, requester: Requester) -> None:
        """What O_TRUNC does: cut to nothing; set-id bits go, unless the superuser asks."""
        mode = without_set_id(inode.attributes.mode)
        if requester.uid != 0 and mode != inode.attributes.mode:
            self._namespace.published(inode, attrs.evolve(inode.attributes, mode=mode))
        await self.truncate(inode, 0)

    async def truncate(self, inode: Inode, size: int) -> None:
        """Cut or lengthen a file here. Raises IsADirectory, InvalidArgument, TooLarge."""
        if inode.is_directory:
            raise IsADirectory("a directory has no size to change")
        if inode.kind is not Kind.FILE:
            raise InvalidArgument("only files have a size to change")
        check_size(size)
        if size:
            await self.check_key(inode)
        content = self._committer.content(inode)
        content.readers += 1  # while this waits, B2 may get all of it, and whoever has it open may close it
        try:
            await self._committer.truncate(content, size, lambda: self.written(content))
        finally:
            content.readers -= 1
            await self._remover.let_go(content)

    async def check_key(self, inode: Inode, *, to_write: bool = True) -> None:
        """Whether B2 lets this mount have the bytes of a file. A change that it refuses afterwards would
        stay staged for ever, so before one B2 is asked where it is not known. Raises KeyMissing."""
        content = self._committer.known(inode)
        is_edited = content is not None and (content.staged or content.sealed)
        if inode.version is None or is_edited:
            return
        if to_write:
            await self._store.try_key(inode.version)
        else:
            self._store.check_key(inode.version)

    async def commit_unless_open(self, inode: Inode) -> None:
        """Let B2 have it, unless that is for the close of somebody who is writing."""
        content = self._committer.content(inode)
        if not content.writers:
            try:
                await self._committer.commit(content)
            finally:
                self._committer.drop_idle(content)

    def written(self, content: FileContent) -> None:
        """Bytes have changed: so have the size and the times."""
        now = time.time_ns()
        attributes = attrs.evolve(
            content.inode.attributes, size=content.size, modified_ns=now, changed_ns=now
        )
        self._namespace.published(content.inode, attributes)


def check_size(size: int) -> None:
    """Raises TooLarge."""
    if size > LARGEST_FILE:
        raise TooLarge("B2 keeps at most 10 TB in one file")


def without_set_id(mode: int) -> int:
    """What is left of a mode when somebody changes the bytes who may not have it run as its owner or group.
    S_ISGID on what no group may run is no set-id bit."""
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode


def apply(change: AttributeChange, attributes: Attributes) -> Attributes:
    """The changed attributes."""
    fields = attrs.asdict(change, recurse=False).items()
    wanted = {name: value for name, value in fields if value is not None}
    return attrs.evolve(attributes, **wanted, changed_ns=time.time_ns())


def kept(attributes: Attributes) -> Attributes:
    """What B2 keeps of attributes: all but the times of the last change and access."""
    return attrs.evolve(attributes, changed_ns=0, accessed_ns=0)

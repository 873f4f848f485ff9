"""Operations: what the kernel calls. Translates, never decides.

Invariants: every handler that the kernel waits for is inside `answers_kernel`; `forget` never
raises. Which handlers exist is not a matter of taste: a missing one makes the kernel believe for
ever that the call can't be done (fsync would silently "work").
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from contextlib import aclosing

import pyfuse3

from b2mount import errors
from b2mount.filesystem.areas import Areas
from b2mount.filesystem.node import Requester
from b2mount.fuse.attributes import absent_entry, attribute_change, entry_attributes, node_kind, statvfs
from b2mount.fuse.errno_map import Observe, Observed, answers_kernel
from b2mount.fuse.kernel import KernelPages

log = logging.getLogger(__name__)


def _name(raw: bytes) -> str:
    return os.fsdecode(raw)


def _requester(ctx: pyfuse3.RequestContext) -> Requester:
    return Requester(ctx.uid, ctx.gid, ctx.umask)


class Operations(pyfuse3.Operations, Observed):
    """One mount's operations, over its Areas."""

    supports_dot_lookup = True
    enable_writeback_cache = False  # other hosts may change files: the kernel must not own sizes
    enable_acl = False  # B2 keeps no ACLs, and set they would shadow the mode

    def __init__(self, filesystem: Areas, pages: KernelPages, observe: Observe | None = None) -> None:
        super().__init__()
        self.observe = observe
        self._fs = filesystem
        self._pages = pages

    # -- names -----------------------------------------------------------------------------

    @answers_kernel
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        try:
            node = await self._fs.lookup(parent_inode, _name(name))
        except errors.NotFound:
            return absent_entry(self._fs.absent_for(parent_inode, _name(name)))
        return entry_attributes(node)

    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        try:
            for number, count in inode_list:
                self._fs.forget(number, count)
        except Exception:
            log.exception("forget met a bug")

    @answers_kernel
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return entry_attributes(self._fs.getattr(inode))

    @answers_kernel
    async def setattr(
        self,
        inode: pyfuse3.InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: pyfuse3.FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        size = attr.st_size if fields.update_size else None
        change = attribute_change(fields, attr)
        return entry_attributes(await self._fs.setattr(inode, change, size=size, fh=fh))

    @answers_kernel
    async def readlink(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> bytes:
        return os.fsencode(self._fs.readlink(inode))

    @answers_kernel
    async def mkdir(
        self,
        parent_inode: pyfuse3.InodeT,
        name: bytes,
        mode: pyfuse3.ModeT,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        return entry_attributes(await self._fs.mkdir(parent_inode, _name(name), mode, _requester(ctx)))

    @answers_kernel
    async def symlink(
        self,
        parent_inode: pyfuse3.InodeT,
        name: bytes,
        target: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = await self._fs.symlink(parent_inode, _name(name), os.fsdecode(target), _requester(ctx))
        return entry_attributes(node)

    @answers_kernel
    async def mknod(
        self,
        parent_inode: pyfuse3.InodeT,
        name: bytes,
        mode: pyfuse3.ModeT,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        kind, device = node_kind(mode), rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0
        node = await self._fs.mknod(parent_inode, _name(name), kind, mode, device, _requester(ctx))
        return entry_attributes(node)

    @answers_kernel
    async def link(
        self,
        inode: pyfuse3.InodeT,
        new_parent_inode: pyfuse3.InodeT,
        new_name: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        raise errors.TooManyLinks("B2 has no hard links")

    @answers_kernel
    async def unlink(self, parent_inode: pyfuse3.InodeT, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._fs.unlink(parent_inode, _name(name))

    @answers_kernel
    async def rmdir(self, parent_inode: pyfuse3.InodeT, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._fs.rmdir(parent_inode, _name(name))

    @answers_kernel
    async def rename(
        self,
        parent_inode_old: pyfuse3.InodeT,
        name_old: bytes,
        parent_inode_new: pyfuse3.InodeT,
        name_new: bytes,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        old, new = (parent_inode_old, _name(name_old)), (parent_inode_new, _name(name_new))
        if flags == pyfuse3.RENAME_EXCHANGE:
            await self._fs.exchange(old, new)
        elif flags in (0, pyfuse3.RENAME_NOREPLACE):
            await self._fs.rename(old, new, may_replace=not flags)
        else:
            raise errors.InvalidArgument("only RENAME_NOREPLACE and RENAME_EXCHANGE are known")

    # -- directories -----------------------------------------------------------------------

    @answers_kernel
    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(self._fs.opendir(inode))

    @answers_kernel
    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        async with aclosing(self._fs.readdir(fh, start_id)) as entries:
            async for position, name, node in entries:
                if not pyfuse3.readdir_reply(token, os.fsencode(name), entry_attributes(node), position):
                    return
                if name not in (".", ".."):  # the kernel counts no lookup for these two
                    self._fs.looked_up(node.number)

    @answers_kernel
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        self._fs.releasedir(fh)

    @answers_kernel
    async def fsyncdir(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        """Changes of names are in B2 when the call that made them returns."""

    # -- files -----------------------------------------------------------------------------

    @answers_kernel
    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        fh = await self._fs.open(inode, flags, _requester(ctx))
        return _file_info(fh, keep_cache=self._pages.are_right(inode))

    @answers_kernel
    async def create(
        self,
        parent_inode: pyfuse3.InodeT,
        name: bytes,
        mode: pyfuse3.ModeT,
        flags: pyfuse3.FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        node, fh = await self._fs.create(parent_inode, _name(name), mode, flags, _requester(ctx))
        return _file_info(fh, keep_cache=True), entry_attributes(node)

    @answers_kernel
    async def read(  # type: ignore[override]  # any buffer will do, says handlers.pxi
        self, fh: pyfuse3.FileHandleT, off: int, size: int
    ) -> bytes | memoryview:
        return await self._fs.read(fh, off, size)

    @answers_kernel
    async def write(self, fh: pyfuse3.FileHandleT, off: int, buf: bytes) -> int:
        return await self._fs.write(fh, off, buf)

    @answers_kernel
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        await self._fs.flush(fh)

    @answers_kernel
    async def fsync(self, fh: pyfuse3.FileHandleT, datasync: bool) -> None:
        await self._fs.fsync(fh)

    @answers_kernel
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        await self._fs.release(fh)

    # -- the rest --------------------------------------------------------------------------

    @answers_kernel
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return statvfs(self._fs.statfs())

    @answers_kernel
    async def access(self, inode: pyfuse3.InodeT, mode: pyfuse3.ModeT, ctx: pyfuse3.RequestContext) -> bool:
        """Never asked: with default_permissions the kernel decides by itself."""
        return True

    @answers_kernel
    async def getxattr(self, inode: pyfuse3.InodeT, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        # `security.capability` is asked before every write(2): nothing is waited for then
        return await self._fs.getxattr(inode, name)

    @answers_kernel
    async def listxattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        return [pyfuse3.XAttrNameT(name) for name in self._fs.listxattr(inode)]

    @answers_kernel
    async def setxattr(
        self,
        inode: pyfuse3.InodeT,
        name: pyfuse3.XAttrNameT,
        value: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        await self._fs.setxattr(inode, name, value)

    @answers_kernel
    async def removexattr(
        self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        await self._fs.removexattr(inode, name)


def _file_info(fh: int, *, keep_cache: bool) -> pyfuse3.FileInfo:
    # an inode has one content until it is changed through this kernel: its pages stay right, unless
    # they came with wrong bytes
    return pyfuse3.FileInfo(
        fh=pyfuse3.FileHandleT(fh), direct_io=False, keep_cache=keep_cache, nonseekable=False
    )

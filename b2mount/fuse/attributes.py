"""Our attributes as pyfuse3's structures, and the kernel's wishes as ours.

Every field is set: pyfuse3's own defaults bite (300 s timeouts, mode without a type, 0 blocks).
"""

from __future__ import annotations

import stat
from typing import Final

import pyfuse3

from b2mount.errors import InvalidArgument
from b2mount.filesystem.node import Node
from b2mount.filesystem.status import SpaceStatus
from b2mount.model import TYPE_BITS, AttributeChange, Kind

BLOCK: Final = 512
BLOCK_SIZE_HINT: Final = 128 * 1024
"""st_blksize: what Python and awk read and write at once; a good middle, measured."""


def entry_attributes(node: Node) -> pyfuse3.EntryAttributes:
    """What the kernel is told of an inode, and for how many seconds it may believe it."""
    attributes = node.attributes
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(node.number)
    entry.generation = 0
    entry.entry_timeout = node.valid_for
    entry.attr_timeout = node.valid_for
    entry.st_mode = pyfuse3.ModeT(TYPE_BITS[attributes.kind] | attributes.mode)
    entry.st_nlink = node.links
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.st_rdev = attributes.device
    entry.st_size = attributes.size
    entry.st_blksize = BLOCK_SIZE_HINT
    # never 0 for a file with bytes: `tar -S` would store it as one hole
    entry.st_blocks = -(-attributes.size // BLOCK)
    entry.st_atime_ns = attributes.accessed_ns
    entry.st_mtime_ns = attributes.modified_ns
    entry.st_ctime_ns = attributes.changed_ns
    return entry


def absent_entry(valid_for: float) -> pyfuse3.EntryAttributes:
    """A name that does not exist, in the one form that the kernel remembers."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = valid_for
    entry.attr_timeout = 0
    return entry


def node_kind(mode: int) -> Kind:
    """What mknod(2) asks for. Raises InvalidArgument."""
    wanted = stat.S_IFMT(mode) or stat.S_IFREG
    for kind, bits in TYPE_BITS.items():
        if bits == wanted and kind not in (Kind.DIRECTORY, Kind.SYMLINK):
            return kind
    raise InvalidArgument(f"mknod makes no such thing: {mode:o}")


def attribute_change(fields: pyfuse3.SetattrFields, wanted: pyfuse3.EntryAttributes) -> AttributeChange:
    """What setattr asks for, but for the size."""
    return AttributeChange(
        mode=stat.S_IMODE(wanted.st_mode) if fields.update_mode else None,
        uid=wanted.st_uid if fields.update_uid else None,
        gid=wanted.st_gid if fields.update_gid else None,
        modified_ns=wanted.st_mtime_ns if fields.update_mtime else None,
        accessed_ns=wanted.st_atime_ns if fields.update_atime else None,
    )


def statvfs(space: SpaceStatus) -> pyfuse3.StatvfsData:
    """What `df` shows."""
    data = pyfuse3.StatvfsData()
    data.f_bsize = space.block_size
    data.f_frsize = space.block_size
    data.f_blocks = space.blocks
    data.f_bfree = space.free
    data.f_bavail = space.free
    data.f_files = space.files
    data.f_ffree = space.files
    data.f_favail = space.files
    data.f_namemax = space.name_max
    return data

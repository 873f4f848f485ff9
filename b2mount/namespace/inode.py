"""Inodes: the identity of files and directories while anybody knows them.

Invariants: numbers are never reused in a mount; the root is 1; lookup counts are never negative; an
inode whose count is above 0 stays in the table; one live inode per path. An inode with count 0 lives
exactly as long as somebody here holds it (a listing being read, an open file, an unsent change): the
table's own references to it are weak, so that a million listed names leave nothing behind.

Must not know: the store, time to live, what is listed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final
from weakref import WeakValueDictionary

import attrs

from b2mount.errors import NotFound
from b2mount.model import Attributes, Entry, Kind, ObjectMetadata, ObjectPath, ObjectVersion

ROOT_NUMBER: Final = 1


@attrs.define(eq=False)
class Inode:
    """One file or directory as the kernel and programs know it."""

    number: int
    path: ObjectPath
    attributes: Attributes
    version: ObjectVersion | None
    """What B2 has of it: the object, or a directory's placeholder where it is known."""
    lookups: int = 0
    removed: bool = False
    """The name is gone or means something else now; it lives on for those who have it open."""
    unlinked: bool = False
    """It was this mount that took the name away: what is written to it now is for its handles only."""
    covers: bool = False
    """B2 may still show an older object under its name, which this file has replaced here but not there."""
    carried: ObjectMetadata | None = None
    """Content type and info of the version that is still to come, where `version` has others."""
    fresh_until: float = 0.0
    """When what B2 said of it has to be asked again, in trio's time."""
    entries_changed_ns: int = 0
    """When this mount last changed a directory's entries; 0 for never."""

    @property
    def kind(self) -> Kind:
        """File, directory or symlink; never changes."""
        return self.attributes.kind

    @property
    def is_directory(self) -> bool:
        """Whether it can have children."""
        return self.attributes.kind is Kind.DIRECTORY

    @property
    def metadata(self) -> ObjectMetadata:
        """Content type and info that its next version takes over, unless they are changed."""
        if self.carried is not None or self.version is None:
            return self.carried or ObjectMetadata()
        return ObjectMetadata(self.version.content_type, self.version.info)

    def stands_for(self, entry: Entry) -> bool:
        """Whether it is what the entry says: a directory, or the same version of a file."""
        if self.is_directory or entry.kind is Kind.DIRECTORY:
            return self.is_directory and entry.kind is Kind.DIRECTORY
        if self.version is None or entry.version is None:
            return False
        return self.version.version_id == entry.version.version_id


class InodeTable:
    """All inodes of a mount, by number and by path."""

    def __init__(self, root: ObjectPath, attributes: Attributes) -> None:
        self._numbers = itertools.count(ROOT_NUMBER)
        self._by_number: WeakValueDictionary[int, Inode] = WeakValueDictionary()
        self._by_path: WeakValueDictionary[tuple[str, str], Inode] = WeakValueDictionary()
        self._known_to_kernel: dict[int, Inode] = {}
        self.root: Final = self.add(root, attributes, None)

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Inode]:
        """Those that have a name."""
        return iter(list(self._by_path.values()))

    def get(self, number: int) -> Inode:
        """Raises NotFound."""
        inode = self._by_number.get(number)
        if inode is None:
            raise NotFound(f"no inode {number}")
        return inode

    def at(self, path: ObjectPath) -> Inode | None:
        """The live inode of that name, whether file or directory."""
        return self._by_path.get(_place(path))

    def add(self, path: ObjectPath, attributes: Attributes, version: ObjectVersion | None) -> Inode:
        """A new inode with a new number; one that had the path is detached."""
        self.detach(self.at(path))
        inode = Inode(next(self._numbers), path, attributes, version)
        self._by_number[inode.number] = inode
        self._by_path[_place(path)] = inode
        return inode

    def detach(self, inode: Inode | None) -> None:
        """Take the name away. The number goes on working for those who know it."""
        if inode is None or inode.removed:
            return
        inode.removed = True
        if self.at(inode.path) is inode:
            del self._by_path[_place(inode.path)]

    def reattach(self, inode: Inode) -> None:
        """Give a detached inode its name back; who has it now is detached."""
        self.detach(self.at(inode.path))
        inode.removed = False
        self._by_path[_place(inode.path)] = inode

    def move(self, inode: Inode, path: ObjectPath) -> None:
        """Give it another name, and with a directory everything known below it."""
        old = inode.path
        below = [one for one in self if one is not inode and old.holds(one.path)]
        for one in (inode, *below):
            del self._by_path[_place(one.path)]
        for one in (inode, *below):
            one.path = one.path.moved(old, path)
            self.detach(self.at(one.path))
            self._by_path[_place(one.path)] = one

    def looked_up(self, inode: Inode, count: int) -> None:
        """The kernel was told of it `count` times."""
        inode.lookups += count
        self._known_to_kernel[inode.number] = inode

    def forget(self, number: int, count: int) -> None:
        """The kernel drops `count` of what it was told. Never raises."""
        inode = self._known_to_kernel.get(number)
        if inode is None:
            return
        inode.lookups = max(0, inode.lookups - count)
        if not inode.lookups:
            del self._known_to_kernel[number]


def _place(path: ObjectPath) -> tuple[str, str]:
    """A file and a directory of one name are the same place."""
    return path.bucket, path.key.removesuffix("/")

"""Catalog: what has to be said of names so that they can be looked at. A Namespace is one; so is what
serves names that need none of its memory.

Must not know: bytes, changes.
"""

from __future__ import annotations

from typing import Protocol

from b2mount.namespace.inode import Inode


class Children(Protocol):
    """One reading of a directory."""

    def ready(self, position: int) -> bool:
        """Whether `get` would answer without waiting."""
        ...

    async def get(self, position: int) -> Inode | None:
        """The entry at a position, None after the last one. One that is gone is `removed`."""
        ...


class Catalog(Protocol):
    """Names and their inodes."""

    @property
    def root(self) -> Inode:
        """Its directory."""
        ...

    def inode(self, number: int) -> Inode:
        """The inode of a number that the kernel knows. Raises NotFound."""
        ...

    async def lookup(self, directory: Inode, name: str) -> Inode:
        """What `name` in `directory` is. Raises NotFound, NotADirectory, NameTooLong."""
        ...

    def children(self, directory: Inode) -> Children:
        """The entries of a directory. Raises NotADirectory, NotFound."""
        ...

    def valid_for(self, inode: Inode) -> float:
        """Seconds for which the kernel may keep name and attributes."""
        ...

    def looked_up(self, inode: Inode, count: int = 1) -> None:
        """The kernel has been told of the inode. Never raises."""
        ...

    def forget(self, number: int, count: int) -> None:
        """The kernel has dropped what it was told. Never raises."""
        ...

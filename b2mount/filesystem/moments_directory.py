"""The directories `.b2` and `.b2/at`: a few fixed names, and a tree for each moment that somebody names.

Invariants: a name in `.b2/at` stands for one moment; when it says something like `2 days ago`, only for
some of the time that has passed since (SHARE of it), KEPT seconds at most. A moment's tree lives as long
as the kernel knows anything of it, and longer while there are at most SPARE of them.

Must not know: what is in a tree.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio

from b2mount.errors import NotADirectory, NotFound
from b2mount.filesystem.numbers import FIRST_VIEW, TOP, first_number
from b2mount.model import Attributes, ObjectPath
from b2mount.moments import is_relative, parse_moment
from b2mount.namespace.catalog import Catalog
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_looked_up_name

SPARE: Final = 16
KEPT: Final = 60.0
SHARE: Final = 0.01
LONG: Final = 3600.0
"""Seconds for which the kernel may take it that these directories are as they are."""


@attrs.define(eq=False)
class _View:
    """One moment's tree."""

    area: int
    catalog: Catalog
    until: float
    """When its name means another moment."""


@attrs.frozen(eq=False)
class _Fixed:
    """The entries of a directory that are all known."""

    _inodes: Sequence[Inode]

    def ready(self, position: int) -> bool:
        return True

    async def get(self, position: int) -> Inode | None:
        return self._inodes[position] if position < len(self._inodes) else None


class TopCatalog:
    """`.b2`, with the roots of other catalogs and `at` in it. Its own two inodes are always known."""

    def __init__(
        self,
        place: ObjectPath,
        attributes: Attributes,
        roots: Mapping[str, Catalog],
        at_moment: Callable[[int, int], Catalog],
        in_use: Callable[[int], bool],
    ) -> None:
        """`at_moment` makes the catalog of a moment, with inode numbers from a given one on; `in_use` says
        whether the kernel knows any number of a range."""
        number = first_number(TOP)
        self.root: Final = Inode(number, place, attributes, None)
        self._at: Final = Inode(number + 1, place.directory("at"), attributes, None)
        self._roots = dict(roots)
        self._at_moment = at_moment
        self._in_use = in_use
        self._by_name: dict[str, _View] = {}
        """What names in `.b2/at` mean; the one that was asked for last is last."""
        self._by_area: dict[int, _View] = {}
        """These, and those whose name means another moment by now."""
        self._areas = itertools.count(FIRST_VIEW)

    def view(self, area: int) -> Catalog:
        """The tree whose inode numbers are in this range. Raises NotFound."""
        if area not in self._by_area:
            raise NotFound("the tree of this moment is not known any more")
        return self._by_area[area].catalog

    def meant_for(self, name: str) -> float:
        """Seconds for which a name in `.b2/at` goes on meaning the same moment."""
        return max(0.0, self._by_name[name].until - trio.current_time()) if name in self._by_name else LONG

    def inode(self, number: int) -> Inode:
        for inode in (self.root, self._at):
            if inode.number == number:
                return inode
        raise NotFound(f"no inode {number}")

    async def lookup(self, directory: Inode, name: str) -> Inode:
        check_looked_up_name(name)
        await trio.lowlevel.checkpoint()
        if name == ".":
            return directory
        if name == "..":
            return self.root
        if directory is self._at:
            return self._moment(name)
        if name == "at":
            return self._at
        if name not in self._roots:
            raise NotFound(name)
        return self._roots[name].root

    def children(self, directory: Inode) -> _Fixed:
        if not directory.is_directory:
            raise NotADirectory(str(directory.path))
        if directory is self._at:
            return _Fixed([])  # there is no end of moments
        return _Fixed([self._at, *(catalog.root for catalog in self._roots.values())])

    def name_of(self, inode: Inode) -> str:
        """The name under which it is listed."""
        names = {id(catalog.root): name for name, catalog in self._roots.items()}
        return names.get(id(inode), inode.path.name)

    def valid_for(self, inode: Inode) -> float:
        return LONG

    def looked_up(self, inode: Inode, count: int = 1) -> None:
        """They are always known."""

    def forget(self, number: int, count: int) -> None:
        """They are always known."""

    def _moment(self, name: str) -> Inode:
        view = self._by_name.pop(name, None)
        if view is None or view.until <= trio.current_time():
            view = self._made(name)
        self._by_name[name] = self._by_area[view.area] = view
        self._drop_unused()
        return view.catalog.root

    def _made(self, name: str) -> _View:
        try:
            moment = parse_moment(name)
        except ValueError as error:
            raise NotFound(str(error)) from None
        until = float("inf")
        if is_relative(name):
            age = time.time() - moment / 1000
            until = trio.current_time() + min(max(age * SHARE, 1.0), KEPT)
        area = next(self._areas)
        return _View(area, self._at_moment(moment, first_number(area)), until)

    def _drop_unused(self) -> None:
        spare = [name for name, view in self._by_name.items() if not self._in_use(view.area)]
        for name in spare[: max(0, len(spare) - SPARE)]:
            del self._by_name[name]
        named = {view.area for view in self._by_name.values()}
        for area in [area for area in self._by_area if area not in named and not self._in_use(area)]:
            del self._by_area[area]

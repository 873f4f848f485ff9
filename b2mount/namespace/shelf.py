"""Shelf: a catalog of what a source lists, without a memory of its own but for some seconds.

Invariants: a name is the same inode as long as it stands for the same version, or directory, and somebody
knows it. What is listed is believed for the time to live, or until `forget_listing`. A listing is fetched no
further than somebody has read, once for all who read it.

Must not know: what the source lists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

import attrs
import trio
from cachetools import TTLCache

from b2mount.errors import NotADirectory, NotFound
from b2mount.model import Entry, Kind, ObjectPath
from b2mount.namespace.inode import Inode
from b2mount.namespace.names import check_looked_up_name
from b2mount.namespace.posix_info import AttributeDefaults, attributes_of, bare_directory

_LISTINGS: Final = 64
"""Directories that are remembered."""
_ANSWERS: Final = 4096
"""Single names that are. The kernel asks for each name of a path again and again, since it may keep none."""


class Scan(Protocol):
    """One reading of a directory at its source."""

    async def more(self) -> Sequence[Entry] | None:
        """Some more entries, or none for now; None at the end. Each name comes once."""
        ...


class Source(Protocol):
    """Where entries come from. A directory's path is made of the names that lead to it."""

    def scan(self, directory: ObjectPath) -> Scan:
        """The entries of a directory; asks nothing yet."""
        ...

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One of them, or what can be had by its name alone; None when there is none."""
        ...


@attrs.define(eq=False)
class Whole:
    """A Scan of what comes all at once."""

    _entries: Callable[[], Awaitable[Sequence[Entry]]]
    _is_done: bool = attrs.field(default=False, init=False)

    async def more(self) -> Sequence[Entry] | None:
        if self._is_done:
            return None
        entries = await self._entries()
        self._is_done = True
        return entries


@attrs.define(eq=False)
class Listing:
    """What is known of the entries of a directory, in the order in which they came."""

    _scan: Scan | None
    """None when there are no more."""
    entries: list[Entry | None] = attrs.field(factory=list, init=False)
    """None for what has been removed since."""
    _places: dict[str, int] = attrs.field(factory=dict, init=False)
    _growing: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @property
    def is_complete(self) -> bool:
        """Whether these are all."""
        return self._scan is None

    async def grow(self) -> None:
        """Ask for more, or wait for who does. Raises what the store raises; the next one goes on there."""
        size = len(self.entries)
        async with self._growing:
            if self._scan is None or size < len(self.entries):
                return
            found = await self._scan.more()
            if found is None:
                self._scan = None
            for entry in found or ():
                self._places[entry.name] = len(self.entries)
                self.entries.append(entry)

    def find(self, name: str) -> Entry | None:
        """What has a name, as far as it is known."""
        place = self._places.get(name)
        return self.entries[place] if place is not None else None

    def removed(self, name: str) -> None:
        """It is not there any more."""
        place = self._places.pop(name, None)
        if place is not None:
            self.entries[place] = None


class Shelf:
    """See the module; a Catalog."""

    def __init__(
        self,
        source: Source,
        root: ObjectPath,
        *,
        defaults: AttributeDefaults,
        ttl: float,
        root_number: int,
        started_ns: int,
    ) -> None:
        """Its directories are as old as `started_ns`."""
        self._source = source
        self._defaults = defaults
        self._bare = bare_directory(defaults, started_ns)
        self._next = root_number + 1
        self._changes = 0
        """How often what was said before is not to be believed any more."""
        self.root: Final = Inode(root_number, root, self._bare, None)
        self.gone: Final = Inode(root_number, root, self._bare, None, removed=True)
        """In place of what is not there any more."""
        self._by_number: WeakValueDictionary[int, Inode] = WeakValueDictionary({root_number: self.root})
        self._by_path: WeakValueDictionary[ObjectPath, Inode] = WeakValueDictionary({root: self.root})
        self._known_to_kernel: dict[int, Inode] = {}
        self._listings: TTLCache[ObjectPath, Listing] = TTLCache(
            maxsize=_LISTINGS, ttl=ttl, timer=trio.current_time
        )
        self._answers: TTLCache[tuple[ObjectPath, str], tuple[Entry | None]] = TTLCache(
            maxsize=_ANSWERS, ttl=ttl, timer=trio.current_time
        )

    def inode(self, number: int) -> Inode:
        """Raises NotFound."""
        inode = self._by_number.get(number)
        if inode is None:
            raise NotFound(f"no inode {number}")
        return inode

    async def lookup(self, directory: Inode, name: str) -> Inode:
        """What `name` in `directory` is. Raises NotFound, NotADirectory, NameTooLong."""
        check_looked_up_name(name)
        self._check_directory(directory)
        if name in (".", ".."):
            return directory if name == "." else self._parent(directory)
        listing = self._listings.get(directory.path)
        entry = listing.find(name) if listing is not None else None
        if entry is not None:
            return self.made_of(directory, entry)
        (entry,) = self._answers.get((directory.path, name)) or await self._ask(directory.path, name)
        if entry is None:
            raise NotFound(f"{directory.path}{name}")
        return self.made_of(directory, entry)

    def children(self, directory: Inode) -> _Stream:
        """The entries of a directory. Raises NotADirectory."""
        self._check_directory(directory)
        return _Stream(self, directory)

    def listing(self, directory: Inode) -> Listing:
        """That of a directory which others read, too."""
        listing = self._listings.get(directory.path)
        if listing is None:
            listing = self._listings[directory.path] = Listing(self._source.scan(directory.path))
        return listing

    def valid_for(self, inode: Inode) -> float:
        """What is here may change at any moment."""
        return 0.0

    def looked_up(self, inode: Inode, count: int = 1) -> None:
        """The kernel has been told of the inode. Never raises."""
        inode.lookups += count
        self._known_to_kernel[inode.number] = inode

    def forget(self, number: int, count: int) -> None:
        """The kernel has dropped what it was told. Never raises."""
        inode = self._known_to_kernel.get(number)
        if inode is not None:
            inode.lookups = max(0, inode.lookups - count)
            if not inode.lookups:
                del self._known_to_kernel[number]

    def forget_listing(self) -> None:
        """Ask the source again."""
        self._changes += 1
        self._listings.clear()
        self._answers.clear()

    def removed(self, inode: Inode) -> None:
        """A name is gone from its directory; all else is as it was."""
        self._changes += 1
        self._answers.clear()
        listing = self._listings.get(inode.path.parent)
        if listing is not None:
            listing.removed(inode.path.name)

    # -- inside -----------------------------------------------------------------------------

    async def _ask(self, directory: ObjectPath, name: str) -> tuple[Entry | None]:
        changes = self._changes
        answer = (await self._source.entry(directory, name),)
        if changes == self._changes:
            self._answers[directory, name] = answer
        return answer

    def _check_directory(self, directory: Inode) -> None:
        if not directory.is_directory:
            raise NotADirectory(str(directory.path))

    def _parent(self, directory: Inode) -> Inode:
        if directory is self.root:
            return directory
        path = directory.path.parent
        return self._by_path.get(path) or self._made(path, None)

    def made_of(self, directory: Inode, entry: Entry) -> Inode:
        """The inode of an entry of a directory."""
        is_directory = entry.kind is Kind.DIRECTORY
        path = directory.path.directory(entry.name) if is_directory else directory.path.file(entry.name)
        known = self._by_path.get(path)
        return known if known is not None and known.stands_for(entry) else self._made(path, entry)

    def _made(self, path: ObjectPath, entry: Entry | None) -> Inode:
        version = entry.version if entry is not None else None
        attributes = attributes_of(version, self._defaults) if version is not None else self._bare
        inode = Inode(self._next, path, attributes, version)
        self._next += 1
        self._by_number[inode.number] = self._by_path[path] = inode
        return inode


class _Stream:
    """One reading of a directory: all of it as of the first look."""

    def __init__(self, shelf: Shelf, directory: Inode) -> None:
        self._shelf = shelf
        self._directory = directory
        self._listing = shelf.listing(directory)

    def ready(self, position: int) -> bool:
        return position < len(self._listing.entries) or self._listing.is_complete

    async def get(self, position: int) -> Inode | None:
        while not self.ready(position):
            await self._listing.grow()
        if position >= len(self._listing.entries):
            return None
        entry = self._listing.entries[position]
        return self._shelf.gone if entry is None else self._shelf.made_of(self._directory, entry)

"""Inodes: the identity of files and directories while anybody knows them.

Invariants: numbers are never reused in a mount; the root is 1; lookup counts are never negative; an
inode whose count is above 0 stays in the table; one live inode per path. An inode with count 0 lives
exactly as long as somebody here holds it (a listing being read, an open file, an unsent change): the
table's own references to it are weak, so that a million listed names leave nothing behind.

A file that is just what B2's listing says is a row of that listing and no more, however well the
kernel knows it: its Inode is made of the row when somebody asks. As soon as anything else becomes
true of it, it leaves the row and is kept by itself.

Must not know: the store, time to live, what is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import attrs

from b2mount.errors import NotFound
from b2mount.model import Attributes, Entry, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.namespace.holding_dict import HoldingDict
from b2mount.namespace.name_table import ROWS, Chunk, NameTable
from b2mount.namespace.packing import PackedVersion, packed
from b2mount.namespace.posix_info import AttributeDefaults

ROOT_NUMBER: Final = 1
T = TypeVar("T")


@attrs.frozen(eq=False)
class _Origin:
    """The row that an inode is made of."""

    inodes: InodeTable
    table: NameTable
    chunk: Chunk
    row: int


def _differs(inode: Inode, _attribute: attrs.Attribute[T], value: T) -> T:
    inode.leave_row()
    return value


@attrs.define(eq=False)
class Inode:
    """One file or directory as the kernel and programs know it."""

    number: int
    path: ObjectPath = attrs.field(on_setattr=_differs)
    _attributes: Attributes | None
    _version: ObjectVersion | PackedVersion | None
    _origin: _Origin | None = None
    _lookups: int = 0
    removed: bool = attrs.field(default=False, on_setattr=_differs)
    """The name is gone or means something else now; it lives on for those who have it open."""
    unlinked: bool = attrs.field(default=False, on_setattr=_differs)
    """It was this mount that took the name away: what is written to it now is for its handles only."""
    covers: bool = attrs.field(default=False, on_setattr=_differs)
    """B2 may still show an older object under its name, which this file has replaced here but not there."""
    carried: ObjectMetadata | None = attrs.field(default=None, on_setattr=_differs)
    """Content type and info of the version that is still to come, where `version` has others."""
    fresh_until: float = 0.0
    """When what B2 said of it has to be asked again, in trio's time."""
    entries_changed_ns: int = 0
    """When this mount last changed a directory's entries; 0 for never."""

    @property
    def attributes(self) -> Attributes:
        """What `stat` says."""
        if self._attributes is None:
            origin = self._origin
            assert origin is not None
            return origin.chunk.attributes(origin.row, origin.inodes.defaults)
        return self._attributes

    @attributes.setter
    def attributes(self, attributes: Attributes) -> None:
        self.leave_row()
        self._attributes = attributes

    @property
    def version(self) -> ObjectVersion | None:
        """What B2 has of it: the object, or a directory's placeholder where it is known."""
        if self._version is None and self._origin is not None:
            self._version = self._origin.chunk.entry(self._origin.row).version
        return self._version.unpacked() if isinstance(self._version, PackedVersion) else self._version

    @version.setter
    def version(self, version: ObjectVersion | None) -> None:
        self.leave_row()
        self._version = version

    @property
    def lookups(self) -> int:
        """How often the kernel was told of it, less what it has forgotten."""
        return self._lookups if self._origin is None else self._origin.chunk.lookups[self._origin.row]

    @lookups.setter
    def lookups(self, lookups: int) -> None:
        self.leave_row()
        self._lookups = lookups

    @property
    def origin(self) -> _Origin | None:
        """The row of a listing that it is made of, and differs from in nothing."""
        return self._origin

    def leave_row(self) -> None:
        """From now on it may differ from what is listed."""
        if (origin := self._origin) is not None:
            self._attributes, self._version, lookups = self.attributes, self.version, self.lookups
            self._origin, self._lookups = None, lookups
            origin.inodes.left_row(self, origin.table, origin.chunk, origin.row)

    def rest(self) -> None:
        """Nobody works with it for now: what B2 has of it takes a tenth of the memory, until `wake`."""
        if self._origin is None and isinstance(self._version, ObjectVersion):
            self._version = packed(self._version, self.path)

    def wake(self) -> None:
        """Somebody does."""
        self._version = self.version

    @property
    def kind(self) -> Kind:
        """File, directory or symlink; never changes."""
        return self.attributes.kind

    @property
    def is_directory(self) -> bool:
        """Whether it can have children."""
        return self._origin is None and self.attributes.kind is Kind.DIRECTORY

    @property
    def object_path(self) -> ObjectPath:
        """The name of the object that carries its attributes: of a directory, its placeholder's."""
        return self.path.placeholder if self.path.is_directory else self.path

    @property
    def metadata(self) -> ObjectMetadata:
        """Content type and info that its next version takes over, unless they are changed."""
        if self.carried is not None or (version := self.version) is None:
            return self.carried or ObjectMetadata()
        return ObjectMetadata(version.content_type, version.info)

    def stands_for(self, entry: Entry) -> bool:
        """Whether it is what the entry says: a directory, or the same version of a file."""
        if self.is_directory or entry.kind is Kind.DIRECTORY:
            return self.is_directory and entry.kind is Kind.DIRECTORY
        version, other = self.version, entry.version
        return version is not None and other is not None and version.version_id == other.version_id


class InodeTable:
    """All inodes of a mount, by number and by path."""

    def __init__(
        self,
        root: ObjectPath,
        attributes: Attributes,
        defaults: AttributeDefaults,
        root_number: int = ROOT_NUMBER,
    ) -> None:
        """`defaults` are for what B2 does not say of a file. All numbers are from `root_number` on."""
        self.defaults: Final = defaults
        self._next = root_number
        self._by_number: HoldingDict[int, Inode] = HoldingDict()
        """Held are those that the kernel knows and that are no rows."""
        self._by_key: dict[str, HoldingDict[str, Inode]] = {}
        """By bucket, then by `_place`. Those that are no rows; held as above."""
        self._tables: WeakValueDictionary[ObjectPath, NameTable] = WeakValueDictionary()
        self._chunks: WeakValueDictionary[int, Chunk] = WeakValueDictionary()
        """By the first of their numbers, in units of ROWS."""
        self._known_tables: dict[ObjectPath, NameTable] = {}
        """Those with a row that the kernel knows."""
        self.root: Final = self.add(root, attributes, None)

    def __len__(self) -> int:
        known = sum(chunk.known for table in self._known_tables.values() for chunk in table.chunks)
        return known + sum(not (one.origin and one.lookups) for one in self._by_number.all())

    def __iter__(self) -> Iterator[Inode]:
        """Those that have a name and that somebody here holds, or that are no rows."""
        return iter([inode for inode in self._by_number.all() if not inode.removed])

    def get(self, number: int) -> Inode:
        """Raises NotFound."""
        inode = self._by_number.get(number)
        if inode is None:
            chunk = self._chunks.get(number // ROWS)
            if chunk is None or not chunk.is_told(number % ROWS):
                raise NotFound(f"no inode {number}")
            inode = self._made_of(self._tables[chunk.directory], chunk, number % ROWS)
        return inode

    def at(self, path: ObjectPath) -> Inode | None:
        """The live inode of that name, whether file or directory."""
        inode = self._named(path.bucket, path.key)
        table = self._tables.get(path.parent) if inode is None else None
        found = table.find(path.name) if table is not None else None
        if table is None or found is None:
            return inode
        return self._live(*found) or (self._made_of(table, *found) if found[0].is_told(found[1]) else None)

    def add(self, path: ObjectPath, attributes: Attributes, version: ObjectVersion | None) -> Inode:
        """A new inode with a new number; one that had the path is detached."""
        self.detach(self.at(path))
        inode = Inode(self._next, path, attributes, version)
        self._next += 1
        self._by_number.put(inode.number, inode)
        self._give_name(inode)
        return inode

    def detach(self, inode: Inode | None) -> None:
        """Take the name away. The number goes on working for those who know it."""
        if inode is None or inode.removed:
            return
        inode.removed = True
        if self._named(inode.path.bucket, inode.path.key) is inode:
            self._by_key[inode.path.bucket].drop(_place(inode.path.key))

    def reattach(self, inode: Inode) -> None:
        """Give a detached inode its name back; who has it now is detached."""
        self.detach(self.at(inode.path))
        inode.removed = False
        self._give_name(inode)

    def move(self, inode: Inode, path: ObjectPath) -> None:
        """Give it another name, and with a directory everything known below it."""
        if inode.removed:  # B2 has shown somebody that the old name is gone already
            self.reattach(inode)
        old = inode.path
        inode.leave_row()
        # held: nobody else may need a table once its last row that the kernel knows has left it
        for directory, table in [one for one in self._tables.items() if old.holds(one[0])]:
            for row in table.numbered():
                self.leaves_row(*row)
            del self._tables[directory]
            table.directory = None
        below = [one for one in self if one is not inode and old.holds(one.path)]
        for one in (inode, *below):
            self._by_key[one.path.bucket].drop(_place(one.path.key))
        for one in (inode, *below):
            one.path = one.path.moved(old, path)
            self.detach(self.at(one.path))
            self._give_name(one)

    def looked_up(self, inode: Inode, count: int) -> None:
        """The kernel was told of it `count` times."""
        origin = inode.origin
        if origin is None:
            inode.lookups += count
            self._shelve(inode)
            return
        if origin.chunk.told(origin.row, count):
            origin.table.known += 1
            self._known_tables[origin.chunk.directory] = origin.table

    def forget(self, number: int, count: int) -> None:
        """The kernel drops `count` of what it was told. Never raises."""
        inode = self._by_number.get(number) if self._by_number.is_held(number) else None
        if inode is not None:
            inode.lookups = max(0, inode.lookups - count)
            if not inode.lookups:
                self._shelve(inode)
            return
        chunk = self._chunks.get(number // ROWS)
        if chunk is not None and chunk.is_told(number % ROWS):
            self._forget_row(chunk, number % ROWS, count)

    def expire(self, path: ObjectPath | None) -> None:
        """What B2 said of a path and all below it, or of everything, has to be asked again."""
        for inode in self:
            if path is None or path.holds(inode.path) or inode.path in (path, path.parent.file(path.name)):
                inode.fresh_until = 0.0

    def told(self, where: ObjectPath) -> dict[int, list[str]]:
        """The names at and below a directory's path (whatever is there) that the kernel knows, by the
        number of the directory that they stand in."""
        found: dict[int, list[str]] = {}
        for inode in self._by_number.held():
            parent = self.at(inode.path.parent)
            if parent is not None and inode is not self.root and where.holds(inode.path.as_directory):
                found.setdefault(parent.number, []).append(inode.path.name)
        for directory, table in self._known_tables.items():
            parent = self.at(directory)
            if parent is not None and (where.holds(directory) or directory == where.parent):
                names = [name for name in table.told() if where.holds(directory.directory(name))]
                found.setdefault(parent.number, []).extend(names)
        return found

    # -- rows ------------------------------------------------------------------------------

    def table(self, directory: ObjectPath) -> NameTable:
        """Where the names of a directory are kept; the same as long as anybody needs it."""
        table = self._tables.get(directory)
        if table is None:
            table = self._tables[directory] = NameTable(self.leaves_row, directory)
        return table

    def listed(
        self, directory: ObjectPath, table: NameTable, chunk: Chunk, row: int, fresh_until: float
    ) -> Inode | None:
        """The inode of a file that is just what this row says; None where that can't be, or where the
        path has an inode of its own."""
        name = chunk.names[row]
        if chunk.directory is not table.directory or directory != table.directory:
            return None
        if self._named(directory.bucket, directory.key + name) or not table.is_current(chunk, name):
            return None
        live = self._live(chunk, row)
        if live is not None:
            live.fresh_until = max(live.fresh_until, fresh_until)
            return live
        if not chunk.base or (chunk.is_spent(row) and not chunk.known):
            self._number(chunk)
        return None if chunk.is_spent(row) else self._made_of(table, chunk, row, fresh_until)

    def found(self, directory: ObjectPath, entry: Entry, fresh_until: float) -> Inode | None:
        """As `listed`, of the current row, when that says the same as the entry."""
        table = self._tables.get(directory)
        row = table.find(entry.name) if table is not None else None
        if table is None or row is None or row[0].entry(row[1]) != entry:
            return None
        return self.listed(directory, table, *row, fresh_until)

    def left_row(self, inode: Inode, table: NameTable, chunk: Chunk, row: int) -> None:
        """For Inode: it is not made of its row any more."""
        lookups = inode.lookups
        if lookups:
            self._forget_row(chunk, row, lookups)
        chunk.spend(row)
        self._by_number.put(inode.number, inode, hold=lookups > 0)
        self._give_name(inode)

    def leaves_row(self, chunk: Chunk, row: int) -> None:
        """Something else is going to be said of the name."""
        inode = self._live(chunk, row)
        if inode is None and chunk.is_told(row):
            inode = self._made_of(self._tables[chunk.directory], chunk, row)
        if inode is not None:
            inode.leave_row()

    def _named(self, bucket: str, key: str) -> Inode | None:
        names = self._by_key.get(bucket)
        return names.get(_place(key)) if names is not None else None

    def _give_name(self, inode: Inode) -> None:
        names = self._by_key.setdefault(inode.path.bucket, HoldingDict())
        names.put(_place(inode.path.key), inode, hold=inode.lookups > 0)

    def _shelve(self, inode: Inode) -> None:
        """The kernel knows it now, or does not any more: it is no row."""
        hold = inode.lookups > 0
        if hold != self._by_number.is_held(inode.number):
            self._by_number.put(inode.number, inode, hold=hold)
            if self._named(inode.path.bucket, inode.path.key) is inode:
                self._give_name(inode)

    def _live(self, chunk: Chunk, row: int) -> Inode | None:
        inode = self._by_number.get(chunk.base + row) if chunk.base else None
        return inode if inode is not None and inode.origin is not None else None

    def _made_of(self, table: NameTable, chunk: Chunk, row: int, fresh_until: float | None = None) -> Inode:
        path = chunk.directory.file(chunk.names[row])
        if fresh_until is None:
            fresh_until = table.fresh_until(chunk, row)
        origin = _Origin(self, table, chunk, row)
        inode = Inode(chunk.base + row, path, None, None, origin, fresh_until=fresh_until)
        self._by_number.put(inode.number, inode)
        return inode

    def _number(self, chunk: Chunk) -> None:
        if chunk.base:
            for row in range(len(chunk.names)):
                self.leaves_row(chunk, row)
            del self._chunks[chunk.base // ROWS]
        base = -(-self._next // ROWS) * ROWS
        self._next = base + ROWS
        chunk.number(base)
        self._chunks[base // ROWS] = chunk

    def _forget_row(self, chunk: Chunk, row: int, count: int) -> None:
        if not chunk.forget(row, count):
            return
        table = self._tables[chunk.directory]
        table.known -= 1
        if not table.known:
            del self._known_tables[chunk.directory]


def _place(key: str) -> str:
    """A file and a directory of one name are the same place."""
    return key.removesuffix("/")

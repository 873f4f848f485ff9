"""NameTable: what B2 said of the names of one directory, packed, for the listings of it and for the
inodes that the kernel knows of it.

A row is a name with what was said of it, and stays what it is; a name of which something else is said
gets another row. Rows are kept by the hundred, in chunks, each of which goes away as a whole.

Invariants: a name has one current row; a row that the kernel knows as an inode (`lookups`) is current.
Listings of the same directory that say the same share rows.

Must not know: the store, time to live, which inodes there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Final, Protocol
from weakref import ReferenceType, ref

import attrs

from b2mount.model import Attributes, Entry, Kind, ObjectPath
from b2mount.namespace.packing import Shape, pack, unpack, unpack_attributes
from b2mount.namespace.posix_info import AttributeDefaults, attributes_of

ROWS: Final = 128
"""Names in a chunk."""
_WHOLE: Final = 254
_DIRECTORY: Final = 255
NOWHERE: Final = ObjectPath("", "")

Packed = tuple[Shape, bytes] | None


@attrs.define(eq=False)
class Chunk:
    """Some rows, and which of them are inodes. Row r is the inode `base + r`, while it is one."""

    names: list[str] = attrs.field(factory=list)
    directory: ObjectPath = NOWHERE
    """Where the objects are."""
    base: int = 0
    """0 for none yet."""
    lookups: array[int] = attrs.field(factory=lambda: array("Q"))
    """How often the kernel was told of each row; empty while there is no base."""
    known: int = 0
    """How many rows the kernel knows."""
    spent: int = 0
    """A bit for each row whose number it must not be given again."""
    seen: int = 0
    """The listing that took a row of it last."""
    _shapes: list[Shape] = attrs.field(factory=list)
    _which: bytearray = attrs.field(factory=bytearray)
    _data: bytearray = attrs.field(factory=bytearray)
    _ends: array[int] = attrs.field(factory=lambda: array("I", [0]))
    _whole: dict[int, Entry] = attrs.field(factory=dict)
    """What can't be packed."""

    def is_directory(self, row: int) -> bool:
        """Whether the name is a directory's."""
        return self._which[row] == _DIRECTORY

    def is_told(self, row: int) -> bool:
        """Whether the kernel knows the row as an inode."""
        return bool(self.base) and row < len(self.lookups) and self.lookups[row] > 0

    def entry(self, row: int) -> Entry:
        """The row as it was put in."""
        which, name = self._which[row], self.names[row]
        if which == _DIRECTORY:
            return Entry(name, Kind.DIRECTORY, None)
        if which == _WHOLE:
            return self._whole[row]
        shape = self._shapes[which]
        data = self._data[self._ends[row] : self._ends[row + 1]]
        return Entry(name, shape.kind, unpack(self.directory.file(name), shape, data))

    def attributes(self, row: int, defaults: AttributeDefaults) -> Attributes:
        """The attributes of what the row says is there, which is no directory."""
        which = self._which[row]
        if which < _WHOLE:
            data = self._data[self._ends[row] : self._ends[row + 1]]
            path = self.directory.file(self.names[row])
            return unpack_attributes(path, self._shapes[which], data, defaults)
        version = self.entry(row).version
        if version is None:
            raise ValueError("no object is behind a directory")
        return attributes_of(version, defaults)

    def says(self, row: int, entry: Entry, packed: Packed) -> bool:
        """Whether this row of the entry's name says just the same."""
        which, version = self._which[row], entry.version
        if packed is None or version is None:
            return which == _DIRECTORY if version is None else self._whole.get(row) == entry
        if which >= _WHOLE or self._shapes[which] != packed[0]:
            return False
        is_same = self._data[self._ends[row] : self._ends[row + 1]] == packed[1]
        return is_same and self._is_here(version.path, entry.name)

    def takes(self, entry: Entry) -> bool:
        """Whether there is room for it: a chunk has ROWS names, of one directory."""
        if len(self.names) >= ROWS:
            return False
        return entry.version is None or self._is_here(entry.version.path, entry.name)

    def add(self, entry: Entry, packed: Packed) -> int:
        """A new row."""
        version, directory = entry.version, self.directory
        if version is not None and directory is NOWHERE:
            directory = ObjectPath(version.path.bucket, version.path.key.removesuffix(entry.name))
        row = self.add_packed(entry.name, packed, directory)
        if packed is None and (version is not None or entry.kind is not Kind.DIRECTORY):
            self._which[row] = _WHOLE
            self._whole[row] = entry
            self.directory = directory
        return row

    def packed(self, row: int) -> Packed:
        """What is known of the object, as it is kept; None for a directory. Raises LookupError for what
        can't be packed."""
        which = self._which[row]
        if which == _DIRECTORY:
            return None
        return self._shapes[which], bytes(self._data[self._ends[row] : self._ends[row + 1]])

    def add_packed(self, name: str, packed: Packed, directory: ObjectPath) -> int:
        """A new row, of what `packed` told of one in this directory."""
        row = len(self.names)
        if packed is not None and self.directory is NOWHERE:
            self.directory = directory
        self.names.append(name)
        if packed is None:
            self._which.append(_DIRECTORY)
        else:
            self._which.append(self._place_of(packed[0]))
            self._data += packed[1]
        self._ends.append(len(self._data))
        if self.base:
            self.lookups.append(0)
        return row

    def is_spent(self, row: int) -> bool:
        """Whether the row's number has had its time, and the row needs another to be an inode."""
        return bool(self.spent >> row & 1)

    def spend(self, row: int) -> None:
        """The row's number must not be given it again, once nobody knows it by that."""
        self.spent |= 1 << row

    def told(self, row: int, count: int) -> bool:
        """The kernel was told of the row `count` times. Returns whether it knew none of the chunk."""
        before, self.known = self.known, self.known + (not self.lookups[row])
        self.lookups[row] += count
        return not before

    def forget(self, row: int, count: int) -> bool:
        """The kernel drops `count` of it. Returns whether it knows none of the chunk any more."""
        self.lookups[row] = max(0, self.lookups[row] - count)
        if not self.lookups[row]:
            self.spend(row)
            self.known -= 1
        return not self.known

    def number(self, base: int) -> None:
        """New numbers for all rows, none of which the kernel knows; there are ROWS from `base` on."""
        self.base, self.spent = base, 0
        self.lookups = array("Q", bytes(8 * len(self.names)))

    def _place_of(self, shape: Shape) -> int:
        if not self._shapes or self._shapes[-1] != shape:
            if shape in self._shapes:
                return self._shapes.index(shape)
            self._shapes.append(shape)
        return len(self._shapes) - 1

    def _is_here(self, path: ObjectPath, name: str) -> bool:
        here = self.directory
        return here is NOWHERE or (path.key == here.key + name and path.bucket == here.bucket)


Row = tuple[Chunk, int]


class Showing(Protocol):
    """A listing."""

    expires: float

    def shows(self, chunk: Chunk, row: int) -> bool:
        """Whether the row is in it."""
        ...


class NameTable:
    """See the module."""

    def __init__(
        self,
        left: Callable[[Chunk, int], None] = lambda _chunk, _row: None,
        directory: ObjectPath | None = None,
    ) -> None:
        """`left` is told of each row that has been an inode and is current no more, before it is so."""
        self._left = left
        self.directory = directory
        """Whose names these are; None where nobody cares."""
        self._current: dict[str, Chunk] = {}
        self._chunks: dict[Chunk, None] = {}
        self._open: Chunk | None = None
        self._newest: ReferenceType[Showing] | None = None
        self._listings = 0
        self.known = 0
        """Chunks with a row that the kernel knows."""

    def begin(self, listing: Showing) -> None:
        """A new listing of the directory takes its rows from here."""
        self._newest = ref(listing)
        self._listings += 1
        for chunk in [one for one in self._chunks if not one.known and one.seen < self._listings - 1]:
            self._drop(chunk)

    def is_newest(self, listing: Showing) -> bool:
        """Whether no other listing has begun since this one did."""
        return self._newest is not None and self._newest() is listing

    def put(self, entry: Entry) -> Row:
        """The row that says this, which is current from now on."""
        version = entry.version
        packed = None if version is None or entry.kind is Kind.DIRECTORY else pack(version, entry.kind)
        before = self._current.get(entry.name)
        if before is not None:
            row = before.names.index(entry.name)
            if before.says(row, entry, packed):
                before.seen = self._listings
                return before, row
            if before.base:
                self._left(before, row)
        chunk = self._open
        if chunk is None or chunk is before or not chunk.takes(entry):  # names in a chunk all differ
            chunk = self._open = Chunk()
            self._chunks[chunk] = None
        chunk.seen = self._listings
        self._current[entry.name] = chunk
        row = chunk.add(entry, packed)
        if self.directory is not None and chunk.directory == self.directory:
            chunk.directory = self.directory  # the same object for all, faster to compare
        return chunk, row

    def put_packed(self, name: str, packed: Packed, directory: ObjectPath) -> Row:
        """As `put`, of what a row of this directory's was packed as."""
        if name in self._current:
            if packed is None:
                return self.put(Entry(name, Kind.DIRECTORY, None))
            return self.put(Entry(name, packed[0].kind, unpack(directory.file(name), *packed)))
        chunk = self._open
        if chunk is None or len(chunk.names) >= ROWS or chunk.directory not in (NOWHERE, directory):
            chunk = self._open = Chunk()
            self._chunks[chunk] = None
        chunk.seen = self._listings
        self._current[name] = chunk
        return chunk, chunk.add_packed(name, packed, directory)

    def find(self, name: str) -> Row | None:
        """The current row of a name."""
        chunk = self._current.get(name)
        return None if chunk is None else (chunk, chunk.names.index(name))

    def is_current(self, chunk: Chunk, name: str) -> bool:
        """Whether the name's current row is in this chunk."""
        return self._current.get(name) is chunk

    def fresh_until(self, chunk: Chunk, row: int) -> float:
        """When what the row says has to be asked again, as far as the newest listing tells."""
        listing = self._newest() if self._newest is not None else None
        return listing.expires if listing is not None and listing.shows(chunk, row) else 0.0

    @property
    def chunks(self) -> list[Chunk]:
        """All of them."""
        return list(self._chunks)

    def told(self) -> Iterator[str]:
        """The names whose row the kernel knows as an inode."""
        for chunk in self._chunks:
            if chunk.known:
                yield from (name for row, name in enumerate(chunk.names) if chunk.is_told(row))

    def numbered(self) -> list[Row]:
        """All rows that may be inodes."""
        return [(chunk, row) for chunk in self._chunks if chunk.base for row in range(len(chunk.names))]

    def _drop(self, chunk: Chunk) -> None:
        for row, name in enumerate(chunk.names):
            if self._current.get(name) is chunk:
                if chunk.base:
                    self._left(chunk, row)
                del self._current[name]
        del self._chunks[chunk]
        if self._open is chunk:
            self._open = None

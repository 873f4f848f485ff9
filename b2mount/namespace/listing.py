"""What one level of a bucket holds, row by row, as directory entries. Pure.

Invariants: a name appears once; a directory wins over a file of the same name (and the file counts as
odd); names that no path can spell and the marks that keep directories alive are no entries. An entry,
once it is settled, stays: a file is settled only when the listing has passed the place where a
directory of its name would stand, which may be pages later (`a`, `a-1`, ..., `a/`).

Must not know: who asks, any I/O, what this mount changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, overload

import attrs

from b2mount.model import DELIMITER, PLACEHOLDER, Action, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.name_table import NOWHERE, Chunk, NameTable, Packed, Row
from b2mount.namespace.names import can_be_spelled
from b2mount.namespace.posix_info import kind_of
from b2mount.store.interface import ObjectPage

GIVEN_UP: Final = float("-inf")
"""When a listing expires that is not to be believed any more, however it goes on."""


@attrs.frozen
class Level:
    """One page of one directory."""

    entries: tuple[Entry, ...]
    """In the byte order of the keys; a name may still be here both as file and as directory."""
    placeholder: ObjectVersion | None
    marker: ObjectVersion | None
    """The object with the directory's own key, as S3 tools write it."""
    odd: tuple[str, ...]
    """Keys that can't be shown."""
    cursor: str | None
    """Where the next page begins, relative to the directory; None at the end."""


def level_of(page: ObjectPage, directory: ObjectPath) -> Level:
    """Read a page that was asked for with the directory's key as prefix, and with the delimiter."""
    base = len(directory.key)
    rows: list[tuple[str, Entry]] = []
    odd: list[str] = []
    placeholder: ObjectVersion | None = None
    marker: ObjectVersion | None = None
    for version in page.objects:
        name = version.path.key[base:]
        if version.action is not Action.UPLOAD:
            continue
        if not name and directory.key:
            marker = version
        elif name == PLACEHOLDER:
            placeholder = version
        elif can_be_spelled(name):
            rows.append((name, Entry(name, kind_of(version), version)))
        else:
            odd.append(version.path.key)
    for prefix in page.prefixes:
        name = prefix[base:].removesuffix(DELIMITER)
        if can_be_spelled(name):
            rows.append((name + DELIMITER, Entry(name, Kind.DIRECTORY, None)))
        else:
            odd.append(prefix)
    rows.sort(key=itemgetter(0))
    entries = tuple(entry for _, entry in rows)
    return Level(entries, placeholder, marker, tuple(odd), cursor_of(page.next_key, directory.key))


def cursor_of(next_key: str | None, prefix: str) -> str | None:
    """A next key outside of the prefix means that nothing more is in it."""
    if next_key is None or not next_key.startswith(prefix):
        return None
    return next_key[len(prefix) :]


@attrs.frozen
class Asked:
    """When a question was put to the store."""

    sequence: int
    """Its place in the order of all questions and changes."""
    wall_ns: int
    """By the wall clock."""


@attrs.define(eq=False)
class Listing:
    """What is known of one directory, growing page by page."""

    began: float = 0.0
    """When its first page was asked for."""
    expires: float = float("inf")
    placeholder: ObjectVersion | None = None
    marker: ObjectVersion | None = None
    cursor: str | None = ""
    """Where the next page begins; None when there is none."""
    asked: Asked | None = None
    """When its first page was asked for, in words of the index of names."""
    odd: tuple[str, ...] = ()
    """Keys in it that can't be shown."""
    brought: int = 0
    """At which moment of its cache it was brought on last."""
    pages: int = 0
    """How many have been asked for and come, which whoever brings it on counts."""
    count: int = 0
    """How many entries are settled."""
    table: NameTable = attrs.field(factory=NameTable)
    """Where its rows are."""
    _is_first: bool = True
    """Whether its table knows nothing of it."""
    _aside: NameTable | None = None
    """Where its rows go once a newer listing of the directory has begun: what that says of a name stays
    what is current in the table that they share."""
    _held: dict[str, Entry] = attrs.field(factory=dict)
    _runs: list[Row] = attrs.field(factory=list)
    """The first row of each run of rows that follow each other, in order."""
    _starts: list[int] = attrs.field(factory=list)
    """Which entry that is."""
    _rows: dict[Chunk, int] = attrs.field(factory=dict)
    """A bit for each row that is in the listing."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The settled entries by name, each made when it is asked for."""
        return _Entries(self)

    @property
    def names(self) -> Sequence[str]:
        """The settled entries' names, in the order in which they were settled."""
        return _Names(self)

    def row(self, place: int) -> Row:
        """The settled entry number `place`, counted from 0."""
        run = bisect_right(self._starts, place) - 1
        chunk, first = self._runs[run]
        return chunk, first + place - self._starts[run]

    def packed(self, first: int, last: int) -> list[tuple[str, Packed]]:
        """The settled entries from number `first` to before `last`, as `recall` takes them. Raises
        LookupError when one of them can't be packed."""
        found: list[tuple[str, Packed]] = []
        while first < min(last, self.count):
            run = bisect_right(self._starts, first) - 1
            chunk, row = self._runs[run]
            if chunk.directory not in (NOWHERE, self.table.directory):
                raise LookupError("an object of another directory")
            stop = self._starts[run + 1] if run + 1 < len(self._starts) else self.count
            row, size = row + first - self._starts[run], min(stop, last) - first
            found += [(chunk.names[each], chunk.packed(each)) for each in range(row, row + size)]
            first += size
        return found

    def entry_at(self, place: int) -> Entry:
        """The settled entry number `place`."""
        chunk, row = self.row(place)
        return chunk.entry(row)

    def key_at(self, place: int) -> str:
        """Where its name stands in B2's order: a directory's ends in a slash."""
        chunk, row = self.row(place)
        return chunk.names[row] + DELIMITER if chunk.is_directory(row) else chunk.names[row]

    def find(self, name: str) -> Row | None:
        """The row of a settled name; None also where a newer listing has heard something else of it."""
        found = self.table.find(name)
        if found is None or not self.shows(*found):
            found = self._aside.find(name) if self._aside is not None else None
        return found if found is not None and self.shows(*found) else None

    def shows(self, chunk: Chunk, row: int) -> bool:
        """Whether the row is in this listing."""
        return bool(self._rows.get(chunk, 0) >> row & 1)

    @property
    def is_complete(self) -> bool:
        """Whether every entry is here: a name that is not, does not exist."""
        return self.cursor is None

    @property
    def has_begun(self) -> bool:
        """Whether a page is in."""
        return self.cursor != ""

    @property
    def keeps_itself(self) -> bool:
        """Whether the directory exists in B2 for all that is known: something is in it."""
        return bool(self.count or self._held or self.placeholder or self.marker)

    @property
    def keepers(self) -> list[ObjectVersion]:
        """What keeps the directory alive when it is empty: its placeholder, a marker as S3 tools write it."""
        return [version for version in (self.placeholder, self.marker) if version is not None]

    @property
    def size(self) -> int:
        """Names in memory, and one for the listing itself."""
        return 1 + self.count + len(self._held)

    def start(self, asked: float, ttl: float) -> None:
        """The first page was asked for at `asked`. A listing that was given up meanwhile stays so."""
        self.began = asked
        self.expires = min(self.expires, asked + ttl)

    def knows(self, name: str) -> bool:
        """Whether the listing can say if `name` exists, and as what."""
        if not self.table.is_newest(self) and self.table.find(name) is not None and self.find(name) is None:
            return False
        if passed(self.cursor, name):
            return True
        found = self.find(name)
        return found is not None and found[0].is_directory(found[1])

    def absorb(self, level: Level) -> tuple[str, ...]:
        """Take in the next rows. Returns the keys of them that can't be shown."""
        table, odd = self._begun(), list(level.odd)
        directories = {entry.name for entry in level.entries if entry.kind is Kind.DIRECTORY}
        candidates = [*self._held.values(), *level.entries]
        self._held = {}
        for entry in candidates:
            if entry.kind is Kind.DIRECTORY:
                self._settle(entry, table)
            elif entry.name in directories and entry.version is not None:
                odd.append(entry.version.path.key)
            elif passed(level.cursor, entry.name):
                self._settle(entry, table)
            else:
                self._held[entry.name] = entry
        self.placeholder = level.placeholder or self.placeholder
        self.marker = level.marker or self.marker
        self.cursor = level.cursor
        self.odd += tuple(odd)
        return tuple(odd)

    def recall(self, rows: Sequence[tuple[str, Packed]], directory: ObjectPath, cursor: str | None) -> None:
        """Take in rows of an earlier listing of the directory, which goes on at `cursor`."""
        table = self._begun()
        if self.table.directory == directory:
            directory = self.table.directory  # the same object for all, as for what is listed
        for name, packed in rows:
            self._append(*table.put_packed(name, packed, directory))
        self.cursor = cursor

    def _begun(self) -> NameTable:
        """Where the next rows go."""
        if self._is_first and self.expires != GIVEN_UP:
            self._is_first = False
            self.table.begin(self)
        if self.table.is_newest(self):
            return self.table
        if self._aside is None:
            self._aside = NameTable()
        return self._aside

    def _settle(self, entry: Entry, table: NameTable) -> None:
        if self.find(entry.name) is None:
            self._append(*table.put(entry))

    def _append(self, chunk: Chunk, row: int) -> None:
        self._rows[chunk] = self._rows.get(chunk, 0) | 1 << row
        if not self._runs or self._runs[-1][0] is not chunk or self.row(self.count) != (chunk, row):
            self._runs.append((chunk, row))
            self._starts.append(self.count)
        self.count += 1


@attrs.frozen
class _Entries(Mapping[str, Entry]):
    _listing: Listing

    def __getitem__(self, name: str) -> Entry:
        found = self._listing.find(name)
        if found is None:
            raise KeyError(name)
        return found[0].entry(found[1])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._listing.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._listing.names)

    def __len__(self) -> int:
        return self._listing.count


@attrs.frozen(eq=False)
class _Names(Sequence[str]):
    _listing: Listing

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        places = range(self._listing.count)[place]
        if isinstance(places, range):
            return [self[each] for each in places]
        chunk, row = self._listing.row(places)
        return chunk.names[row]

    def __len__(self) -> int:
        return self._listing.count


def passed(cursor: str | None, name: str) -> bool:
    """Whether a listing that goes on at `cursor` has seen both `name` and all below `name/`."""
    return cursor is None or (name + DELIMITER < cursor and not cursor.startswith(name + DELIMITER))


def empty_listing(began: float, expires: float) -> Listing:
    """The complete listing of a directory that was just made."""
    return Listing(began, expires, cursor=None)

"""What one level of a bucket holds, row by row, as directory entries. Pure.

Invariants: a name appears once; a directory wins over a file of the same name (and the file counts as
odd); names that no path can spell and the marks that keep directories alive are no entries. An entry,
once it is settled, stays: a file is settled only when the listing has passed the place where a
directory of its name would stand, which may be pages later (`a`, `a-1`, ..., `a/`).

Must not know: who asks, any I/O, what this mount changed.
"""

from __future__ import annotations

from operator import itemgetter

import attrs

from b2mount.model import DELIMITER, PLACEHOLDER, Action, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.names import can_be_spelled
from b2mount.namespace.posix_info import kind_of
from b2mount.store.interface import ObjectPage


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


@attrs.define(eq=False)
class Listing:
    """What is known of one directory, growing page by page."""

    began: float = 0.0
    """When its first page was asked for."""
    expires: float = float("inf")
    entries: dict[str, Entry] = attrs.field(factory=dict)
    names: list[str] = attrs.field(factory=list)
    """The settled entries' names, in the order in which they were settled."""
    placeholder: ObjectVersion | None = None
    marker: ObjectVersion | None = None
    cursor: str | None = ""
    """Where the next page begins; None when there is none."""
    pages: int = 0
    """How many have come."""
    _held: dict[str, Entry] = attrs.field(factory=dict)

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
        return bool(self.names or self._held or self.placeholder or self.marker)

    @property
    def size(self) -> int:
        """Names in memory, and one for the listing itself."""
        return 1 + len(self.names) + len(self._held)

    def start(self, asked: float, ttl: float) -> None:
        """The first page was asked for at `asked`. A listing that was given up meanwhile stays so."""
        self.began = asked
        self.expires = min(self.expires, asked + ttl)

    def knows(self, name: str) -> bool:
        """Whether the listing can say if `name` exists, and as what."""
        if passed(self.cursor, name):
            return True
        entry = self.entries.get(name)
        return entry is not None and entry.kind is Kind.DIRECTORY

    def absorb(self, level: Level) -> tuple[str, ...]:
        """Take in the next page. Returns the keys of it that can't be shown."""
        odd = list(level.odd)
        directories = {entry.name for entry in level.entries if entry.kind is Kind.DIRECTORY}
        candidates = [*self._held.values(), *level.entries]
        self._held = {}
        for entry in candidates:
            if entry.kind is Kind.DIRECTORY:
                self._settle(entry)
            elif entry.name in directories and entry.version is not None:
                odd.append(entry.version.path.key)
            elif passed(level.cursor, entry.name):
                self._settle(entry)
            else:
                self._held[entry.name] = entry
        self.placeholder = level.placeholder or self.placeholder
        self.marker = level.marker or self.marker
        self.cursor = level.cursor
        self.pages += 1
        return tuple(odd)

    def _settle(self, entry: Entry) -> None:
        if entry.name not in self.entries:
            self.entries[entry.name] = entry
            self.names.append(entry.name)


def passed(cursor: str | None, name: str) -> bool:
    """Whether a listing that goes on at `cursor` has seen both `name` and all below `name/`."""
    return cursor is None or (name + DELIMITER < cursor and not cursor.startswith(name + DELIMITER))


def empty_listing(began: float, expires: float) -> Listing:
    """The complete listing of a directory that was just made."""
    return Listing(began, expires, cursor=None)

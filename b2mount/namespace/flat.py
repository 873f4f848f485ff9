"""What a page of a listing without a delimiter holds, as pieces of many directories. Pure.

A page costs the same with a delimiter as without one (B2 bills by the thousand rows); without, it
tells of all directories between its first row and its last.

Invariants: a piece says what a listing of its directory with a delimiter would have said of the same
stretch of keys; directories whose name, or that of one above them, no path can spell have none.

Must not know: caches, who asks, any I/O.
"""

from __future__ import annotations

import attrs

from b2mount.model import DELIMITER, PLACEHOLDER, Action, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.listing import Level, cursor_of
from b2mount.namespace.names import can_be_spelled
from b2mount.namespace.posix_info import kind_of
from b2mount.store.interface import ObjectPage


@attrs.frozen
class Piece:
    """What a page tells of one directory."""

    before: str
    """The cursor at which a listing of the directory has to be to go on with this; empty for its
    beginning."""
    level: Level


@attrs.define(eq=False)
class _Rows:
    """A directory's rows, as they come."""

    entries: list[Entry] = attrs.field(factory=list)
    placeholder: ObjectVersion | None = None
    marker: ObjectVersion | None = None
    odd: dict[str, None] = attrs.field(factory=dict)
    last_directory: str = ""


def pieces_of(page: ObjectPage, root: ObjectPath, start: str, last: str = "") -> dict[ObjectPath, Piece]:
    """Read a page of the keys below `root` from the key `start` on. When it goes on from another one,
    `last` is the last key of that: nothing is between the two. The root's own piece is always there."""
    rows: dict[ObjectPath, _Rows] = {root: _Rows()}
    for version in page.objects:
        if version.action is Action.UPLOAD:
            _sort_in(version, root, rows)
    return {
        directory: Piece(
            start[len(directory.key) :] if _had_begun(directory, start, last) else "",
            Level(
                tuple(found.entries),
                found.placeholder,
                found.marker,
                tuple(found.odd),
                cursor_of(page.next_key, directory.key),
            ),
        )
        for directory, found in rows.items()
    }


def _had_begun(directory: ObjectPath, start: str, last: str) -> bool:
    return directory.key <= last if last else directory.key < start


def _sort_in(version: ObjectVersion, root: ObjectPath, rows: dict[ObjectPath, _Rows]) -> None:
    key = version.path.key
    directory, here = root, rows[root]
    begin = len(root.key)
    while (end := key.find(DELIMITER, begin)) >= 0:
        name = key[begin:end]
        if not can_be_spelled(name):
            here.odd[key[: end + 1]] = None
            return
        directory = ObjectPath(root.bucket, key[: end + 1])
        if here.last_directory != name:
            here.last_directory = name
            here.entries.append(Entry(name, Kind.DIRECTORY, None))
        here = rows.setdefault(directory, _Rows())
        begin = end + 1
    name = key[begin:]
    if not name and directory.key:
        here.marker = version
    elif name == PLACEHOLDER:
        here.placeholder = version
    elif can_be_spelled(name):
        here.entries.append(Entry(name, kind_of(version), version))
    else:
        here.odd[key] = None

"""A listing of a directory as bytes, whole or in parts, and what is made of them. Pure.

A short listing is one body. Of a long one the body says which names are in which part, so that a single
name can be told without going through a million.

Invariants: what can't be kept without loss is not kept at all; what is read is what was written, or
ValueError.

Must not know: where bodies are, whether they are still true.
"""

from __future__ import annotations

import json
from typing import Final

import attrs

from b2mount.model import DELIMITER, PLACEHOLDER, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.listing import Listing
from b2mount.namespace.packing import pack, unpack
from b2mount.namespace.stored_rows import StoredRow, decode, encode, join, split

PART: Final = 4000
"""Entries of a listing from which it is a long one, and in each of its parts."""


@attrs.frozen
class Part:
    """Which names a part of a long listing has."""

    first: str
    """The least of them."""
    last: str
    """The greatest."""
    cursor: str
    """The key of its first entry, below the directory."""


@attrs.frozen
class Recollection:
    """What the index knows of a directory."""

    directory: ObjectPath
    listing_id: int
    began: float
    """When it was asked for, in trio's time."""
    odd: tuple[str, ...]
    placeholder: ObjectVersion | None
    marker: ObjectVersion | None
    rows: tuple[StoredRow, ...]
    """Of a short listing."""
    parts: tuple[Part, ...]
    """Of a long one."""

    def cursor_after(self, number: int) -> str | None:
        """Where a part of a long listing ends."""
        return self.parts[number + 1].cursor if number + 1 < len(self.parts) else None


def part_of(rows: list[StoredRow]) -> tuple[Part, bytes]:
    """A part of a long listing, and its body."""
    names = [name for name, _ in rows]
    return Part(min(names), max(names), cursor_at(rows[0])), encode(rows)


def body_of(listing: Listing, rows: list[StoredRow], parts: list[Part]) -> bytes | None:
    """A listing without its parts; None when something of it can't be kept."""
    head = {"odd": listing.odd, "parts": [attrs.astuple(part) for part in parts]}
    keepers: list[StoredRow] = []
    for name, version in ((PLACEHOLDER, listing.placeholder), ("", listing.marker)):
        packed = pack(version, Kind.FILE) if version is not None else None
        if packed is not None:
            keepers.append((name, packed))
        elif version is not None:
            return None
    return join([json.dumps(head).encode(), encode(keepers), encode(rows)])


def recollected(directory: ObjectPath, listing_id: int, began: float, body: bytes) -> Recollection:
    """Raises ValueError and its like for what is no body."""
    text, keeper_rows, rows = split(body, 3)
    head = json.loads(text)
    keepers = {name: _version(directory, (name, packed)) for name, packed in decode(keeper_rows)}
    return Recollection(
        directory,
        listing_id,
        began,
        tuple(head["odd"]),
        keepers.get(PLACEHOLDER),
        keepers.get(""),
        tuple(decode(rows)),
        tuple(Part(*each) for each in head["parts"]),
    )


def cursor_at(row: StoredRow) -> str:
    """The key of an entry below its directory, as a listing goes on at it."""
    name, packed = row
    return name if packed is not None else name + DELIMITER


def entry_of(directory: ObjectPath, row: StoredRow) -> Entry:
    """What a row says."""
    name, packed = row
    if packed is None:
        return Entry(name, Kind.DIRECTORY, None)
    return Entry(name, packed[0].kind, _version(directory, row))


def _version(directory: ObjectPath, row: StoredRow) -> ObjectVersion | None:
    name, packed = row
    return unpack(directory.file(name), *packed) if packed is not None else None

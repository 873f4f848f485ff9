"""WalkOrder: which files come next when directories are read in the order in which they are listed.

Invariants: nothing is ever asked of the store; only what listings in the cache tell is told. Names
come in the order of their keys, a directory's own where its name stands; what this mount knows
better than the listing (removed, not in B2 yet, replaced) goes before it.

Must not know: who reads, what is cached of the files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs

from b2mount.model import DELIMITER, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.directory_cache import DirectoryCache
from b2mount.namespace.listing import Listing
from b2mount.namespace.overlay import Overlay

_LOOKED_AT: Final = 1000
"""Entries that are looked at in search of files, at most: a directory may hold a million links."""

FileAt = tuple[ObjectPath, ObjectVersion]


@attrs.frozen(eq=False)
class WalkOrder:
    """See the module."""

    _cache: DirectoryCache
    _overlay: Overlay

    def following(self, path: ObjectPath, *, deep: bool) -> Iterator[FileAt]:
        """The files with bytes in them that come after `path` in its directory; the start of a
        directory when `path` is a directory. With `deep`, those in directories below and then in
        those after it as well, up to the first one whose listing is not known to its end."""
        return (found for found in islice(self._steps(path, deep), _LOOKED_AT) if found is not None)

    def _steps(self, path: ObjectPath, deep: bool) -> Iterator[FileAt | None]:
        """As `following`, with None for each entry that is no such file."""
        directory = path if path.is_directory else path.parent
        after = "" if path.is_directory else path.name
        while (listing := self._cache.listing(directory)) is not None:
            below = None
            for entry in _after(listing, after):
                if entry.kind is not Kind.DIRECTORY:
                    yield self._file(directory, entry)
                    continue
                yield None
                if deep:
                    below = directory.directory(entry.name)
                    break
            if below is not None:
                directory, after = below, ""
            elif deep and listing.is_complete and directory.key:
                directory, after = directory.parent, directory.name + DELIMITER
            else:
                return

    def _file(self, directory: ObjectPath, entry: Entry) -> FileAt | None:
        record = self._overlay.get(directory, entry.name)
        if record is not None:
            if record.is_pending or record.entry is None:
                return None
            entry = record.entry
        if entry.kind is not Kind.FILE or entry.version is None or not entry.version.size:
            return None
        return directory.file(entry.name), entry.version


def _after(listing: Listing, name: str) -> Iterator[Entry]:
    names = listing.names
    first = bisect_right(names, name, key=lambda each: _sorted_as(listing.entries[each]))
    return (listing.entries[names[index]] for index in range(first, len(names)))


def _sorted_as(entry: Entry) -> str:
    return entry.name + DELIMITER if entry.kind is Kind.DIRECTORY else entry.name

"""WalkOrder: which files come next when directories are read in the order in which they are listed.

Invariants: nothing is ever asked of the store; only what listings in the cache tell is told. Names
come in the order of their keys, a directory's own where its name stands; what this mount knows
better than the listing (removed, not in B2 yet, replaced) goes before it.

Must not know: who reads, what is cached of the files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator
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
        while True:
            listing = self._cache.listing(directory)
            if listing is None:
                return
            is_whole = yield from self._inside(directory, listing, after, deep)
            if not deep or not is_whole or not directory.key:
                return
            after, directory = directory.name + DELIMITER, directory.parent

    def _inside(
        self, directory: ObjectPath, listing: Listing, after: str, deep: bool
    ) -> Generator[FileAt | None, None, bool]:
        """What comes after a name in one directory; returns whether that is all of it."""
        names = listing.names
        first = bisect_right(names, after, key=lambda name: _sorted_as(listing.entries[name]))
        for index in range(first, len(names)):
            entry = listing.entries[names[index]]
            if entry.kind is Kind.DIRECTORY:
                yield None
                if deep and not (yield from self._below(directory.directory(entry.name))):
                    return False
            else:
                yield self._file(directory, entry)
        return listing.is_complete

    def _below(self, directory: ObjectPath) -> Generator[FileAt | None, None, bool]:
        listing = self._cache.listing(directory)
        if listing is None:
            return False
        return (yield from self._inside(directory, listing, "", True))

    def _file(self, directory: ObjectPath, entry: Entry) -> FileAt | None:
        record = self._overlay.get(directory, entry.name)
        if record is not None:
            if record.is_pending or record.entry is None:
                return None
            entry = record.entry
        if entry.kind is not Kind.FILE or entry.version is None or not entry.version.size:
            return None
        return directory.file(entry.name), entry.version


def _sorted_as(entry: Entry) -> str:
    return entry.name + DELIMITER if entry.kind is Kind.DIRECTORY else entry.name

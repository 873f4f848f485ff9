"""Planner: which page of which listing answers a question, so that few are asked in all. No I/O.

B2 bills a listing by the call, for 1 row as for 1,000. A page without a delimiter tells of a whole
small subtree, or of the directories that a walk comes to next; one with a delimiter passes over what
is below a directory, which pays where that is a lot. A scan is a row of pages without a delimiter,
each going on where the one before stopped.

Invariants: a directory is begun by one page, whichever scan that is; a scan that nobody follows is
not gone on with, but for PATIENCE pages where the names tell that what is asked for comes soon.

Must not know: entries, inodes, the store.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
from cachetools import LRUCache

from b2mount.model import DELIMITER, ObjectPath
from b2mount.namespace.directory_cache import DirectoryCache
from b2mount.namespace.listing import Listing

NEAR: Final = 2
"""Directories between where a scan stands and one that a walk comes to next, at most."""
PATIENCE: Final = 8
"""Pages of a scan that may be read for a question that is not next in turn."""
FOLLOWED: Final = 2
"""Pages that somebody went on to, in a row, before it is a walk that will go on."""
PAGE: Final = 1000
LONGEST_PAGE: Final = 4000
"""B2 gives 10,000 at once, and a page of so many costs as much as ten, without nine of the round trips. But
whoever has come to the end of what is there waits for all of it, and with him, since the kernel keeps a
directory locked while it is being read, everybody who asks for a name in it."""
_SCANS: Final = 256
_LEVELS: Final = 4096


@attrs.define(eq=False)
class Scan:
    """Pages without a delimiter below one directory."""

    root: ObjectPath
    cursor: str | None
    """The key at which the next page begins; None at the end."""
    begin: str = ""
    """The key at which the last page began."""
    last: str = ""
    """The last key of it."""
    pages: int = 0
    rows: int = 0
    directories: int = 0
    followed: int = 0
    """Pages that were wanted because somebody went on where the scan had stopped."""
    under_way: int = 0
    """Rows of the page that is asked for, or gone through."""

    @contextmanager
    def asking(self, rows: int) -> Iterator[None]:
        """While a page of so many rows is under way."""
        self.under_way = rows
        try:
            yield
        finally:
            self.under_way = 0

    def has_page(self) -> None:
        """A page is in, and is going to be gone through."""
        self.begin = self.cursor or ""
        self.pages += 1

    def went_on(self, rows: int, directories: int, last: str, cursor: str | None) -> None:
        """Some rows of the page have been gone through; in them so many directories begin."""
        self.cursor = cursor
        self.last = last or self.last
        self.rows += rows
        self.directories += directories


def rows_of_page(before: int) -> int:
    """How many rows the next page has when so many went before it that somebody wanted: whoever has
    read far reads on."""
    return min(PAGE << max(0, before - 1), LONGEST_PAGE)


@attrs.define(eq=False)
class Planner:
    """See the module."""

    _cache: DirectoryCache
    _scans: LRUCache[ObjectPath, Scan] = attrs.field(factory=lambda: LRUCache(maxsize=_SCANS))
    _begun: LRUCache[ObjectPath, str] = attrs.field(factory=lambda: LRUCache(maxsize=_LEVELS))
    """By directory: the name of the one in it that was begun last."""

    def next_page(self, directory: ObjectPath, listing: Listing) -> Scan | None:
        """The scan whose next page brings the listing on; None for a page with a delimiter, and for the
        buckets of an account, which are no keys."""
        if listing.cursor is None or directory.is_account:
            return None
        if not listing.has_begun:
            return self._beginning(directory)
        scan = self._scan_at(directory, directory.key + listing.cursor)
        if scan is not None and (DELIMITER not in listing.cursor or scan.followed >= FOLLOWED):
            scan.followed += 1
            return scan
        return None

    def going_on(self, directory: ObjectPath, listing: Listing) -> Scan | None:
        """The scan that stands where the listing goes on, if there is one: nobody is said to follow it."""
        return None if not listing.cursor else self._scan_at(directory, directory.key + listing.cursor)

    def leading_to(self, directory: ObjectPath) -> Scan | None:
        """The scan that comes to a directory which has not begun soon, if there is one: as `going_on`."""
        scans = (self._scans.get(above) for above in _and_above(directory))
        return next((scan for scan in scans if scan is not None and self._leads_to(scan, directory)), None)

    def follows(self, directory: ObjectPath) -> Scan | None:
        """A directory that is known is being read: the scan whose next page will be wanted soon."""
        for above in _and_above(directory):
            scan = self._scans.get(above)
            if scan is not None and scan.cursor is not None and scan.begin <= directory.key < scan.cursor:
                is_wanted = scan.followed >= FOLLOWED and not self._is_known(scan.root.bucket, scan.cursor)
                return scan if is_wanted else None
        return None

    def forget(self) -> None:
        """Names have changed places: what a scan has seen of them tells nothing."""
        self._scans.clear()

    # -- inside ----------------------------------------------------------------------------

    def _beginning(self, directory: ObjectPath) -> Scan:
        before = self._begun.get(directory.parent)
        self._begun[directory.parent] = directory.name
        scan = self.leading_to(directory)
        if scan is not None:
            scan.followed += 1
            return scan
        scan = Scan(directory, directory.key)
        if before is not None and directory.key:
            between = self._between(directory.parent, before, directory.name)
            if between is not None and 0 < between <= NEAR:
                scan = Scan(directory.parent, directory.key, followed=1)
        self._scans[scan.root] = scan
        return scan

    def _leads_to(self, scan: Scan, directory: ObjectPath) -> bool:
        """Whether the scan will soon come to the directory."""
        cursor, above = scan.cursor, directory
        if cursor is None or directory.key < (scan.last or cursor):
            return False
        while not cursor.startswith(above.key):
            below, above = above, above.parent
        if above == directory:
            return True
        at_cursor = cursor[len(above.key) :].partition(DELIMITER)[0]
        between = self._between(above, at_cursor, below.name)
        if between is None:
            return False
        rows = between * scan.rows / max(1, scan.directories)
        return between <= NEAR or scan.pages + rows / PAGE < PATIENCE

    def _is_known(self, bucket: str, key: str) -> bool:
        """Whether all is known of the directory that a key is in."""
        listing = self._cache.listing(ObjectPath(bucket, key[: key.rfind(DELIMITER) + 1]))
        return listing is not None and listing.is_complete

    def _between(self, directory: ObjectPath, first: str, second: str) -> int | None:
        """How many names on from `first` the name `second` is; None when nobody knows."""
        listing = self._cache.listing(directory)
        if listing is None or not listing.knows(second):
            return None
        return _place(listing, second) - _place(listing, first)

    def _scan_at(self, directory: ObjectPath, cursor: str) -> Scan | None:
        for above in _and_above(directory):
            scan = self._scans.get(above)
            if scan is not None and scan.cursor == cursor:
                return scan
        return None


def _and_above(directory: ObjectPath) -> list[ObjectPath]:
    found = [directory]
    while found[-1].key:
        found.append(found[-1].parent)
    return found


def _place(listing: Listing, name: str) -> int:
    return bisect_left(range(listing.count), name + DELIMITER, key=listing.key_at)

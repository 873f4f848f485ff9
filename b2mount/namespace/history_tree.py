"""HistoryTree: a bucket as B2's list of versions tells it by a rule: as of a moment, or what is hidden.

Invariants: a page never ends between two versions of one name. A directory is there when something
below it is. All of it is read-only.

A list with a delimiter shows a directory when it holds any version at all, also one that is younger
than the moment; so the directories of such a page are looked into, which costs as many requests as there
are thousands of versions in them, or directories if these are fewer.

Must not know: inodes, caches, what a moment is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from b2mount.errors import StoreFailure
from b2mount.model import DELIMITER, PLACEHOLDER, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.history import Reading, Rule
from b2mount.namespace.listing import Level, level_of
from b2mount.namespace.posix_info import kind_of
from b2mount.namespace.turns import in_turns, joined
from b2mount.store.interface import ObjectPage, ObjectStore, VersionCursor, VersionPage

PAGE_ROWS: Final = 1000
"""B2 bills a listing by each thousand rows that it returns: fewer cost the same."""
FIRST_LOOK: Final = 100
"""Rows that mostly tell whether a directory shows anything; they are here sooner than a thousand."""
_AT_ONCE: Final = 8
"""Looks into the directories of a page at a time."""
_LEAST: Final = 8
"""Directories for one look, at least."""
PAST_ALL: Final = chr(0x10FFFF)
"""Sorts behind all keys."""


@attrs.frozen(eq=False)
class HistoryTree:
    """The versions that a rule shows, as directories and files."""

    _store: ObjectStore
    _rule: Rule
    _within: str = ""
    """The only names that the application key may list begin so."""

    async def page(self, directory: ObjectPath, cursor: str, rows: int = PAGE_ROWS) -> Level:
        """The entries of a directory from `cursor` on; one request, and those for a look into the directories
        in it."""
        start = directory.key + cursor
        page = await self._rows(directory, start, max(rows, PAGE_ROWS), DELIMITER)
        shown = await self._that_show(directory, page.prefixes)
        levels = []
        for short in in_turns(attrs.evolve(page, prefixes=shown)):
            levels.append(level_of(short, directory))
            await trio.lowlevel.checkpoint()
        return joined(levels)

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One entry. Two requests, more where there are very many versions."""
        file = directory.file(name)
        if name == PLACEHOLDER:
            return None
        if not (file.key.startswith(self._within) or self._within.startswith(file.key)):
            return None
        if await self._shows_any(directory.directory(name)):
            return Entry(name, Kind.DIRECTORY, None)
        version = await self._shown(file)
        return Entry(name, kind_of(version), version) if version is not None else None

    async def flat(self, root: ObjectPath, start: str, rows: int = PAGE_ROWS) -> ObjectPage:
        """Everything below a directory from a key on; one request, more where a name has many versions."""
        return await self._rows(root, start, max(rows, PAGE_ROWS))

    async def subtree(self, directory: ObjectPath) -> list[ObjectVersion]:
        """Every object that shows at or below the directory, in key order."""
        objects: list[ObjectVersion] = []
        start: str | None = ""
        while start is not None:
            page = await self._rows(directory, start, PAGE_ROWS)
            objects += page.objects
            start = page.next_key
        return objects

    # -- inside ------------------------------------------------------------------------------

    async def _that_show(self, directory: ObjectPath, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        found: set[str] = set()
        errors: list[Exception] = []

        async def look(some: Sequence[str]) -> None:
            try:
                await self._look_through(directory, some, found)
            except Exception as error:  # without the group that a nursery makes of it
                errors.append(error)

        share = max(_LEAST, -(-len(prefixes) // _AT_ONCE))
        async with trio.open_nursery() as nursery:
            for first in range(0, len(prefixes), share):
                nursery.start_soon(look, prefixes[first : first + share])
        if errors:
            raise errors[0]
        return tuple(prefix for prefix in prefixes if prefix in found)

    async def _look_through(self, directory: ObjectPath, prefixes: Sequence[str], found: set[str]) -> None:
        """Which of these directories show anything, in their order. A page that comes from one of them tells
        of those that follow, too."""
        start, base = "", len(directory.key)
        for prefix in prefixes:
            while prefix not in found and start < _end_of(prefix):
                page = await self._rows(directory, max(start, prefix), PAGE_ROWS)
                for version in page.objects:
                    end = version.path.key.find(DELIMITER, base) + 1
                    found.add(version.path.key[:end])
                start = page.next_key if page.next_key is not None else PAST_ALL

    async def _shows_any(self, directory: ObjectPath) -> bool:
        start: str | None = ""
        rows = FIRST_LOOK
        while start is not None:
            page = await self._rows(directory, start, rows)
            if page.objects:
                return True
            start, rows = page.next_key, PAGE_ROWS
        return False

    async def _shown(self, path: ObjectPath) -> ObjectVersion | None:
        """What the rule shows of one name."""
        reading = Reading(self._rule)
        cursor: VersionCursor | None = VersionCursor(path.key, None)
        while cursor is not None and cursor.key == path.key:
            page = await self._store.list_versions(path.bucket, path.key, start=cursor, limit=FIRST_LOOK)
            shown = reading.take(version for version in page.versions if version.path == path)
            if shown:
                return shown[0]
            cursor = page.next_cursor
        return None

    async def _rows(self, root: ObjectPath, start: str, limit: int, delimiter: str = "") -> ObjectPage:
        """A page that ends where a name ends. One request, unless a single name fills it."""
        allowed = self._within if self._within.startswith(root.key) else root.key
        reading = Reading(self._rule)
        cursor = VersionCursor(start, None) if start else None
        page = await self._list(root.bucket, allowed, delimiter, cursor, limit)
        cut = page.next_cursor.key if page.next_cursor is not None else None
        whole = [version for version in page.versions if version.path.key != cut]
        if whole or page.prefixes or not page.versions:
            if cut is not None and cut <= start:
                raise StoreFailure(f"the versions of b2://{root.bucket}/{root.key} do not advance")
            return ObjectPage(tuple(reading.take(whole)), page.prefixes, cut)
        shown = reading.take(page.versions)
        following = cut
        while following == cut and page.next_cursor is not None:
            page = await self._list(root.bucket, allowed, delimiter, page.next_cursor, limit)
            shown += reading.take(version for version in page.versions if version.path.key == cut)
            following = _first_after(page, cut)
        return ObjectPage(tuple(shown), (), following)

    async def _list(
        self, bucket: str, prefix: str, delimiter: str, cursor: VersionCursor | None, limit: int
    ) -> VersionPage:
        return await self._store.list_versions(bucket, prefix, delimiter=delimiter, start=cursor, limit=limit)


def _first_after(page: VersionPage, key: str | None) -> str | None:
    """The first name of a page but for `key`; where the page goes on when it has no other."""
    names = [version.path.key for version in page.versions if version.path.key != key]
    names += page.prefixes[:1]
    return min(names) if names else page.next_cursor.key if page.next_cursor is not None else None


def _end_of(prefix: str) -> str:
    """A key behind all that begin so."""
    return prefix + PAST_ALL

"""BucketTree: the live view of a bucket, or of a prefix in it.

Invariants: each page is one list request with a delimiter, so a directory costs what it holds itself
and not what lies below it. A listing that does not advance is an error, never an endless loop.

Must not know: inodes, caches, what this mount changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from b2mount.errors import StoreFailure
from b2mount.model import DELIMITER, PLACEHOLDER, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.listing import Level, level_of
from b2mount.namespace.posix_info import kind_of
from b2mount.namespace.turns import in_turns, joined
from b2mount.store.interface import ObjectPage, ObjectStore

PAGE_ROWS: Final = 1000
"""B2 bills a listing by each thousand rows that it returns: fewer cost the same."""
BIG: Final = 1 << 20
PROBE_ROWS: Final = 16
"""Enough for a name and the few that sort between it and a directory of the same name."""


@attrs.frozen(eq=False)
class BucketTree:
    """The newest versions in a bucket as directories and files."""

    _store: ObjectStore
    _within: str = ""
    """The only names that the application key may list begin so. It need not end with a slash: the
    directory that it cuts through shows what is allowed."""
    _seen: Callable[[ObjectVersion], object] = attrs.field(default=lambda version: None, kw_only=True)
    """Hears of every big object that a listing shows."""

    async def page(self, directory: ObjectPath, cursor: str, rows: int = PAGE_ROWS) -> Level:
        """The entries of a directory from `cursor` on, one request."""
        start = directory.key + cursor
        page = await self._rows(directory.bucket, directory.key, start, rows)
        levels = []
        for short in in_turns(page):
            levels.append(level_of(short, directory))
            await trio.lowlevel.checkpoint()
        return joined(levels)

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One entry. One request, two where other names stand between the file's and the directory's."""
        if name == PLACEHOLDER:
            return None
        file = directory.file(name)
        if not (file.key.startswith(self._within) or self._within.startswith(file.key)):
            return None
        as_directory = directory.directory(name).key
        found: Entry | None = None
        start = ""
        while True:
            page = await self._rows(file.bucket, file.key, start, PROBE_ROWS)
            if as_directory in page.prefixes:
                return Entry(name, Kind.DIRECTORY, None)
            for version in page.objects:
                if version.path == file:
                    found = Entry(name, kind_of(version), version)
            if page.next_key is None or page.next_key > as_directory:
                return found
            start = page.next_key
            if start > file.key:
                break
        has_below = await self._holds_any(file.bucket, as_directory)
        return Entry(name, Kind.DIRECTORY, None) if has_below else found

    async def flat(self, root: ObjectPath, start: str, rows: int = PAGE_ROWS) -> ObjectPage:
        """Everything below a directory from a key on, one request."""
        return await self._rows(root.bucket, root.key, start, rows, delimiter="")

    async def subtree(self, directory: ObjectPath) -> list[ObjectVersion]:
        """Every object at or below the directory, in key order, a thousand for a request."""
        objects: list[ObjectVersion] = []
        start: str | None = ""
        while start is not None:
            page = await self._rows(directory.bucket, directory.key, start, PAGE_ROWS, delimiter="")
            objects += page.objects
            start = page.next_key
        return objects

    async def _holds_any(self, bucket: str, prefix: str) -> bool:
        start: str | None = ""
        while start is not None:
            page = await self._rows(bucket, prefix, start, 1)
            if page.objects or page.prefixes:
                return True
            start = page.next_key
        return False

    async def _rows(
        self, bucket: str, prefix: str, start: str, limit: int, delimiter: str = DELIMITER
    ) -> ObjectPage:
        allowed = self._within if self._within.startswith(prefix) else prefix
        page = await self._store.list_objects(bucket, allowed, delimiter=delimiter, start=start, limit=limit)
        if page.next_key is not None and page.next_key <= start:
            raise StoreFailure(f"the listing of b2://{bucket}/{prefix} does not advance")
        for version in page.objects:
            if version.size >= BIG:
                self._seen(version)
        return page

"""VersionLists: every name as a directory of its versions, each under its time.

A name that is a file and a directory at once is one directory with both in it. Hidden names are there as
well. A version is called by the time of its upload, with the extension of the file: when two of a name
share a millisecond, the later one has a number more.

Must not know: inodes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Final

import attrs
import trio
from cachetools import TTLCache

from b2mount.model import DELIMITER, Action, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.moments import moment_name
from b2mount.namespace.names import can_be_spelled, encoded_size
from b2mount.namespace.posix_info import kind_of
from b2mount.namespace.shelf import Whole
from b2mount.store.interface import ObjectStore, VersionCursor, VersionPage

PAGE_ROWS: Final = 1000
TTL: Final = 10.0
"""Seconds for which it is believed what versions there are."""
_SEEN: Final = 10_000
_LONGEST_EXTENSION: Final = 32
_PACKED: Final = ".tar"
"""The extension before one that tells how it is packed."""


@attrs.define(eq=False)
class VersionLists:
    """A Source for a Shelf."""

    _store: ObjectStore
    _within: str = ""
    """The only names that the application key may list begin so."""
    _seen: TTLCache[ObjectPath, list[ObjectVersion]] = attrs.field(
        factory=lambda: TTLCache(_SEEN, TTL, timer=trio.current_time), init=False
    )
    """The versions of names that are no directories, by the directory that shows them."""
    _changes: int = attrs.field(default=0, init=False)

    def forget(self) -> None:
        """Something may have been changed."""
        self._changes += 1
        self._seen.clear()

    def scan(self, directory: ObjectPath) -> Whole:
        """All at once: see `entries`."""
        return Whole(partial(self.entries, directory))

    async def entries(self, directory: ObjectPath) -> list[Entry]:
        """The versions of the name that the directory stands for, and the names below it. A listing shows the
        versions of the files in a directory too, which need not be asked for soon after."""
        if directory.is_account:
            buckets = await self._store.list_buckets()
            return [Entry(bucket.name, Kind.DIRECTORY, None) for bucket in buckets]
        seen = self._seen.get(directory)
        if seen is not None:
            return list(named(seen))
        below = [Entry(name, Kind.DIRECTORY, None) for name in await self._below(directory)]
        taken = {entry.name for entry in below}
        return [*below, *(entry for entry in await self._versions(directory) if entry.name not in taken)]

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """A name with versions at or below it, or a version."""
        if directory.is_account:
            return next((one for one in await self.entries(directory) if one.name == name), None)
        if not can_be_spelled(name):
            return None
        path = directory.file(name)
        if not (path.key.startswith(self._within) or self._within.startswith(path.key)):
            return None
        if _has_uploads(await self.of(path)) or await self._has_any(directory.directory(name)):
            return Entry(name, Kind.DIRECTORY, None)
        return next((entry for entry in await self._versions(directory) if entry.name == name), None)

    async def of(self, path: ObjectPath) -> list[ObjectVersion]:
        """The uploads and hide markers of exactly one name, newest first."""
        found: list[ObjectVersion] = []
        cursor: VersionCursor | None = VersionCursor(path.key, None)
        while cursor is not None and cursor.key == path.key:
            page = await self._page(path, "", cursor)
            found += [one for one in page.versions if one.path == path and one.action is not Action.START]
            cursor = page.next_cursor
        return found

    async def below(self, directory: ObjectPath) -> list[list[ObjectVersion]]:
        """As `of`, for each name at any depth below a directory."""
        found: dict[ObjectPath, list[ObjectVersion]] = {}
        cursor: VersionCursor | None = None
        while True:
            page = await self._page(directory, "", cursor)
            for version in page.versions:
                if version.action is not Action.START:
                    found.setdefault(version.path, []).append(version)
            cursor = page.next_cursor
            if cursor is None:
                return list(found.values())

    # -- inside ------------------------------------------------------------------------------

    async def _below(self, directory: ObjectPath) -> list[str]:
        names: dict[str, None] = {}
        files: dict[ObjectPath, list[ObjectVersion]] = {}
        folders: set[str] = set()
        changes = self._changes
        cursor: VersionCursor | None = None
        while True:
            page = await self._page(directory, DELIMITER, cursor)
            names |= dict.fromkeys(_names_in(page, directory))
            folders.update(page.prefixes)
            for version in page.versions:
                files.setdefault(version.path, []).append(version)
            cursor = page.next_cursor
            if cursor is None:
                break
        for path, versions in files.items() if changes == self._changes else ():
            if f"{path.key}{DELIMITER}" not in folders:
                self._seen[path.as_directory] = versions
        return [name for name in names if can_be_spelled(name)]

    async def _versions(self, directory: ObjectPath) -> list[Entry]:
        if not directory.key:
            return []
        path = ObjectPath(directory.bucket, directory.key.removesuffix(DELIMITER))
        return list(named(await self.of(path)))

    async def _has_any(self, directory: ObjectPath) -> bool:
        cursor: VersionCursor | None = None
        while True:
            page = await self._page(directory, "", cursor)
            if _has_uploads(page.versions):
                return True
            cursor = page.next_cursor
            if cursor is None:
                return False

    async def _page(self, below: ObjectPath, delimiter: str, cursor: VersionCursor | None) -> VersionPage:
        prefix = self._within if self._within.startswith(below.key) else below.key
        return await self._store.list_versions(
            below.bucket, prefix, delimiter=delimiter, start=cursor, limit=PAGE_ROWS
        )


def named(versions: Iterable[ObjectVersion]) -> Iterable[Entry]:
    """The uploads among the versions of one name, newest first as they come, as entries."""
    counts: Counter[int] = Counter()
    entries = []
    for version in reversed([version for version in versions if version.action is Action.UPLOAD]):
        counts[version.uploaded_ms] += 1
        number = f"-{counts[version.uploaded_ms]}" if counts[version.uploaded_ms] > 1 else ""
        moment = moment_name(version.uploaded_ms, digits=True)
        name = f"{moment}{number}{_extension(version.path.name)}"
        entries.append(Entry(name, kind_of(version), version))
    return reversed(entries)


def _has_uploads(versions: Iterable[ObjectVersion]) -> bool:
    return any(version.action is Action.UPLOAD for version in versions)


def _extension(name: str) -> str:
    stem, last = os.path.splitext(name)
    extension = f"{_PACKED}{last}" if stem.endswith(_PACKED) else last
    size = encoded_size(extension)
    return extension if size is not None and size <= _LONGEST_EXTENSION else ""


def _names_in(page: VersionPage, directory: ObjectPath) -> list[str]:
    base = len(directory.key)
    files = [v.path.key[base:] for v in page.versions if v.action is Action.UPLOAD]
    return files + [prefix[base:].removesuffix(DELIMITER) for prefix in page.prefixes]

"""OddKeys: the objects that no path shows, in one flat directory, under names that can be spelled.

A key's name in there is the key with `/` as `%2F`, `%` as `%25` and control characters in the same way;
all else stays as it is, for people to read. A name that would be too long for Linux ends in `~` and a
hash instead. What is in there is found by going through all names of the bucket, page by page; a key that
is encoded by hand is found at once, whether it is odd or not.

Must not know: inodes, caches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote

import attrs

from b2mount.model import DELIMITER, PLACEHOLDER, Action, Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.names import MAX_NAME_BYTES, can_be_spelled, encoded_size
from b2mount.namespace.posix_info import kind_of
from b2mount.namespace.shelf import Scan, Whole
from b2mount.store.interface import ObjectStore

PAGE_ROWS: Final = 10_000
"""What B2 gives at once."""
_HASH_DIGITS: Final = 16
_WIDEST: Final = 4
"""Bytes of a sign."""
_SHORTENED: Final = re.compile(f"(?s).*~[0-9a-f]{{{_HASH_DIGITS}}}")
_ESCAPED: Final = frozenset({"/", "%", "\x7f"} | {chr(number) for number in range(32)})


@attrs.frozen(eq=False)
class OddKeys:
    """A Source for a Shelf."""

    _store: ObjectStore
    _root: ObjectPath
    """The root of the mount."""
    _reserved: str
    """The name at the root that no object can have here."""
    _within: str = ""
    """The only names that the application key may list begin so."""

    def scan(self, directory: ObjectPath) -> Scan:
        """All odd keys of the mount; for a whole account, of one bucket."""
        if directory.is_account:
            return Whole(self._buckets)
        reserved = "" if self._root.is_account else self._reserved
        return _Search(self._store, directory, self._allowed(directory.key), _Finder(directory.key, reserved))

    async def _buckets(self) -> list[Entry]:
        buckets = await self._store.list_buckets()
        return [Entry(bucket.name, Kind.DIRECTORY, None) for bucket in buckets]

    async def _named(self, directory: ObjectPath, name: str) -> Entry | None:
        """One of all, however long it takes."""
        scan = self.scan(directory)
        while (found := await scan.more()) is not None:
            for entry in found:
                if entry.name == name:
                    return entry
        return None

    async def entry(self, directory: ObjectPath, name: str) -> Entry | None:
        """One of them. One request, but for names that end in a hash."""
        size = encoded_size(name)
        if size is None:
            return None  # keys are Unicode
        is_short = _SHORTENED.fullmatch(name) and size > MAX_NAME_BYTES - _WIDEST
        if directory.is_account or is_short:
            return await self._named(directory, name)
        key = directory.key + decoded(name)
        if encoded(key[len(directory.key) :]) != name or not key.startswith(self._allowed(directory.key)):
            return None
        page = await self._store.list_objects(directory.bucket, key, start=key, limit=1)
        for version in page.objects:
            if version.path.key == key:
                return _entry(version, directory)
        return None

    def _allowed(self, prefix: str) -> str:
        return self._within if self._within.startswith(prefix) else prefix


def encoded(key: str) -> str:
    """The name of a key."""
    text = "".join(f"%{ord(sign):02X}" if sign in _ESCAPED else sign for sign in key)
    if text in (".", "..", PLACEHOLDER):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    if len(text.encode()) <= MAX_NAME_BYTES:
        return text
    digest = hashlib.sha256(key.encode()).hexdigest()[:_HASH_DIGITS]
    short = text.encode()[: MAX_NAME_BYTES - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{short}~{digest}"


def decoded(name: str) -> str:
    """The key that has this name, if any has."""
    return unquote(name, errors="replace")


def _entry(version: ObjectVersion, directory: ObjectPath) -> Entry:
    return Entry(encoded(version.path.key[len(directory.key) :]), kind_of(version), version)


@attrs.define(eq=False)
class _Search:
    """A Scan of the odd keys of a directory."""

    _store: ObjectStore
    _directory: ObjectPath
    _prefix: str
    _finder: _Finder
    _start: str | None = attrs.field(default="", init=False)
    """Where it goes on."""
    _is_done: bool = attrs.field(default=False, init=False)

    async def more(self) -> Sequence[Entry] | None:
        if self._is_done:
            return None
        if self._start is None:
            self._is_done = True
            return [_entry(version, self._directory) for version in self._finder.rest()]
        page = await self._store.list_objects(
            self._directory.bucket, self._prefix, start=self._start, limit=PAGE_ROWS
        )
        self._start = page.next_key
        return [_entry(version, self._directory) for version in self._finder.take(page.objects)]


class _Finder:
    """Goes through all objects of a bucket, in the order of their keys, for those that no path shows."""

    def __init__(self, root: str, reserved: str) -> None:
        self._base = len(root)
        self._reserved = reserved
        self._above: list[tuple[ObjectVersion, bool]] = []
        """Files whose keys begin the one that was seen last, each the next one's too, and whether a
        directory of the same name was seen: it would be shown instead."""
        self._last = ""

    def take(self, versions: Iterable[ObjectVersion]) -> Iterator[ObjectVersion]:
        for version in versions:
            key = version.path.key
            if key <= self._last:
                continue  # B2 lists a name once, in the order of names; a directory shows none twice
            self._last = key
            while self._above and not key.startswith(self._above[-1][0].path.key):
                yield from self._passed()
            for place, (file, _) in enumerate(self._above):
                if key.startswith(file.path.key + DELIMITER):
                    self._above[place] = (file, True)
            if version.action is Action.UPLOAD and not self._stands_for_a_directory(key):
                if self._is_spelled(key):
                    self._above.append((version, False))
                else:
                    yield version

    def rest(self) -> Iterator[ObjectVersion]:
        while self._above:
            yield from self._passed()

    def _passed(self) -> Iterator[ObjectVersion]:
        file, is_hidden = self._above.pop()
        if is_hidden:
            yield file

    def _stands_for_a_directory(self, key: str) -> bool:
        """A placeholder, or a marker as S3 tools write it, of a directory that is shown itself."""
        name = key[self._base :]
        if name in ("", PLACEHOLDER):
            return True
        above, _, last = name.rpartition(DELIMITER)
        return last in ("", PLACEHOLDER) and above != "" and self._is_spelled(key[: self._base] + above)

    def _is_spelled(self, key: str) -> bool:
        names = key[self._base :].split(DELIMITER)
        return all(map(can_be_spelled, names)) and names[0] != self._reserved

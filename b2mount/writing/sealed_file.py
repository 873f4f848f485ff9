"""SealedFile: one generation of a file as it was at a close or an fsync; immutable.

A generation knows what it was made from (`base`): an object version, or a sealed generation whose
upload had begun. Once that one is in B2, `base` is its version, at once and for everybody, because
all copies of a SealedFile share one Fate.

Invariants: a SealedFile's bytes are never written to again, unless it was withdrawn.

Must not know: the journal, the store, who reads.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import attrs

from b2mount.model import Attributes, ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.writing.extents import ExtentMap, Run, Source
from b2mount.writing.local_bytes import read_span

ReadBase = Callable[[ObjectVersion, ByteRange], Awaitable[bytes | memoryview]]


class SentBytes(Protocol):
    """Bytes of a generation that B2 has before the generation is an object."""

    def touched(self, start: int, stop: int) -> None:
        """These were written to since."""


@attrs.define(eq=False, weakref_slot=False)
class Fate:
    """What became of a generation; shared by all values that describe it."""

    version: ObjectVersion | None = None
    """What it is in B2, once it is there."""
    users: frozenset[str] = frozenset()
    """Staging ids of younger generations that read their base bytes out of its local file, and who else keeps
    that."""
    dropped: bool = False
    """No record names it, so nobody will send it (again): the local file goes with its last user."""
    marked: bool = False
    """Its local file has become the mark of `local_bytes.mark_sent`."""
    sent: SentBytes | None = None
    """What B2 has of its bytes already."""
    owner: object = None
    """Who is to be told that B2 has it; what that is, is known to whoever is told."""


def _packed(extents: ExtentMap | int) -> ExtentMap | int:
    return extents.size if isinstance(extents, ExtentMap) and extents.is_whole else extents


@attrs.frozen(eq=False, weakref_slot=False)
class SealedFile:
    """One generation of a file as it was at a close or an fsync. Many wait in a long queue: what can be
    told from the rest is not kept."""

    staging_id: str
    path: ObjectPath
    metadata: ObjectMetadata
    attributes: Attributes
    _extents: ExtentMap | int = attrs.field(alias="extents", converter=_packed)
    """The size only, where all bytes are staged."""
    _directory: str = attrs.field(alias="directory")
    """Of the local file."""
    made_from: ObjectVersion | SealedFile | None
    fate: Fate
    since: float = 0.0
    """Unix seconds of the seal."""
    keeps_bytes: bool = False
    """Nobody has asked for other bytes than those of what it was made from, only for other attributes."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._extents if isinstance(self._extents, int) else self._extents.size

    @property
    def extents(self) -> ExtentMap:
        """Which source each byte has. Not to be changed."""
        return ExtentMap.whole(self._extents) if isinstance(self._extents, int) else self._extents

    @property
    def local_path(self) -> str:
        """The local file that has the staged bytes, at their offsets."""
        return f"{self._directory}/{self.staging_id}"

    @property
    def base(self) -> ObjectVersion | SealedFile | None:
        """What BASE extents refer to now."""
        return landed(self.made_from)

    @property
    def base_version(self) -> ObjectVersion | None:
        """The object version at the bottom of all generations."""
        base = self.base
        return base.base_version if isinstance(base, SealedFile) else base

    def pread(self, span: ByteRange) -> bytes:
        """The staged bytes of a span within one STAGED extent. Raises OSError, CorruptData."""
        fd = os.open(self.local_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_span(fd, span)
        finally:
            os.close(fd)

    def runs(self, span: ByteRange) -> Iterator[Run]:
        """Where the bytes of `span` are, through all generations below this one."""
        base = self.base
        for extent in self.extents.within(span):
            if extent.source is Source.STAGED:
                yield Run(extent.span, Source.STAGED, self.local_path)
            elif extent.source is Source.BASE and isinstance(base, SealedFile):
                yield from base.runs(extent.span)
            else:
                yield Run(extent.span, extent.source)

    async def read(self, span: ByteRange, read_base: ReadBase) -> bytes | memoryview:
        """The bytes of `span`. Local ones are taken at one moment, before the first wait."""
        version = self.fate.version
        if version is not None:
            return await read_base(version, span.intersect(ByteRange(0, version.size)))
        bottom = self.base_version
        pieces = [(run, _local_bytes(run)) for run in self.runs(span)]
        parts = []
        for run, data in pieces:
            if run.source is Source.BASE and bottom is not None:
                parts.append(await read_base(bottom, run.span))
            else:
                parts.append(data)
        return b"".join(parts)


def landed(base: ObjectVersion | SealedFile | None) -> ObjectVersion | SealedFile | None:
    """`base`, or the version that it has become."""
    return base.fate.version or base if isinstance(base, SealedFile) else base


def _local_bytes(run: Run) -> bytes:
    if run.source is not Source.STAGED:
        return bytes(run.span.size) if run.source is Source.HOLE else b""
    fd = os.open(run.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_span(fd, run.span)
    finally:
        os.close(fd)

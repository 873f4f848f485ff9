"""ByteSources: the bytes of one request, from wherever they are.

Invariants: staged bytes go from the local file; base bytes beyond a mebibyte go through a spool
file, which is gone when the request has ended, so memory is bounded whatever its size.

Must not know: requests, plans.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from b2mount.errors import CorruptData
from b2mount.model import ByteRange, ByteSource, FileSlice, Literal, ObjectVersion, Zeros
from b2mount.threads import ThreadLane
from b2mount.writing.extents import Run, Source
from b2mount.writing.local_bytes import remove, write_at
from b2mount.writing.sealed_file import ReadBase

log = logging.getLogger(__name__)

LITERAL_LIMIT: Final = 1024 * 1024
SPOOL_STEP: Final = 4 * 1024 * 1024
_TRIES: Final = 4

Sha1Of = Callable[[ByteRange], Awaitable[str]]


@attrs.define(eq=False)
class ByteSources:
    """See the module."""

    _read_base: ReadBase
    _lane: ThreadLane
    _forget: Callable[[str], object]
    """Called with the id of a version that came with wrong bytes, before they are fetched again."""

    @asynccontextmanager
    async def source(
        self, runs: Sequence[Run], base: ObjectVersion | None, spool: str, sha1_of: Sha1Of | None = None
    ) -> AsyncIterator[ByteSource]:
        """The bytes of `runs`; base bytes are fetched first, into memory or into the file `spool`, and
        compared with what `sha1_of` says of them. Raises what reading the base raises, CorruptData,
        OSError."""
        spooled = sum(run.span.size for run in runs if run.source is Source.BASE) > LITERAL_LIMIT
        pieces: list[FileSlice | Zeros | Literal] = []
        position = 0
        try:
            for run in runs:
                if run.source is Source.STAGED:
                    pieces.append(FileSlice(run.file, run.span.start, run.span.size))
                elif run.source is Source.HOLE or base is None:
                    pieces.append(Zeros(run.span.size))
                elif not spooled:
                    pieces.append(Literal(await self._base_bytes(base, run.span, sha1_of)))
                else:
                    await self._spool(base, run.span, spool, position, sha1_of)
                    pieces.append(FileSlice(spool, position, run.span.size))
                    position += run.span.size
            yield ByteSource(tuple(pieces))
        finally:
            if spooled:
                with trio.CancelScope(shield=True):
                    await self._lane.run_uncancelled(remove, spool)

    async def _spool(
        self, base: ObjectVersion, span: ByteRange, spool: str, position: int, sha1_of: Sha1Of | None
    ) -> None:
        for start in range(span.start, span.stop, SPOOL_STEP):
            step = ByteRange(start, min(start + SPOOL_STEP, span.stop))
            data = await self._base_bytes(base, step, sha1_of)
            await self._lane.run_uncancelled(write_at, spool, position + start - span.start, data)

    async def _base_bytes(self, base: ObjectVersion, span: ByteRange, sha1_of: Sha1Of | None) -> bytes:
        expected = await sha1_of(span) if sha1_of is not None else None
        for _ in range(_TRIES):
            data = bytes(await self._read_base(base, span))
            if len(data) != span.size:
                raise CorruptData(f"{base.path}: {len(data)} bytes came where {span.size} were asked for")
            if expected in (None, hashlib.sha1(data, usedforsecurity=False).hexdigest()):
                return data
            log.warning("%s came with wrong bytes; they are fetched again", base.path)
            self._forget(base.version_id)
        raise CorruptData(f"{base.path} comes with wrong bytes, {_TRIES} times in a row")

"""Streams: sends new files past a size while they are written, front to back.

A part is sent when the program has written past its end; one that it writes again is sent again
under its number at the close. What is sent so is a large file whose info nobody knows yet (the
mtime is that of the last write); the upload after the close finishes it and gives it the right
one with a copy inside B2.

Invariants: nothing becomes an object here; an error here is no error of the program: what could
not be sent ahead is sent after the close, and fails there if it must; a stream that was stopped
touches nothing any more.

Must not know: the queue, the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from b2mount.errors import B2MountError, CorruptData
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath
from b2mount.threads import ThreadLane
from b2mount.writing.extents import Run, Source
from b2mount.writing.fingerprint import Fingerprint, grown
from b2mount.writing.large_file import LargeFile
from b2mount.writing.large_files import LargeFiles
from b2mount.writing.staged_file import StagedFile
from b2mount.writing.upload_log import STREAMED
from b2mount.writing.upload_plan import PARALLEL_PARTS, PutPart, is_streamed, stream_start

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Stream:
    staged: StagedFile
    path: ObjectPath
    metadata: ObjectMetadata
    next: int = 1
    is_over: bool = False
    grown: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def wake(self) -> None:
        self.grown.set()
        self.grown = trio.Event()


@attrs.define(eq=False)
class Streams:
    """See the module. Nothing is sent but while `run` runs."""

    _larges: LargeFiles
    _lane: ThreadLane
    _block_size: int
    _streams: dict[str, _Stream] = attrs.field(factory=dict, init=False)
    _given_up: set[str] = attrs.field(factory=set, init=False)
    """Generations that are not sent before their close."""
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Send what is offered, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def wrote(self, staged: StagedFile, path: ObjectPath, metadata: Callable[[], ObjectMetadata]) -> None:
        """A file was written to. `metadata` tells what it would go up with now."""
        stream = self._streams.get(staged.staging_id)
        if stream is not None:
            if staged.extents.front >= stream_start(stream.next + 1):
                stream.wake()
            return
        large = self._larges.known(staged.staging_id)
        if large is not None and (
            large.record.layout != STREAMED or large.is_unchecked or large.is_asked_for
        ):
            return
        if not is_streamed(staged.extents.front) or not staged.extents.is_past_base:
            return
        if staged.staging_id in self._given_up:
            return
        if self._nursery is None or not self._larges.may_replace:
            return
        stream = _Stream(staged, path, metadata())
        self._streams[staged.staging_id] = stream
        self._nursery.start_soon(self._send, stream)

    async def stop(self, staging_id: str, *, at_once: bool = False) -> None:
        """Send no more of it ahead. Parts that are under way land first, unless `at_once`."""
        stream = self._streams.get(staging_id)
        if stream is not None:
            stream.is_over = True
            stream.wake()
            if at_once:
                stream.scope.cancel()
            await stream.ended.wait()
        self._given_up.discard(staging_id)

    async def _send(self, stream: _Stream) -> None:
        staging_id = stream.staged.staging_id
        try:
            with stream.scope:
                await self._send_parts(stream)
        except (B2MountError, OSError) as error:
            log.info("%s is sent after its close: %s", stream.path, error)
            self._given_up.add(staging_id)
        except Exception:
            log.exception("%s could not be sent ahead", stream.path)
            self._given_up.add(staging_id)
        finally:
            stream.ended.set()
            if self._streams.get(staging_id) is stream:
                del self._streams[staging_id]

    async def _send_parts(self, stream: _Stream) -> None:
        staged = stream.staged
        large = self._larges.known(staged.staging_id)
        if large is not None and large.record.is_intent:
            await self._larges.abandon(staged.staging_id)
            large = None
        if large is None:
            large = await self._larges.begin_unknown(
                staged.staging_id, stream.path, stream.metadata, STREAMED
            )
            large.fingerprint = Fingerprint(self._block_size)
        staged.fate.sent = large
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hash, stream, large)
            for _ in range(PARALLEL_PARTS):
                nursery.start_soon(self._send_some, stream, large, failures)
        if failures:
            raise failures[0]

    async def _send_some(self, stream: _Stream, large: LargeFile, failures: list[Exception]) -> None:
        while not stream.is_over:
            number = stream.next
            if number in large.records:
                stream.next += 1
                continue
            span = ByteRange(stream_start(number), stream_start(number + 1))
            while len(large.starts) <= number:
                large.starts.append(stream_start(len(large.starts) + 1))
            if stream.staged.extents.front < span.stop:
                await stream.grown.wait()
                continue
            stream.next += 1
            part = PutPart(span, (Run(span, Source.STAGED, stream.staged.path),))
            try:
                await self._larges.send_part(large, number, part, None, "")
            except (B2MountError, OSError) as error:
                failures.append(error)
                stream.is_over = True
                stream.wake()

    async def _hash(self, stream: _Stream, large: LargeFile) -> None:
        """Take the fingerprint of the whole as it grows: reading it all once more after the close
        would keep the program waiting."""
        while not stream.is_over and large.fingerprint is not None:
            before = large.fingerprint
            stop = min(stream.staged.extents.front, stream_start(stream.next))
            if stop <= before.size:
                await stream.grown.wait()
                continue
            run = Run(ByteRange(0, stop), Source.STAGED, stream.staged.path)
            large.hashed_to = stop
            try:
                after = await grown(self._lane, before, [run])
            except (CorruptData, OSError):
                large.fingerprint = None
                return
            if large.fingerprint is before:  # nothing of it was written to meanwhile
                large.fingerprint = after

"""A simulated line to B2, in trio's clock: 40 ms to the first byte, 25 MB/s a connection, 125 MB/s in all,
unless told otherwise; and hashing at a speed of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import attrs
import pytest
import trio

from b2mount.model import ByteRange, ObjectPath, ObjectVersion
from b2mount.reading.version_hash import VersionHash
from b2mount.threads import ThreadLane
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
CHUNK = 64 * 1024
FIRST_BYTE = 0.040
CONNECTION = 25e6
TOTAL = 125e6
BYTES = bytes(range(256)) * (CHUNK // 256)


@attrs.define(eq=False)
class Request:
    at: float
    version_id: str
    span: ByteRange


class Line(FaultyStore):
    """A store that has every version and sends the same pattern for each, at the pace of the line."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.first_byte, self.connection, self.total = FIRST_BYTE, CONNECTION, TOTAL
        self.requests: list[Request] = []
        self.sent = 0
        self._free_at = 0.0

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        self.requests.append(Request(trio.current_time(), version.version_id, span))
        await trio.sleep(self.first_byte)
        ready = trio.current_time()
        for start in range(span.start, span.stop, CHUNK):
            size = min(CHUNK, span.stop - start)
            self._free_at = max(self._free_at, trio.current_time()) + size / self.total
            ready = max(ready + size / self.connection, self._free_at)
            await trio.sleep_until(ready)
            self.sent += size
            deliver(BYTES[:size])


@attrs.frozen(eq=False)
class SlowHash(ThreadLane):
    """Hashes `speed` bytes a second, in trio's clock; every SHA-1 is right."""

    speed: float = attrs.field(kw_only=True)

    async def run(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        blocks = next(iter(args))
        assert isinstance(blocks, list)
        await trio.sleep(sum(map(len, blocks)) / self.speed)
        return func(*args)

    @staticmethod
    def install(monkeypatch: pytest.MonkeyPatch) -> None:
        """Make hashing cost nothing else."""
        monkeypatch.setattr(VersionHash, "take", lambda _, blocks: [1] * len(blocks))
        monkeypatch.setattr(VersionHash, "matches", lambda *_: True)


def version_of(size: int, name: str = "big", sha1: str | None = None) -> ObjectVersion:
    return ObjectVersion(ObjectPath("bucket", name), f"4_z_{name}", size, 1, sha1=sha1)

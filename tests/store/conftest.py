"""An emulator and a B2Store that tries for a fixed time of trio's clock and waits briefly for sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio

from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.server import EmulatorServer
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.b2_session import Timeouts
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.credentials import Credentials
from tests.fakes.memory_store import literal

PART = 1000


@attrs.frozen
class Site:
    """An emulator, a store on it, and a bucket."""

    server: EmulatorServer
    store: B2Store
    bucket: str = "bucket"

    def path(self, key: str) -> ObjectPath:
        return ObjectPath(self.bucket, key)

    async def put(self, key: str, data: bytes = b"data") -> ObjectVersion:
        return await self.store.put(self.path(key), literal(data), ObjectMetadata())

    async def read(self, version: ObjectVersion, span: ByteRange | None = None) -> bytes:
        pieces: list[bytes] = []
        await self.store.read_range(
            version, ByteRange(0, version.size) if span is None else span, pieces.append
        )
        return b"".join(pieces)

    def fault(self, kind: FaultKind, endpoint: str, **choices: object) -> None:
        """One fault more; it hits once unless told otherwise."""
        self.server.faults.add(Fault(kind, endpoint, **{"times": 1, **choices}))  # type: ignore[arg-type]  # each fits its field

    def calls(self, endpoint: str) -> int:
        """How many requests of a kind have reached the server."""
        return self.server.counts.calls[endpoint]


async def until_under_way(store: B2Store, path: ObjectPath, size: int) -> None:
    """Return when so many bytes of uploads to a name have gone."""
    for _ in range(6000):
        if store.under_way(path) >= size:
            return
        await trio.sleep(0.01)
    raise AssertionError("nothing seems to be sent")


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(minimum_part=PART, recommended_part=2 * PART) as server:
        yield server


def credentials(server: EmulatorServer) -> Credentials:
    return Credentials(server.key_id, server.application_key, server.url)


@pytest.fixture
async def site(emulator: EmulatorServer) -> AsyncIterator[Site]:
    store = await open_b2_store(credentials(emulator))
    try:
        await store.create_bucket("bucket")
        emulator.counts.reset()
        yield Site(emulator, store)
    finally:
        store.close()


@pytest.fixture
async def hasty(site: Site) -> AsyncIterator[Site]:
    """The same with a store that waits half a second for an answer, and may well ask twice."""
    timeouts = Timeouts(connect=5, reply=0.5, upload_reply=0.5, copy=0.5)
    store = await open_b2_store(credentials(site.server), timeouts=timeouts)
    try:
        yield Site(site.server, store)
    finally:
        store.close()

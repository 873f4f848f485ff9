"""The stores that the contract holds for: in memory, B2Store with the emulator, and the real B2.

The real one takes part when B2_APPLICATION_KEY_ID, B2_APPLICATION_KEY and B2MOUNT_TEST_BUCKET are
set; it leaves the bucket as it was, but for hidden versions under `b2mount-contract/`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import attrs
import pytest

from b2mount.emulator.server import EmulatorServer
from b2mount.model import ByteRange, Encryption, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.b2_store import open_b2_store
from b2mount.store.credentials import Credentials, find_credentials
from b2mount.store.encryption import Keyring
from b2mount.store.interface import ObjectStore
from tests.fakes.memory_store import MemoryStore, literal

REAL = ("B2_APPLICATION_KEY_ID", "B2_APPLICATION_KEY", "B2MOUNT_TEST_BUCKET")
PRIVATE = ["memory", "emulator"]
"""Stores with an account that nobody else uses."""
ALL = [*PRIVATE, "b2"] if all(os.environ.get(name) for name in REAL) else PRIVATE
PART = 1000


@attrs.frozen
class Place:
    """A store and a directory in it that is the test's own."""

    store: ObjectStore
    root: ObjectPath
    credentials: Credentials | None = None
    """None for the one in memory."""

    @asynccontextmanager
    async def encrypting(self, mode: Encryption, key: bytes = b"") -> AsyncIterator[Place]:
        """The same place, seen by a store that has this setting."""
        if isinstance(self.store, MemoryStore):
            self.store.use_key(mode, key.hex())
            yield self
            self.store.use_key(Encryption.NONE)
            return
        assert self.credentials is not None
        store = await open_b2_store(self.credentials, keyring=Keyring(mode, key))
        try:
            yield attrs.evolve(self, store=store)
        finally:
            store.close()

    @property
    def bucket(self) -> str:
        return self.root.bucket

    async def put(
        self, name: str, data: bytes = b"", metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        return await self.store.put(self.root.file(name), literal(data), metadata or ObjectMetadata())

    async def read(self, version: ObjectVersion, span: ByteRange | None = None) -> bytes:
        pieces: list[bytes] = []
        await self.store.read_range(
            version, ByteRange(0, version.size) if span is None else span, pieces.append
        )
        return b"".join(pieces)


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(minimum_part=PART, recommended_part=2 * PART) as server:
        yield server


async def _places(kind: str, emulator: EmulatorServer, *, has_lock: bool = False) -> AsyncIterator[Place]:
    bucket = f"contract-{uuid.uuid4().hex[:16]}"
    if kind == "memory":
        memory = MemoryStore(bucket, minimum_part_size=PART)
        if has_lock:
            memory.lock(bucket)
        yield Place(memory, ObjectPath(bucket, "here/"))
        return
    if kind == "emulator":
        credentials = Credentials(emulator.key_id, emulator.application_key, emulator.url)
    else:
        credentials = find_credentials()
    store = await open_b2_store(credentials)
    try:
        if kind == "emulator":
            store._client.session.create_bucket(
                store.account.account_id, bucket, "allPrivate", is_file_lock_enabled=has_lock
            )
            yield Place(store, ObjectPath(bucket, "here/"), credentials)
        else:
            root = ObjectPath(os.environ["B2MOUNT_TEST_BUCKET"], f"b2mount-contract/{uuid.uuid4()}/")
            yield Place(store, root, credentials)
    finally:
        store.close()


@pytest.fixture(params=ALL)
async def place(request: pytest.FixtureRequest, emulator: EmulatorServer) -> AsyncIterator[Place]:
    async for place in _places(request.param, emulator):
        yield place


@pytest.fixture(params=PRIVATE)
async def account(request: pytest.FixtureRequest, emulator: EmulatorServer) -> AsyncIterator[Place]:
    """A place in an account whose buckets may be made and removed."""
    async for place in _places(request.param, emulator):
        yield place


@pytest.fixture(params=PRIVATE)
async def locked(request: pytest.FixtureRequest, emulator: EmulatorServer) -> AsyncIterator[Place]:
    """A place in a bucket with Object Lock."""
    async for place in _places(request.param, emulator, has_lock=True):
        yield place

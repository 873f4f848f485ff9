"""What it costs: memory of a long queue, and of a large file; the speed of a write."""

from __future__ import annotations

import heapq
import time
import tracemalloc

from trio.testing import wait_all_tasks_blocked

from b2mount.model import ByteRange, ObjectMetadata
from b2mount.threads import ThreadLane
from b2mount.writing.records import sealed_to_json
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import Staging
from b2mount.writing.upload_queue import Entry, UploadQueue, UploadState
from tests.fakes.memory_store import MemoryStore
from tests.writing.world import at, attributes, metadata, open_world


def test_a_hundred_thousand_files_in_the_queue(tmp_path):
    staging = Staging(tmp_path, ThreadLane("disk", 1))
    staging.open()
    queue = UploadQueue()
    tracemalloc.start()
    for number in range(10_000):
        staged = staging.create(None, 0)
        staged.extents.mark(0, 8192)
        info = {"src_last_modified_millis": str(number), "posix": f"mode=100644,uid=0,gid=0,ns={number}"}
        sealed = staged.seal(
            at(f"some/directory/file-{number}"), ObjectMetadata("b2/x-auto", info), attributes(number, number)
        )
        entry = Entry(sealed, order=number)
        queue.add(entry)
        entry.change(UploadState.QUEUED)
        queue.schedule(entry, float(number))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    staging.close()
    assert used * 10 < 250_000_000


def test_writing_in_order_is_fast(tmp_path):
    staging = Staging(tmp_path, ThreadLane("disk", 1))
    staging.open()
    staged = staging.create(None, 0)
    data = bytes(128 * 1024)
    begun = time.process_time()
    for index in range(2000):
        staged.write(index * len(data), data)
    spent = time.process_time() - begun
    staged.discard()
    staging.close()
    assert 2000 * len(data) / spent > 250_000_000, "bytes a second of processor time; 128 KiB writes"


async def test_a_long_queue_under_a_name_that_is_held(autojump_clock, tmp_path, monkeypatch):
    """A directory with many unsent files is renamed: what each one of them costs does not grow with them."""
    steps = 0

    def counted(function):
        def step(*arguments):
            nonlocal steps
            steps += 1
            return function(*arguments)

        return step

    count, store = 200, MemoryStore()
    async with open_world(tmp_path, store) as world:
        with world.write_back.holding(at("old/")), world.write_back.holding(at("new/")):
            files = [world.sealed(f"old/{number}", b"x") for number in range(count)]
            for sealed in files:
                await world.write_back.submit(sealed)
            await wait_all_tasks_blocked()
            monkeypatch.setattr(heapq, "heappush", counted(heapq.heappush))
            monkeypatch.setattr(heapq, "heappop", counted(heapq.heappop))
            for number, sealed in enumerate(files):
                assert await world.write_back.rename(sealed.staging_id, at(f"new/{number}"))
                await wait_all_tasks_blocked()
        await world.write_back.flush()
        assert len(store.contents()) == count
        assert all(key.startswith("new/") for key in store.contents())
    assert count <= steps <= 10 * count


async def test_a_large_upload_holds_no_bytes(tmp_path, monkeypatch):
    """Scattered edits of a file that is all base otherwise: most of it has to be fetched."""
    size, step = 40_000_000, 4_000_000
    store = MemoryStore()
    base = store.seed(at("a"), bytes(size))
    async with open_world(tmp_path, store, running=False) as world:
        staged = world.new(base=base, size=size)
        for offset in range(0, size, step):
            staged.write(offset, b"x" * 100)
        sealed = staged.seal(at("a"), metadata(), attributes())
        pieces: list[int] = []

        async def put_part(upload, number, source):
            pieces.append(sum(p.size for p in source.pieces if hasattr(p, "data")))
            return await MemoryStore.put_part(store, upload, number, source)

        monkeypatch.setattr(store, "put_part", put_part)
        await world.uploader.upload(sealed, lambda sent: None)
        assert max(pieces) <= 1024 * 1024
        assert max(span.size for span in world.fetched) <= 4 * 1024 * 1024
    expected = bytearray(size)
    for offset in range(0, size, step):
        expected[offset : offset + 100] = b"x" * 100
    assert store.contents()["a"] == expected


async def test_a_record_of_many_extents_stays_small(tmp_path):
    async with open_world(tmp_path, MemoryStore(), running=False) as world:
        staged = world.new()
        for index in range(10_000):
            staged.extents.mark(index * 8192, index * 8192 + 4096)
        sealed: SealedFile = staged.seal(at("a"), metadata(), attributes())
        assert len(sealed_to_json(sealed)) < 300_000
        assert len(list(sealed.runs(ByteRange(0, sealed.size)))) == 19_999

"""What a file costs in memory while it waits to be sent: queues of a hundred thousand have to fit."""

from __future__ import annotations

import gc
import itertools
import pathlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from b2mount.errors import Unavailable
from b2mount.model import ByteSource, ObjectMetadata, ObjectPath, ObjectVersion
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world
from tests.writing.world import InlineLane

FILES = 1000
PER_FILE = 1750
"""Bytes. What everything knows of one file: the kernel's inode, its name, its content, its generation, its
place in the queue. Some 180 MB for a hundred thousand files."""
PER_FILE_SENT = 850
"""Bytes. What is left of that while the kernel knows the file."""
REPLY = 100_000
TRIES = 100
NUMBERS = itertools.count(1)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


class Forgetful(MemoryStore):
    """Answers as B2 does, each time with text of its own, and keeps nothing."""

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        number = next(NUMBERS)
        return ObjectVersion(
            path=ObjectPath(path.bucket, "".join(path.key)),
            version_id=f"4_z4ea11064719f7dc88f854d81_f1{number:016x}_d20260102_m030405_c001_v0001000_t0000",
            size=source.size,
            uploaded_ms=1767323045678,
            content_type="".join(["text", "/", "plain"]),
            sha1=f"{number:040x}",
            info={"".join(key): "".join(value) for key, value in metadata.info.items()},
        )


class NothingGetsThrough(MemoryStore):
    """Every put fails after it has seen much."""

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        reply = bytes(REPLY)
        try:
            int(reply)
        except ValueError as error:
            raise Unavailable("no network") from error
        raise AssertionError


def used() -> int:
    """Bytes, but for the interpreter's table of strings that it keeps one of, to which pathlib adds names:
    it doubles at once when its time has come, by what other tests have put there."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, pathlib.__file__)])
    return sum(trace.size for trace in snapshot.traces)


async def write(w: World, count: int, name: str) -> None:
    for number in range(count):
        await w.write(f"{name} {number}", b"%d" % number * 100)


async def test_a_file_that_waits_costs_little(
    traced: None, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    lane = InlineLane("disk", 4)
    async with world(MemoryStore(), tmp_path, waits=False, delay=1e6, lane=lane) as w:
        await write(w, 100, "first")
        before = used()
        await write(w, FILES, "some file")
        after = used()
        assert len(w.write_back.pending()) == 100 + FILES
    assert (after - before) / FILES < PER_FILE


async def test_a_file_that_b2_has_costs_less(
    traced: None, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with world(Forgetful(), tmp_path, waits=True, lane=InlineLane("disk", 4)) as w:
        await write(w, 100, "first")
        before = used()
        await write(w, FILES, "some file")
        await trio.sleep(1000)  # what listings may still get wrong is told no more
        await write(w, 1, "last")
        after = used()
    assert (after - before) / FILES < PER_FILE_SENT


async def test_what_was_tried_and_failed_costs_no_more(
    traced: None, autojump_clock: trio.testing.MockClock, tmp_path: Path, expect_warning
) -> None:
    expect_warning("no network")
    store = NothingGetsThrough()
    async with world(store, tmp_path, waits=False, lane=InlineLane("disk", 4)) as w:
        await write(w, TRIES, "some file")
        before = used()
        await trio.sleep(10)
        assert sum(pending.reason == "no network" for pending in w.write_back.pending()) == TRIES
        after = used()
    assert after - before < TRIES * REPLY / 10, "requests and replies"

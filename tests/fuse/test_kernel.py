"""What the kernel is told unasked. No kernel: what would be written to it is looked at."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyfuse3
import pytest
import trio
import trio.testing

from b2mount.fuse import kernel
from b2mount.fuse.kernel import KernelNames

Names = Mapping[int, Sequence[str]]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of what stands in for the kernel."""
    ours, theirs = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)  # every write is a packet

    @contextmanager
    def connection() -> Iterator[int]:
        yield theirs

    monkeypatch.setattr(kernel, "_connection", connection)
    monkeypatch.setattr(pyfuse3, "invalidate_inode", lambda number, attr_only: None)
    yield ours
    os.close(ours)
    os.close(theirs)


async def at_once(call: object, names: Names) -> None:
    assert callable(call)
    call(names)


async def test_a_name_expires(pipe: int) -> None:
    """As linux/fuse.h has fuse_out_header and fuse_notify_inval_entry_out."""
    await KernelNames(at_once).expire({7: ["café"]}, within=10)
    notice = os.read(pipe, 4096)
    name = "café".encode()
    header = struct.pack("=IiQ", 16 + 16 + len(name) + 1, 3, 0)
    assert notice == header + struct.pack("=QII", 7, len(name), 1) + name + b"\0"


async def test_many_names_take_turns() -> None:
    asked: list[Names] = []

    async def note(_call: object, names: Names) -> None:
        asked.append({number: list(some) for number, some in names.items()})

    many = [str(number) for number in range(2500)]
    await KernelNames(note).expire({7: many, 8: ["a"], 1: ["b"]}, within=10)
    assert all(sum(map(len, names.values())) <= 2 * kernel.AT_ONCE for names in asked)
    assert len(asked) > 2
    flat = [(number, name) for names in asked for number, some in names.items() for name in some]
    assert sorted(flat) == sorted([*((7, name) for name in many), (8, "a"), (1, "b")])
    assert 1 in asked[0], "the root's own attributes, too"


async def test_it_waits_no_longer_than_names_are_believed(autojump_clock: trio.testing.MockClock) -> None:
    async def never(_call: object, names: Names) -> None:
        await trio.sleep_forever()

    await KernelNames(never).expire({7: ["a"]}, within=60)
    assert trio.current_time() == 60

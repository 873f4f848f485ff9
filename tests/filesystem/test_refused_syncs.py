"""A disk that could not take what was written: the kernel forgets it, and a second sync says all is well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import World, world


class Disk:
    """`os.fdatasync` that fails as often as it is told to, and does not fail for the same bytes again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        self.real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def fdatasync(self, fd: int) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(5, "Input/output error")
        self.real(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def refused(w: World, disk: Disk) -> None:
    """`f` is good in B2; what was written over it was refused, and its close said so."""
    await w.write("f", b"good version")
    await w.fs.flush_path()
    fh = await w.open("f", os.O_RDWR)
    await w.fs.write(fh, 0, b"evil")
    await w.fs.write(fh, 5, b"ly")
    disk.failures = 1
    with pytest.raises(OSError, match="Input/output"):
        await w.fs.flush(fh)
    with pytest.raises(OSError, match="written again"):
        await w.fs.release(fh)


@pytest.mark.parametrize("waits", [True, False])
async def test_bytes_that_may_be_lost_do_not_come_over_good_ones(
    tmp_path: Path, disk: Disk, expect_warning, *, waits: bool
) -> None:
    expect_warning("f could not be made durable")
    store = MemoryStore()
    async with world(store, tmp_path, waits=waits) as w:
        await refused(w, disk)
        fh = await w.open("f", os.O_RDWR)
        with pytest.raises(OSError, match="written again"):
            await w.fs.fsync(fh)
        with pytest.raises(OSError, match="written again"):
            await w.close(fh)
        with pytest.raises(OSError, match="written again"):
            await w.fs.flush_path()
        assert store.contents() == {"f": b"good version"}
        assert [file.state for file in w.fs.pending()] == ["staged"]


async def test_what_was_written_again_is_sent(tmp_path: Path, disk: Disk) -> None:
    """All that was refused has to be; what was not written has not been refused."""
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        await refused(w, disk)
        fh = await w.open("f", os.O_WRONLY)
        await w.fs.write(fh, 0, b"EVIL")
        await w.fs.write(fh, 6, b"Y more")
        with pytest.raises(OSError, match="written again"):
            await w.fs.fsync(fh)
        await w.fs.write(fh, 5, b"L")
        await w.fs.fsync(fh)
        await w.close(fh)
        assert store.contents() == {"f": b"EVIL LY more"}
        assert w.fs.pending() == ()


@pytest.mark.parametrize("cut_at_open", [False, True])
async def test_what_was_cut_off_need_not_be_written_again(
    tmp_path: Path, disk: Disk, *, cut_at_open: bool
) -> None:
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        if cut_at_open:
            await refused(w, disk)
            await w.write("f", b"new")
        else:
            fh = await w.create("f")
            await w.fs.write(fh, 0, b"more than that")
            disk.failures = 1
            with pytest.raises(OSError, match="Input/output"):
                await w.fs.fsync(fh)
            await w.fs.write(fh, 0, b"new")
            number = (await w.node("f")).number
            await w.fs._changer.truncate(w.namespace.inode(number), 3)
            await w.close(fh)
        assert store.contents() == {"f": b"new"}


async def test_a_second_refusal_counts_as_the_first(tmp_path: Path, disk: Disk) -> None:
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        fh = await w.create("f")
        for _ in range(2):
            await w.fs.write(fh, 0, b"bytes")
            disk.failures = 1
            with pytest.raises(OSError, match="Input/output"):
                await w.fs.fsync(fh)
            with pytest.raises(OSError, match="written again"):
                await w.fs.fsync(fh)
        await w.fs.write(fh, 0, b"bytes")
        await w.close(fh)
        assert store.contents() == {"f": b"bytes"}


async def test_what_is_removed_need_not_be_written_again(tmp_path: Path, disk: Disk) -> None:
    store = MemoryStore()
    async with world(store, tmp_path) as w:
        await refused(w, disk)
        await w.unlink("f")
        await w.fs.flush_path()
        assert store.contents() == {}
        assert w.fs.pending() == ()
    assert not list((tmp_path / "staging").iterdir())

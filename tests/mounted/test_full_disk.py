"""What docs promise of a full local disk, on a real mount whose cache directory is a small disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from b2mount.emulator.faults import Fault
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
AWAY = Fault(endpoint="b2_*upload*", status=503, code="service_unavailable", message="Away.")


@pytest.fixture
def on_small_disk(make_mount: MountMaker) -> Iterator[Callable[..., Mount]]:
    """Makes a mount whose cache directory is a disk of so many MiB."""
    disks: list[Path] = []

    def make(size: int, *options: str) -> Mount:
        mount = make_mount.prepare(*options)
        mount.cache.mkdir()
        disks.append(mount.cache)
        mount.programs.run("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", mount.cache)
        mount.expect_log("Errno 28")
        mount.start()
        return mount

    yield make
    try:
        make_mount.server.faults.clear()
        make_mount.close()
    finally:
        for disk in disks:
            subprocess.run(["umount", "--lazy", disk], check=True, timeout=10)


def free(mount: Mount) -> int:
    """Bytes that are free on the small disk."""
    disk = os.statvfs(mount.cache)
    return disk.f_bavail * disk.f_frsize


def occupy(mount: Mount, left: int = 0) -> Path:
    """Somebody else's file takes all but so many bytes of the small disk."""
    path = mount.cache / "ballast"

    def is_full() -> bool:
        with path.open("ab") as ballast, suppress(OSError):  # the cache may be sooner, or give way
            os.posix_fallocate(ballast.fileno(), path.stat().st_size, max(1, free(mount) - left))
        return free(mount) <= left

    wait_until(is_full, "the disk is full")
    return path


def cached(mount: Mount) -> int:
    """Bytes of the block cache."""
    code, output = mount.b2mount("status", "--json", mount.path)
    assert code == 0, output
    return cast(int, json.loads(output)["cache_bytes"])


def read_into_cache(mount: Mount, sizes: list[int]) -> None:
    """Files `seen-0` and so on are in the bucket, and as far as possible in the cache."""
    for number, size in enumerate(sizes):
        assert_same_bytes((mount.path / f"seen-{number}").read_bytes(), pattern(number, size))


def fill(descriptor: int, limit: int = 200) -> bytes:
    """Append what fits, up to `limit` MiB; returns what the system has taken."""
    written = bytearray()
    for number in range(limit):
        piece = pattern(1000 + number, MIB)
        try:
            done = os.write(descriptor, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return bytes(written)
        written += piece[:done]
    raise AssertionError("all of it fitted")


def test_cached_blocks_make_room_first(on_small_disk: Callable[..., Mount]) -> None:
    mount, sizes = on_small_disk(48), [8 * MIB] * 4
    for number, size in enumerate(sizes):
        mount.bucket.put(f"seen-{number}", pattern(number, size))
    read_into_cache(mount, sizes)
    wait_until(lambda: cached(mount) >= 32 * MIB, "the blocks are on the disk")
    assert free(mount) < 16 * MIB
    data = pattern(9, 40 * MIB)
    (mount.path / "new").write_bytes(data)
    assert cached(mount) < 16 * MIB
    assert_same_bytes(mount.bucket.read("new"), data)
    mount.remount()
    read_into_cache(mount, sizes)
    wait_until(lambda: cached(mount) > 16 * MIB, "there is room again, and blocks are kept again")


def test_the_cache_leaves_a_part_of_the_disk_to_others(on_small_disk: Callable[..., Mount]) -> None:
    mount, sizes = on_small_disk(40), [8 * MIB] * 8
    for number, size in enumerate(sizes):
        mount.bucket.put(f"seen-{number}", pattern(number, size))
    for number in range(len(sizes)):
        read_into_cache(mount, sizes[: number + 1])
        assert free(mount) >= 2 * MIB - 64 * 1024, "5 % of it, but for the directories of blocks"
    assert cached(mount) > 30 * MIB
    ballast = occupy(mount)
    mount.remount()
    read_into_cache(mount, sizes)
    ballast.unlink()
    data = pattern(9, free(mount) + cached(mount) // 2)
    (mount.path / "new").write_bytes(data)
    assert_same_bytes(mount.bucket.read("new"), data)


def test_a_full_staging_disk(on_small_disk: Callable[..., Mount]) -> None:
    """A full staging disk is ENOSPC at `write()` and leaves the file as the last completed write had it;
    there is room again when the file has gone."""
    mount = on_small_disk(24)
    (mount.path / "before").write_bytes(pattern(1, MIB))
    descriptor = os.open(mount.path / "big", os.O_RDWR | os.O_CREAT)
    try:
        written = fill(descriptor)
        assert 16 * MIB < len(written) < 24 * MIB
        assert os.fstat(descriptor).st_size == len(written)
        assert_same_bytes((mount.path / "big").read_bytes(), written)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    assert_same_bytes(mount.bucket.read("big"), written)
    (mount.path / "big").unlink()
    (mount.path / "small").write_bytes(b"small")
    assert mount.bucket.read("small") == b"small"
    assert_same_bytes((mount.path / "before").read_bytes(), pattern(1, MIB))


def test_a_program_can_go_on_when_there_is_room_again(on_small_disk: Callable[..., Mount]) -> None:
    mount = on_small_disk(32)
    ballast = occupy(mount, 8 * MIB)
    descriptor = os.open(mount.path / "file", os.O_RDWR | os.O_CREAT)
    try:
        written = fill(descriptor)
        os.fsync(descriptor)
        assert os.pwrite(descriptor, b"over", 100) == 4, "what has its place already can be written over"
        ballast.unlink()
        assert os.write(descriptor, b"more" * 100_000) == 400_000
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    expected = written[:100] + b"over" + written[104:] + b"more" * 100_000
    assert_same_bytes((mount.path / "file").read_bytes(), expected)
    assert_same_bytes(mount.bucket.read("file"), expected)


def test_what_could_not_be_written_over_is_as_before(on_small_disk: Callable[..., Mount]) -> None:
    """Also where the kernel has the pages."""
    mount, data = on_small_disk(24, "--cache-size=0"), pattern(1, MIB)
    (mount.path / "file").write_bytes(data)
    assert (mount.path / "file").read_bytes() == data
    occupy(mount, 0)
    descriptor = os.open(mount.path / "file", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="No space left"):
            os.pwrite(descriptor, b"changed", 5000)
        assert_same_bytes(os.pread(descriptor, 2 * MIB, 0), data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    assert_same_bytes(mount.bucket.read("file"), data)


MAP = """
import mmap, os, sys
size = 16 << 20
with open(sys.argv[1], "r+b") as file:
    os.ftruncate(file.fileno(), size)
    with mmap.mmap(file.fileno(), size) as pages:
        pages[:] = b"x" * size
        try:
            pages.flush()
        except OSError as error:
            print("msync", error.errno)
        os.unlink(sys.argv[2])
        pages[:] = b"y" * size
        pages.flush()
"""


def test_a_memory_map_is_told(on_small_disk: Callable[..., Mount]) -> None:
    """And once there is room again, all that is written is there."""
    mount = on_small_disk(32)
    ballast = occupy(mount, 8 * MIB)
    (mount.path / "file").write_bytes(b"")
    output = mount.programs.run(sys.executable, "-c", MAP, mount.path / "file", ballast)
    assert output.split() == ["msync", str(errno.ENOSPC)]
    assert_same_bytes(mount.bucket.read("file"), b"y" * (16 * MIB))


def write_until_full(mount: Mount) -> dict[str, bytes]:
    """Files of a mebibyte, until one can't be written; what was acknowledged by its close."""
    kept: dict[str, bytes] = {}
    for number in range(100):
        descriptor = os.open(mount.path / f"file-{number}", os.O_WRONLY | os.O_CREAT)
        data = pattern(number, MIB)
        try:
            done = os.write(descriptor, data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            done = 0
        os.close(descriptor)
        kept[f"file-{number}"] = data[:done]
        if done < MIB:
            return kept
    raise AssertionError("all of them fitted")


def test_nothing_is_lost_while_b2_is_away_and_the_disk_is_full(
    on_small_disk: Callable[..., Mount], make_mount: MountMaker
) -> None:
    """Not by a crash, and the next mount begins on the full disk; `flush` sends all."""
    mount = on_small_disk(24, "--write-back=0", "--retry-for=1")
    for known in ("trying again", "could be sent", "left to the next mount", "and so are"):
        mount.expect_log(known)
    mount.bucket.put("seen-0", pattern(0, 4 * MIB))
    read_into_cache(mount, [4 * MIB])
    make_mount.server.faults.replace([AWAY])
    kept = write_until_full(mount)
    assert len(kept) > 20, "cached blocks have made room"
    occupy(mount)
    mount.kill()
    mount.start()
    for name, data in kept.items():
        assert_same_bytes((mount.path / name).read_bytes(), data)
    assert mount.stop(signal.SIGTERM) == 8
    mount.start()
    make_mount.server.faults.clear()
    code, output = mount.b2mount("flush", mount.path, timeout=100)
    assert code == 0, output
    for name, data in kept.items():
        assert_same_bytes(mount.bucket.read(name), data)
    assert not list(next(mount.cache.glob("*/staging")).iterdir())


def test_df_tells_when_little_is_left(on_small_disk: Callable[..., Mount]) -> None:
    mount = on_small_disk(100)

    def told() -> int:
        space = os.statvfs(mount.path)
        return space.f_bavail * space.f_frsize

    assert told() == 2**50
    ballast = occupy(mount, 10 * MIB)
    assert 9 * MIB < told() <= 10 * MIB + 4096
    ballast.unlink()
    assert told() == 2**50

"""What docs promise of reading, sentence by sentence, on a real mount."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from b2mount.emulator.faults import Fault
from tests.files_below import bytes_below, stats
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20


def downloads(maker: MountMaker) -> int:
    """Requests for bytes so far."""
    return sum(count for name, count in maker.server.counts.calls.items() if name.startswith("b2_download"))


def block_files(mount: Mount) -> list[Path]:
    """The cached blocks of a mount."""
    found = [one for blocks in mount.cache.glob("*/blocks") for one in stats(blocks).items()]
    return [path for path, status in found if status.st_size > 4096]


def stored_bytes(mount: Mount) -> int:
    """Of all block files together."""
    return sum(bytes_below(blocks) for blocks in mount.cache.glob("*/blocks"))


def test_an_open_file_keeps_its_version(make_mount: MountMaker) -> None:
    """An open file is pinned to one object version until the last close."""
    bucket = make_mount.bucket()
    old, new = pattern(1, 30 * MIB), pattern(2, 20 * MIB)
    bucket.put("file", old)
    mount = make_mount("--ttl=1", bucket=bucket)
    path = mount.path / "file"
    with path.open("rb", buffering=0) as first:
        assert first.read(1000) == old[:1000]
        bucket.put("file", new)
        wait_until(lambda: path.stat().st_size == len(new), "the new version is seen")
        with path.open("rb", buffering=0) as second:
            assert second.read(1000) == new[:1000]
            assert_same_bytes(os.pread(first.fileno(), 5000, 25 * MIB), old[25 * MIB : 25 * MIB + 5000])
            assert_same_bytes(os.pread(second.fileno(), 5000, 15 * MIB), new[15 * MIB : 15 * MIB + 5000])
        assert os.fstat(first.fileno()).st_size == len(old)
        first.seek(0)
        assert b"".join(iter(lambda: first.read(MIB), b"")) == old
    assert_same_bytes(path.read_bytes(), new)


def test_a_version_that_is_hidden_while_open_can_be_read(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    data = pattern(1, 20 * MIB)
    bucket.put("file", data)
    mount = make_mount("--ttl=1", bucket=bucket)
    with (mount.path / "file").open("rb", buffering=0) as file:
        assert_same_bytes(file.read(10), data[:10])
        bucket.bucket.hide_file("file")
        wait_until(lambda: not (mount.path / "file").exists(), "the file is gone")
        assert_same_bytes(os.pread(file.fileno(), MIB, 18 * MIB), data[18 * MIB : 19 * MIB])


def test_a_broken_block_is_fetched_again(make_mount: MountMaker) -> None:
    """Blocks on disk carry a checksum; a block that fails it is fetched again."""
    bucket, data = make_mount.bucket(), pattern(1, 3 * MIB)
    bucket.put("file", data)
    mount = make_mount(bucket=bucket)
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    mount.umount()
    blocks = block_files(mount)
    assert blocks
    for path in blocks:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    before = downloads(make_mount)
    mount.expect_log("block")
    mount.start()
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    assert downloads(make_mount) > before


def test_the_cache_outlives_the_mount(make_mount: MountMaker) -> None:
    """The cache is kept across remounts."""
    bucket, data = make_mount.bucket(), pattern(1, 6 * MIB)
    bucket.put("file", data)
    mount = make_mount(bucket=bucket)
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    before = downloads(make_mount)
    mount.remount()
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    assert downloads(make_mount) == before
    mount.remount(fresh_cache=True)
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    assert downloads(make_mount) > before


def test_the_cache_keeps_to_its_size(make_mount: MountMaker) -> None:
    """The cache is ... trimmed by least recent use to `--cache-size`."""
    bucket = make_mount.bucket()
    for number in range(10):
        bucket.put(f"file-{number}", pattern(number, 4 * MIB))
    mount = make_mount("--cache-size=12M", bucket=bucket)
    for number in range(10):
        assert_same_bytes((mount.path / f"file-{number}").read_bytes(), pattern(number, 4 * MIB))

    def used() -> int:
        return stored_bytes(mount)

    wait_until(lambda: used() <= 13 * MIB, "the cache is trimmed")
    assert used() >= 6 * MIB
    mount.remount()
    before = downloads(make_mount)
    assert_same_bytes((mount.path / "file-9").read_bytes(), pattern(9, 4 * MIB))
    assert downloads(make_mount) == before, "the file that was used last was dropped"
    assert_same_bytes((mount.path / "file-0").read_bytes(), pattern(0, 4 * MIB))
    assert downloads(make_mount) > before


def test_what_is_unsent_is_no_cache(make_mount: MountMaker) -> None:
    """The cache ... never evicts anything unsent."""
    mount = make_mount("--cache-size=4M", "--write-back=0", "--retry-for=120")
    mount.expect_log("WARNING")
    make_mount.server.faults.replace([Fault(endpoint="b2_upload*"), Fault(endpoint="b2_get_upload*")])
    contents = {f"file-{number}": pattern(number, 4 * MIB) for number in range(5)}
    for name, data in contents.items():
        (mount.path / name).write_bytes(data)
    for name, data in contents.items():
        assert_same_bytes((mount.path / name).read_bytes(), data)
    make_mount.server.faults.clear()
    assert mount.b2mount("flush", mount.path)[0] == 0
    for name, data in contents.items():
        assert_same_bytes(mount.bucket.read(name), data)


def test_reading_in_order_fetches_ahead_and_reading_here_and_there_does_not(make_mount: MountMaker) -> None:
    """A random read fetches little more than it asks for."""
    bucket, data = make_mount.bucket(), pattern(1, 64 * MIB)
    bucket.put("file", data)
    mount = make_mount(bucket=bucket)
    counts = make_mount.server.counts
    dice = random.Random(5)
    before = counts.bytes_out
    with (mount.path / "file").open("rb", buffering=0) as file:
        for _ in range(20):
            start = dice.randrange(63 * MIB)
            assert_same_bytes(os.pread(file.fileno(), 65_536, start), data[start : start + 65_536])
    time.sleep(0.3)  # whatever is fetched ahead would be on its way by now
    assert counts.bytes_out - before < 24 * MIB
    before = counts.bytes_out
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    assert counts.bytes_out - before <= 66 * MIB

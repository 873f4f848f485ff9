"""Files past 256 MiB are sent while they are written; a large upload that was cut goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from b2mount.emulator.shaping import Shape
from tests.mounted.bucket import sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.processes import wait_until
from tests.mounted.trees import pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
SIZE = 300 * MIB


@pytest.fixture
def slow_uploads(make_mount: MountMaker) -> Iterator[None]:
    make_mount.server.shape = Shape(total_bytes_per_second=40e6)
    yield
    make_mount.server.shape = Shape()


def sent_bytes(make_mount: MountMaker) -> int:
    return make_mount.server.counts.bytes_in


def big_pattern(seed: int, size: int) -> bytes:
    return b"".join(pattern(seed + number, 10 * MIB) for number in range(size // (10 * MIB)))


def test_a_file_is_on_its_way_before_it_is_closed(make_mount: MountMaker) -> None:
    """A file past 256 MiB that is being written front to back is already being sent while it is written."""
    mount, data = make_mount(), big_pattern(1, SIZE)
    before = sent_bytes(make_mount)
    with (mount.path / "big").open("wb") as file:
        file.write(data)
        file.flush()
        wait_until(lambda: sent_bytes(make_mount) - before > 200 * MIB, "most of it is sent")
        assert "big" not in mount.bucket.objects(), "nobody sees half a file"
        file.seek(1000)
        file.write(b"the header, last")
    data = data[:1000] + b"the header, last" + data[1016:]
    assert mount.bucket.objects()["big"].sha1 == sha1_of(data)
    assert mount.bucket.versions("big") == ["upload"]
    assert sent_bytes(make_mount) - before < SIZE + 40 * MIB
    modified = (mount.path / "big").stat().st_mtime_ns
    mount.remount(fresh_cache=True)
    assert (mount.path / "big").stat().st_mtime_ns == modified


@pytest.mark.usefixtures("slow_uploads")
@pytest.mark.parametrize(
    ("size", "mark"),
    [(100 * MIB, 80 * MIB), (SIZE, 200 * MIB)],
    ids=["after the close", "while it was written"],
)
def test_a_cut_upload_goes_on_from_the_parts_that_b2_has(
    make_mount: MountMaker, size: int, mark: int
) -> None:
    """A large upload that was interrupted goes on from the parts that B2 has."""
    mount, data = make_mount("--write-back=0"), big_pattern(2, size)
    before = sent_bytes(make_mount)
    descriptor = os.open(mount.path / "big", os.O_CREAT | os.O_WRONLY)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:MIB]) :]
    os.fsync(descriptor)
    if size == 100 * MIB:
        os.close(descriptor)
    wait_until(lambda: sent_bytes(make_mount) - before > mark, "some parts are sent")
    mount.kill()
    make_mount.server.shape = Shape()
    mount.start()
    mount.b2mount("flush", mount.path)
    assert mount.bucket.objects()["big"].sha1 == sha1_of(data)
    assert mount.bucket.versions("big") == ["upload"]
    # what was under way in each of the eight connections is sent again
    assert sent_bytes(make_mount) - before < size + 8 * (16 * MIB if size == SIZE else 5 * MIB)
    if size == SIZE:
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            os.close(descriptor)

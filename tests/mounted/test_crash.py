"""The mount dies at the worst moment; nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from b2mount.emulator.faults import Fault, FaultKind
from tests.mounted.bucket import sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import mount_entry, wait_until
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

GONE = r"endpoint is not connected|connection abort"

BUSY = (
    Fault(endpoint="b2_upload_*", status=503),
    Fault(endpoint="b2_get_upload_*", status=503),
    Fault(endpoint="b2_start_large_file", status=503),
    Fault(endpoint="b2_copy_*", status=503),
)
"""B2 takes nothing, and says that trying again may help."""


def wait_until_stored(mount: Mount, key: str, data: bytes, timeout: float = 40) -> None:
    """Until the bucket has these bytes under this name."""

    def stored() -> bool:
        found = mount.bucket.objects().get(key)
        return found is not None and found.sha1 == sha1_of(data)

    wait_until(stored, f"{key} in the bucket", timeout)


@contextmanager
def held_back(make_mount: MountMaker) -> Iterator[None]:
    """Inside, no upload succeeds."""
    make_mount.server.faults.replace(BUSY)
    yield
    make_mount.server.faults.clear()


@pytest.mark.parametrize("size", [1000, 20_000_000])
def test_bytes_that_were_synced_survive_a_kill(make_mount: MountMaker, size: int) -> None:
    """`fsync()` returns when the data is durable on the local disk. Nothing acknowledged is lost: not by
    `kill -9` ...; the next mount with the same cache directory sends it."""
    mount, data = make_mount(), pattern(1, size)
    with held_back(make_mount):
        descriptor = os.open(mount.path / "file", os.O_CREAT | os.O_WRONLY)
        assert os.write(descriptor, data) == size
        os.fsync(descriptor)
        mount.kill()
        with pytest.raises(OSError, match=GONE):
            os.close(descriptor)
        assert mount.bucket.objects() == {}
    mount.start()
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    wait_until_stored(mount, "file", data)
    mount.remount(fresh_cache=True)
    assert_same_bytes((mount.path / "file").read_bytes(), data)


def test_a_change_that_was_synced_survives_a_kill(make_mount: MountMaker) -> None:
    """A few bytes inside a file that is in B2 already, on top of what B2 has."""
    mount, data = make_mount(), bytearray(pattern(2, 12_000_000))
    (mount.path / "file").write_bytes(data)
    with held_back(make_mount):
        descriptor = os.open(mount.path / "file", os.O_RDWR)
        os.pwrite(descriptor, b"changed", 6_000_000)
        os.ftruncate(descriptor, 11_000_000)
        os.fsync(descriptor)
        mount.kill()
        with pytest.raises(OSError, match=GONE):
            os.close(descriptor)
    data[6_000_000:6_000_007] = b"changed"
    mount.start()
    assert_same_bytes((mount.path / "file").read_bytes(), data[:11_000_000])
    wait_until_stored(mount, "file", bytes(data[:11_000_000]))


def test_with_write_back_a_closed_file_survives_a_kill(make_mount: MountMaker) -> None:
    """With `--write-back[=SECONDS]` it returns when the file is durable on the local disk, and the upload
    follows."""
    mount = make_mount("--write-back=30")
    (mount.path / "sub").mkdir()
    contents = {f"sub/file-{number}": pattern(number, 5000 * number) for number in range(20)}
    for name, data in contents.items():
        (mount.path / name).write_bytes(data)
    (mount.path / "sub/file-3").unlink()
    os.rename(mount.path / "sub/file-4", mount.path / "sub/renamed")
    (mount.path / "sub/file-5").chmod(0o600)
    os.utime(mount.path / "sub/file-5", ns=(10**18, 10**18 + 1))
    del contents["sub/file-3"]
    contents["sub/renamed"] = contents.pop("sub/file-4")
    mount.kill()
    assert not set(contents) & set(mount.bucket.objects())
    mount.options = ("--write-back=0",)
    mount.start()
    assert sorted(os.listdir(mount.path / "sub")) == sorted(name.removeprefix("sub/") for name in contents)
    for name, data in contents.items():
        assert_same_bytes((mount.path / name).read_bytes(), data)
        wait_until_stored(mount, name, data)
    status = (mount.path / "sub/file-5").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 10**18 + 1)
    assert "sub/file-3" not in mount.bucket.objects()
    assert "sub/file-4" not in mount.bucket.objects()


def test_a_kill_in_the_middle_of_an_upload_loses_nothing(make_mount: MountMaker) -> None:
    mount, data = make_mount("--write-back=0"), pattern(3, 50_000_000)
    server = make_mount.server
    server.shape = type(server.shape)(connection_bytes_per_second=3_000_000)
    try:
        begun = server.counts.bytes_in
        (mount.path / "big").write_bytes(data)
        wait_until(lambda: server.counts.bytes_in > begun + 5_000_000, "the upload has begun")
        mount.kill()
    finally:
        server.shape = type(server.shape)()
    assert mount.bucket.objects() == {}
    mount.start()
    assert_same_bytes((mount.path / "big").read_bytes(), data)
    wait_until_stored(mount, "big", data)


def test_an_unmount_with_unsent_files_keeps_them(make_mount: MountMaker) -> None:
    """Nothing acknowledged is lost: not by ... an unmount; the next mount with the same cache directory sends
    it."""
    mount = make_mount("--write-back=60", "--retry-for=2")
    with held_back(make_mount):
        (mount.path / "file").write_bytes(b"unsent")
        mount.expect_log("WARNING")
        code, output = mount.b2mount("umount", "--now", mount.path)
        assert code == 8, output
        assert mount.wait_for_end() == 8
    mount.options = ("--write-back=0",)
    mount.start()
    assert (mount.path / "file").read_bytes() == b"unsent"
    wait_until_stored(mount, "file", b"unsent")


def test_a_dead_mount_point_is_recovered_by_the_next_mount(mount: Mount) -> None:
    (mount.path / "file").write_bytes(b"bytes")
    mount.kill()
    assert mount_entry(mount.path) is not None
    with pytest.raises(OSError, match=GONE):
        os.listdir(mount.path)
    mount.start()
    assert (mount.path / "file").read_bytes() == b"bytes"


def test_an_aborted_connection_ends_the_mount_cleanly(make_mount: MountMaker) -> None:
    """`umount -f` aborts the connection; what was written until then is sealed and sent."""
    mount = make_mount()
    mount.expect_log("abort")
    descriptor = os.open(mount.path / "file", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"written")
    os.fsync(descriptor)
    mount.programs.abort()
    assert mount.wait_for_end() == 0, mount.log()
    with pytest.raises(OSError, match=GONE):
        os.close(descriptor)
    assert mount_entry(mount.path) is None
    assert mount.bucket.read("file") == b"written"
    mount.start()
    assert (mount.path / "file").read_bytes() == b"written"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_mount_and_sends_what_is_left(make_mount: MountMaker, number: int) -> None:
    mount = make_mount("--write-back=60")
    (mount.path / "file").write_bytes(b"bytes")
    assert mount.bucket.objects() == {}
    assert mount.stop(number) == 0
    assert mount_entry(mount.path) is None
    assert mount.bucket.read("file") == b"bytes"


def test_a_forced_unmount_of_a_busy_mount_leaves_no_dead_mount(make_mount: MountMaker) -> None:
    mount = make_mount()
    mount.expect_log("abort")
    descriptor = os.open(mount.path / "file", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"written")
    mount.programs.attempt(["umount", "--force", str(mount.path)], timeout=30)
    assert mount.wait_for_end() == 0, mount.log()
    with pytest.raises(OSError, match=GONE):
        os.close(descriptor)
    assert mount_entry(mount.path) is None
    assert mount.bucket.read("file") == b"written"


def test_a_signal_after_the_unmount_leaves_others_mounts_alone(
    make_mount: MountMaker,
) -> None:
    """The first one lets it go on sending, the second one leaves that to the next mount."""
    mount = make_mount("--write-back=0")
    mount.expect_log("left to the next mount")
    make_mount.server.faults.replace([Fault(FaultKind.DELAY, endpoint="b2_upload_file", seconds=30)])
    (mount.path / "file").write_bytes(b"bytes")
    mount.programs.run("umount", mount.path, timeout=30)
    mount.programs.run("mount", "-t", "tmpfs", "tmpfs", mount.path, timeout=30)
    try:
        assert mount.process is not None
        mount.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM: sending the rest" in mount.log(), "the signal is heard")
        assert mount.stop() == 8
        entry = mount_entry(mount.path)
        assert entry is not None
        assert entry.kind == "tmpfs"
    finally:
        mount.programs.run("umount", mount.path, timeout=30)
    make_mount.server.faults.clear()
    mount.start()
    wait_until_stored(mount, "file", b"bytes")


def test_a_rename_of_a_directory_that_was_cut_off_is_finished(make_mount: MountMaker) -> None:
    """`rename` ... of a directory, does so for every file, in parallel, journaled: a crash finishes it at the
    next mount."""
    mount = make_mount()
    (mount.path / "old").mkdir()
    contents = {f"file-{number}": pattern(number, 100) for number in range(40)}
    for name, data in contents.items():
        (mount.path / "old" / name).write_bytes(data)
    server = make_mount.server
    server.faults.replace([Fault(endpoint="b2_copy_file", status=503, skip=10)])
    mover = mount.programs.start(["mv", mount.path / "old", mount.path / "new"])
    wait_until(lambda: server.faults.report()[0][1] >= 1, "the rename is half done")
    mount.kill()
    mount.programs.finish(mover)
    server.faults.clear()
    mount.start()
    found = mount.path / "new"
    wait_until(lambda: found.exists() and len(os.listdir(found)) == 40, "the rename is finished")
    assert {name: (found / name).read_bytes() for name in os.listdir(found)} == contents
    assert not (mount.path / "old").exists()
    stored = [key for key in mount.bucket.objects() if not key.endswith(".bzEmpty")]
    assert sorted(stored) == sorted(f"new/{name}" for name in contents)

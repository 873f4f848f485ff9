"""What docs promise of writing, sentence by sentence, on a real mount."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from pathlib import Path

import pytest

from b2mount.emulator.faults import Fault
from tests.mounted.bucket import sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
FULL = Fault(endpoint="b2_upload*", status=403, code="storage_cap_exceeded", message="Storage cap exceeded.")
REFUSED = Fault(endpoint="b2_upload*", status=401, code="unauthorized", message="not allowed")


def error_of_close(path: Path, data: bytes) -> str | None:
    """The errno that writing a file ends with."""
    try:
        path.write_bytes(data)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def pending(mount: Mount) -> list[dict[str, object]]:
    """What `status` says is unsent."""
    code, output = mount.b2mount("status", "--json", mount.path)
    assert code == 0, output
    found: list[dict[str, object]] = json.loads(output)["pending"]
    return found


def test_close_returns_when_b2_has_the_file(make_mount: MountMaker) -> None:
    """By default `close()` returns when B2 has the file."""
    mount, server = make_mount(), make_mount.server
    server.shape = type(server.shape)(first_byte_ms=200)
    try:
        for number in range(3):
            (mount.path / "file").write_bytes(pattern(number, 100_000))
            server.shape = type(server.shape)()
            assert_same_bytes(mount.bucket.read("file"), pattern(number, 100_000))
            server.shape = type(server.shape)(first_byte_ms=200)
    finally:
        server.shape = type(server.shape)()
    assert mount.bucket.versions("file") == ["upload"] * 3


def test_close_gives_the_error(make_mount: MountMaker) -> None:
    """... or with the error. A reached storage cap is EDQUOT."""
    mount = make_mount()
    mount.expect_log("cap is reached")
    make_mount.server.faults.replace([FULL])
    assert error_of_close(mount.path / "file", b"kept") == "EDQUOT"
    waiting = pending(mount)
    assert [entry["path"] for entry in waiting] == ["file"]
    assert waiting[0]["reason"]
    make_mount.server.faults.clear()
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("file") == b"kept"
    assert pending(mount) == []


@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_WRONLY])
def test_a_file_that_is_cut_by_its_open_is_empty_in_b2_too(make_mount: MountMaker, access: int) -> None:
    mount = make_mount()
    (mount.path / "file").write_bytes(b"bytes")
    os.close(os.open(mount.path / "file", access | os.O_TRUNC))
    assert mount.bucket.read("file") == b""


def test_an_upload_that_cannot_succeed_stays_staged(make_mount: MountMaker) -> None:
    """An upload that can't succeed stays staged, is named in `status` with its reason, and is tried again by
    `flush`."""
    mount = make_mount("--write-back=0")
    mount.expect_log("file")
    make_mount.server.faults.replace([FULL])
    (mount.path / "file").write_bytes(b"kept")
    wait_until(lambda: any(entry["state"] == "failed" for entry in pending(mount)), "the upload has failed")
    assert "cap" in str(pending(mount)[0]["reason"]).lower()
    code, output = mount.b2mount("flush", mount.path)
    assert code == 8, output
    assert "file" in output
    assert (mount.path / "file").read_bytes() == b"kept"
    make_mount.server.faults.clear()
    assert mount.b2mount("flush", mount.path / "file")[0] == 0
    assert mount.bucket.read("file") == b"kept"


def test_write_back_waits_for_the_last_change(make_mount: MountMaker) -> None:
    """... and the upload follows (after SECONDS, 1 if not given, without a further change, so that
    write-chmod-rename ends as one upload under the final name)."""
    mount = make_mount("--write-back=2")
    begun = time.monotonic()
    (mount.path / "temporary").write_bytes(b"content")
    (mount.path / "temporary").chmod(0o600)
    os.utime(mount.path / "temporary", ns=(10**18, 10**18))
    os.rename(mount.path / "temporary", mount.path / "final")
    acknowledged = time.monotonic() - begun
    assert mount.bucket.objects() == {}
    wait_until(lambda: "final" in mount.bucket.objects(), "the file is sent")
    assert acknowledged < 1.5 <= time.monotonic() - begun
    assert mount.bucket.versions("final") == ["upload"]
    assert mount.bucket.versions("temporary") == []
    info = mount.bucket.objects()["final"].info
    assert info["src_last_modified_millis"] == str(10**12)
    assert "mode=100600" in info["posix"]
    mount.remount(fresh_cache=True)
    status = (mount.path / "final").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o600, 10**18)


def test_what_is_made_and_removed_at_once_is_never_sent(make_mount: MountMaker) -> None:
    mount, counts = make_mount("--write-back"), make_mount.server.counts
    (mount.path / "warm up").write_bytes(b"")
    wait_until(lambda: "warm up" in mount.bucket.objects(), "the first file is sent")
    uploads = counts.calls["b2_upload_file"]
    for _ in range(10):
        (mount.path / "f.lock").write_bytes(b"lock")
        (mount.path / "f.lock").unlink()
    (mount.path / "last").write_bytes(b"")
    wait_until(lambda: "last" in mount.bucket.objects(), "the last file is sent")
    assert counts.calls["b2_upload_file"] == uploads + 1
    assert mount.bucket.versions("f.lock") == []


@pytest.mark.parametrize("change", ["inside", "append", "both ends"])
def test_editing_a_big_file_sends_what_changed(make_mount: MountMaker, change: str) -> None:
    """Editing a big file sends what changed; the rest is copied inside B2. Appending sends what was appended.
    Neither downloads the file."""
    bucket, data = make_mount.bucket(), bytearray(pattern(1, 80 * MIB))
    bucket.put("file", bytes(data))
    mount, counts = make_mount(bucket=bucket), make_mount.server.counts
    patches = {"inside": [40 * MIB], "append": [80 * MIB], "both ends": [0, 80 * MIB - 50_000]}[change]
    counts.reset()
    with (mount.path / "file").open("r+b", buffering=0) as file:
        for offset in patches:
            piece = random.Random(offset).randbytes(100_000)
            assert os.pwrite(file.fileno(), piece, offset) == 100_000
            data[offset : offset + 100_000] = piece
    assert counts.calls["b2_copy_part"] >= 1
    assert counts.bytes_in + counts.bytes_out < 12 * MIB * len(patches)
    assert_same_bytes(bucket.read("file"), data)
    assert_same_bytes((mount.path / "file").read_bytes(), data)
    mount.remount(fresh_cache=True)
    assert_same_bytes((mount.path / "file").read_bytes(), data)


def test_two_mounts_one_name(make_mount: MountMaker) -> None:
    """Two mounts, one name: the last close wins, and the other version is still there."""
    one = make_mount()
    two = make_mount(bucket=one.bucket)
    (one.path / "file").write_bytes(b"base")
    two.expect_log("file")
    with (two.path / "file").open("r+b", buffering=0) as file:
        file.write(b"two!")
        (one.path / "file").write_bytes(b"one!")
    assert one.bucket.read("file") == b"two!"
    assert one.bucket.versions("file") == ["upload"] * 3


def test_a_change_by_others_between_open_and_close(make_mount: MountMaker) -> None:
    """If a file changed in B2 between open and close, a warning names both versions."""
    mount = make_mount()
    mount.expect_log("file")
    base = mount.bucket.put("file", b"base")
    with (mount.path / "file").open("r+b", buffering=0) as file:
        file.write(b"ours")
        theirs = mount.bucket.put("file", b"theirs")
    ours = mount.bucket.objects()["file"].version_id

    def warned() -> bool:
        warnings = [line for line in mount.log().splitlines() if "WARNING" in line]
        return any(theirs in line and base in line and ours in line for line in warnings)

    wait_until(warned, "the warning")


def test_a_key_that_may_not_write(make_mount: MountMaker) -> None:
    """A missing capability is EACCES. No `writeFiles` means a read-only mount, said in one line at start."""
    bucket = make_mount.bucket()
    bucket.put("file", b"bytes")
    key = make_mount.api.create_key(["listBuckets", "listFiles", "readFiles"], "reader")
    mount = make_mount.prepare(bucket=bucket)
    mount.use_key(key.id_, key.application_key)
    mount.expect_log("writeFiles")
    mount.start()
    assert mount.log().count("writeFiles") == 1
    assert (mount.path / "file").read_bytes() == b"bytes"
    assert error_of_close(mount.path / "new", b"x") == "EROFS"
    with pytest.raises(OSError, match="Read-only"):
        (mount.path / "file").unlink()


def test_a_key_that_is_replaced_while_mounted(make_mount: MountMaker) -> None:
    """A key that B2 does not know any more: EACCES, `status` says why, and another one in the same file sends
    what was written meanwhile."""
    bucket, rights = make_mount.bucket(), ["listBuckets", "listFiles", "readFiles", "writeFiles"]
    bucket.put("file", b"bytes")
    mount = make_mount.prepare(bucket=bucket)
    place = mount.path.parent / "key.json"
    mount.options = ("--credentials", str(place))

    def lacking() -> object:
        return json.loads(mount.b2mount("status", "--json", mount.path)[1])["missing_capabilities"]

    def use_new_key() -> str:
        key = make_mount.api.create_key(rights, "replaced")
        place.touch(mode=0o600)
        place.write_text(json.dumps({"key_id": key.id_, "application_key": key.application_key}))
        return str(key.id_)

    key_id = use_new_key()
    mount.start()
    assert os.listdir(mount.path) == ["file"]
    mount.expect_log("does not know this application key, or it was revoked")
    make_mount.api.delete_key_by_id(key_id)
    assert error_of_close(mount.path / "new", b"kept") == "EACCES"
    with pytest.raises(PermissionError):
        (mount.path / "file").read_bytes()
    (unsent,) = pending(mount)
    assert (unsent["path"], unsent["state"]) == ("new", "failed")
    assert "revoked" in str(unsent["reason"])
    assert lacking() == ["shareFiles"]
    rights.append("shareFiles")
    use_new_key()
    assert (mount.path / "file").read_bytes() == b"bytes"
    wait_until(lambda: pending(mount) == [], "what was unsent is sent")
    assert bucket.read("new") == b"kept"
    assert lacking() == []


def test_a_key_that_loses_its_right_to_write(make_mount: MountMaker) -> None:
    mount = make_mount()
    mount.expect_log("not allowed")
    make_mount.server.faults.replace([REFUSED])
    assert error_of_close(mount.path / "file", b"kept") == "EACCES"
    make_mount.server.faults.clear()
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("file") == b"kept"


@pytest.mark.parametrize("options", [(), ("--write-back=0",)])
def test_a_large_file_is_sent_in_parts_with_its_sha1(
    make_mount: MountMaker, options: tuple[str, ...]
) -> None:
    mount, data = make_mount(*options), pattern(9, 60 * MIB)
    (mount.path / "large").write_bytes(data)
    assert mount.b2mount("flush", mount.path)[0] == 0
    stored = mount.bucket.objects()["large"]
    assert (stored.size, stored.sha1) == (len(data), sha1_of(data))
    assert_same_bytes(mount.bucket.read("large"), data)


def test_as_many_versions_as_wanted_are_kept(make_mount: MountMaker) -> None:
    """`--keep-versions N` removes versions that this mount itself superseded, never others'."""
    bucket = make_mount.bucket()
    bucket.put("file", b"theirs")
    mount = make_mount("--keep-versions=2", bucket=bucket)
    for number in range(4):
        (mount.path / "file").write_bytes(b"%d" % number)
    command = 'cd "$1"; for n in 1 2; do echo $n > new; mv new file; done'
    mount.programs.run("sh", "-c", command, "-", mount.path)
    mount.remount()
    (mount.path / "file").write_bytes(b"last")
    mount.umount()
    assert bucket.read("file") == b"last"
    assert bucket.versions("file") == ["upload"] * 3
    ids = [version.id_ for version in bucket.bucket.list_file_versions("file")]
    data = [make_mount.api.download_file_by_id(each) for each in ids]
    assert [found.download_version.content_length for found in data] == [4, 2, 6]

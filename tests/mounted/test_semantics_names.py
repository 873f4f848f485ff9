"""What docs promise of names and attributes, sentence by sentence, on a real mount."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable

import pytest

from b2mount.emulator.shaping import Shape
from tests.mounted.bucket import sha1_of
from tests.mounted.conftest import Folder, MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until

pytestmark = pytest.mark.kernel


def test_an_empty_directory_is_a_placeholder(folder: Folder) -> None:
    """A directory exists when something is in it or when `mkdir` made it: an empty directory is the object
    `DIR/.bzEmpty`, and that name is hidden."""
    (folder.path / "made" / "below").mkdir(parents=True)
    assert "made/below/.bzEmpty" in folder.objects()
    assert os.listdir(folder.path / "made" / "below") == []
    assert not (folder.path / "made" / "below" / ".bzEmpty").exists()
    (folder.path / "made" / "below").rmdir()
    assert os.listdir(folder.path / "made") == []
    assert not [key for key in folder.objects() if key.startswith("made/below")]


def test_a_directory_of_others_is_there_and_stays_when_it_is_emptied(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.put("a/b/c/file", b"bytes")
    bucket.put("page/.bzEmpty", b"")
    mount = make_mount(bucket=bucket)
    assert sorted(os.listdir(mount.path)) == ["a", "page"]
    assert os.listdir(mount.path / "page") == []
    (mount.path / "a/b/c/file").unlink()
    assert os.listdir(mount.path / "a/b/c") == []
    mount.remount(fresh_cache=True)
    assert os.listdir(mount.path / "a/b/c") == []
    mount.programs.run("rmdir", "-p", "a/b/c", cwd=mount.path)
    assert os.listdir(mount.path) == ["page"]


def test_mtime_is_what_other_tools_write(make_mount: MountMaker) -> None:
    """mtime is `src_last_modified_millis` (as the b2 tool and rclone write it)."""
    bucket = make_mount.bucket()
    bucket.put("theirs", b"x", {"src_last_modified_millis": "1234567890123"})
    bucket.put("without", b"x")
    mount = make_mount(bucket=bucket)
    assert (mount.path / "theirs").stat().st_mtime_ns == 1_234_567_890_123_000_000
    assert abs((mount.path / "without").stat().st_mtime - time.time()) < 100
    (mount.path / "ours").write_bytes(b"x")
    os.utime(mount.path / "ours", ns=(0, 1_111_111_111_222_333_444))
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert bucket.objects()["ours"].info["src_last_modified_millis"] == "1111111111222"


def test_attributes_come_back_with_the_listing(make_mount: MountMaker) -> None:
    """mode, uid, gid, symlink target ... are object info too, and come back with the listing, at no extra
    call."""
    mount = make_mount()
    path = mount.path / "file"
    path.write_bytes(b"x")
    os.chown(path, 1234, 4321)
    path.chmod(0o4751)
    os.utime(path, ns=(5, 1_111_111_111_222_333_444))
    (mount.path / "link").symlink_to("some/where ü")
    for number in range(30):
        (mount.path / f"other-{number}").write_bytes(b"y" * number)
    mount.remount(fresh_cache=True)
    counts = make_mount.server.counts
    counts.reset()
    text = mount.programs.run("ls", "-l", "--numeric-uid-gid", "--time-style=+%s.%N", mount.path)
    lines = {line.split()[6]: line.split() for line in text.splitlines()[1:]}
    assert lines["file"][:6] == ["-rwsr-x--x", "1", "1234", "4321", "1", "1111111111.222333444"]
    assert text.count("other-") == 30
    assert "link -> some/where ü" in text
    assert sum(counts.calls.values()) <= 2, counts.calls


def test_attributes_of_directories_are_kept(mount: Mount) -> None:
    path = mount.path / "directory"
    path.mkdir(0o750)
    os.chown(path, 1234, 4321)
    (path / "inside").write_bytes(b"x")
    path.chmod(0o2770)
    mount.remount(fresh_cache=True)
    assert os.listdir(path) == ["inside"]  # they are with an object in it, so known once it has been listed
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o2770, 1234, 4321)


def test_a_change_of_attributes_copies_inside_b2(make_mount: MountMaker) -> None:
    """A change of attributes alone copies the object inside B2."""
    mount, counts = make_mount(), make_mount.server.counts
    path = mount.path / "file"
    path.write_bytes(b"x" * 1_000_000)
    counts.reset()
    path.chmod(0o600)
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert counts.bytes_in + counts.bytes_out == 0
    assert counts.calls["b2_copy_file"] == 1
    assert mount.bucket.objects()["file"].sha1 == sha1_of(b"x" * 1_000_000)
    assert "mode=100600" in mount.bucket.objects()["file"].info["posix"]


def test_object_names_that_no_path_can_spell(make_mount: MountMaker) -> None:
    """Object names that a path can't spell (`//`, leading `/`, `.`, `..`, a file and a directory of one name,
    a component over 255 bytes) are counted in `status`, never crash a listing."""
    bucket = make_mount.bucket()
    odd = ["/leading", "a//b", "a/./b", "a/../b", "a/", "clash", "clash/below", "n" * 300]
    bucket.fill([*odd, "a/good", "good"], b"bytes")
    mount = make_mount(bucket=bucket)
    assert sorted(os.listdir(mount.path)) == ["a", "clash", "good"]
    assert os.listdir(mount.path / "a") == ["good"]
    assert (mount.path / "clash").exists()
    mount.programs.run("find", mount.path)
    mount.programs.run("ls", "-lR", mount.path)
    code, output = mount.b2mount("status", "--json", mount.path)
    assert code == 0
    assert json.loads(output)["odd_names"] >= 5
    assert bucket.read("a//b") == b"bytes"


CREATORS: dict[str, Callable[[str], object]] = {
    "file": lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
    "directory": os.mkdir,
    "symlink": lambda path: os.symlink("x", path),
    "rename": lambda path: os.rename(os.path.join(os.path.dirname(path), "there"), path),
}
REFUSED = [
    ("n" * 251, "ENAMETOOLONG"),
    ("back\\slash", "EINVAL"),
    ("line\nfeed", "EILSEQ"),
    ("del\x7f", "EILSEQ"),
]


@pytest.mark.parametrize("creator", CREATORS)
@pytest.mark.parametrize(("name", "error"), [*REFUSED, ("not utf-8 \udcff", "EILSEQ")])
def test_a_name_that_b2_refuses(folder: Folder, creator: str, name: str, error: str) -> None:
    """A name that B2 would refuse (over 1,000 bytes, a component over 250, control characters, backslash) is
    refused at create: ENAMETOOLONG, EINVAL or EILSEQ."""
    (folder.path / "there").write_bytes(b"")
    with pytest.raises(OSError, match=r"too long|Invalid|multibyte") as caught:
        CREATORS[creator](f"{folder.path}/{name}")
    assert errno.errorcode[caught.value.errno or 0] == error
    assert os.listdir(folder.path) == ["there"]


def test_a_path_that_b2_refuses(folder: Folder) -> None:
    deep = folder.path
    for _ in range(4):
        deep /= "d" * 230
        deep.mkdir()
    with pytest.raises(OSError, match="too long"):
        (deep / ("f" * 230)).write_bytes(b"")
    (deep / "f").write_bytes(b"fits")
    assert (deep / "f").read_bytes() == b"fits"


def test_rename_copies_and_hides(make_mount: MountMaker) -> None:
    """`rename` of a file copies inside B2 and hides the old name; of a directory, does so for every file."""
    mount, counts = make_mount(), make_mount.server.counts
    (mount.path / "old").mkdir()
    for number in range(5):
        (mount.path / "old" / str(number)).write_bytes(b"x" * 100_000)
    counts.reset()
    os.rename(mount.path / "old", mount.path / "new")
    os.rename(mount.path / "new" / "0", mount.path / "single")
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert counts.bytes_in + counts.bytes_out == 0
    assert sorted(os.listdir(mount.path / "new")) == list("1234")
    assert mount.bucket.versions("old/1") == ["hide", "upload"]
    assert mount.bucket.objects()["single"].sha1 == sha1_of(b"x" * 100_000)
    assert [key for key in mount.bucket.objects() if key.startswith("old")] == []


def test_unlink_hides(mount: Mount) -> None:
    """`unlink` hides (free, and undeletable)."""
    (mount.path / "file").write_bytes(b"x")
    (mount.path / "file").unlink()
    assert mount.bucket.versions("file") == ["hide", "upload"]


def test_unlink_deletes_when_so_wanted(make_mount: MountMaker) -> None:
    """`--unlink=delete` removes every version."""
    mount = make_mount("--unlink=delete")
    (mount.path / "file").write_bytes(b"x")
    (mount.path / "file").write_bytes(b"y")
    (mount.path / "file").unlink()
    assert mount.bucket.versions("file") == []
    (mount.path / "file").write_bytes(b"new")
    assert mount.bucket.read("file") == b"new"


def test_names_of_others_are_seen_after_the_ttl(make_mount: MountMaker) -> None:
    """Names are cached for `--ttl` (60 s)."""
    slow, quick = make_mount(), None
    quick = make_mount("--ttl=1", bucket=slow.bucket)
    for mount in (slow, quick):
        assert os.listdir(mount.path) == []
        assert not (mount.path / "theirs").exists()
    slow.bucket.put("theirs", b"bytes")
    wait_until(lambda: os.listdir(quick.path) == ["theirs"], "the new name is seen", 10)
    assert (quick.path / "theirs").read_bytes() == b"bytes"
    assert os.listdir(slow.path) == []
    assert not (slow.path / "theirs").exists()


def test_names_are_not_asked_for_twice(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.fill([f"d{number % 20}/file-{number}" for number in range(200)], b"x")
    mount, counts = make_mount(bucket=bucket), make_mount.server.counts
    mount.programs.run("find", mount.path, "-size", "+1")
    counts.reset()
    mount.programs.run("find", mount.path, "-size", "+1")
    mount.programs.run("ls", "-lR", mount.path)
    assert sum(counts.calls.values()) == 0, counts.calls


def test_own_changes_are_seen_at_once(make_mount: MountMaker) -> None:
    """What this mount changed is seen by this mount at once."""
    mount, server = make_mount("--write-back=30"), make_mount.server
    server.shape = Shape(first_byte_ms=300)
    try:
        (mount.path / "file").write_bytes(b"12345")
        assert (mount.path / "file").stat().st_size == 5
        assert os.listdir(mount.path) == ["file"]
        (mount.path / "sub").mkdir()
        os.rename(mount.path / "file", mount.path / "sub" / "moved")
        assert os.listdir(mount.path) == ["sub"]
        assert os.listdir(mount.path / "sub") == ["moved"]
        assert (mount.path / "sub" / "moved").read_bytes() == b"12345"
        (mount.path / "sub" / "moved").unlink()
        assert os.listdir(mount.path / "sub") == []
    finally:
        server.shape = Shape()


def test_owner_and_mask_of_files_of_others(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.put("directory/file", b"x")
    mount = make_mount("--uid=1000", "--gid=100", "--umask=027", bucket=bucket)
    status = (mount.path / "directory" / "file").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1000, 100)
    status = (mount.path / "directory").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o750, 1000, 100)


def test_modes_are_heeded_for_other_users(make_mount: MountMaker) -> None:
    mount = make_mount("--allow-other")
    for directory in (mount.path, *mount.path.parents):
        if directory.stat().st_uid == 0 and directory != mount.path:
            directory.chmod(directory.stat().st_mode | 0o011)
    path = mount.path / "file"
    path.write_bytes(b"secret")
    path.chmod(0o600)

    def read_as_nobody() -> subprocess.CompletedProcess[bytes]:
        command = ["cat", str(path)]
        return subprocess.run(
            command, user=65534, group=65534, extra_groups=[], capture_output=True, timeout=20
        )

    assert b"Permission denied" in read_as_nobody().stderr
    path.chmod(0o644)
    assert read_as_nobody().stdout == b"secret"
    mount.umount()
    mount.options = ()
    mount.start()  # without --allow-other
    assert path.stat().st_mode & 0o777 == 0o644
    assert b"Permission denied" in read_as_nobody().stderr


def test_a_directory_of_a_bucket_can_be_mounted(make_mount: MountMaker) -> None:
    """SOURCE: BUCKET[/PREFIX] or b2://BUCKET[/PREFIX]."""
    bucket = make_mount.bucket()
    bucket.fill(["in/side/file", "in/other", "out", "in/side-by"], b"x")
    mount = make_mount.prepare(bucket=bucket)
    mount.source = f"b2://{bucket.name}/in/side"
    mount.start()
    assert os.listdir(mount.path) == ["file"]
    (mount.path / "new").write_bytes(b"new")
    assert bucket.read("in/side/new") == b"new"


def test_a_key_with_a_prefix_mounts_its_prefix(make_mount: MountMaker) -> None:
    """A key limited to a bucket, to several buckets or to a prefix works within its limits; a prefix key
    mounts its prefix."""
    bucket = make_mount.bucket()
    bucket.fill(["mine/file", "theirs/file"], b"x")
    rights = ["listBuckets", "listFiles", "readFiles", "writeFiles"]
    key = make_mount.api.create_key(rights, "limited", bucket_ids=[bucket.bucket.id_], name_prefix="mine/")
    mount = make_mount.prepare(bucket=bucket)
    mount.use_key(key.id_, key.application_key)
    mount.expect_log("the key sees only a part of the bucket")
    mount.start()
    assert "/mine is mounted" in mount.log()
    assert os.listdir(mount.path) == ["file"]
    (mount.path / "new").write_bytes(b"new")
    assert bucket.read("mine/new") == b"new"
    (mount.path / "file").unlink()
    assert sorted(bucket.objects()) == ["mine/new", "theirs/file"]

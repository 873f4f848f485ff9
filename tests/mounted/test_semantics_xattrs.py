"""What docs promise of extended attributes, on a real mount: with the system calls, with getfattr and
setfattr, and with the programs that carry attributes along."""

from __future__ import annotations

import errno
import os
import shutil
import time
import urllib.parse
from datetime import datetime
from pathlib import Path

import pytest

from b2mount.emulator.faults import Fault, FaultKind
from tests.mounted.bucket import RemoteBucket, sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until

pytestmark = pytest.mark.kernel

DATA = b"bytes" * 2000


def xattrs(path: Path) -> dict[str, bytes]:
    """All that are listed."""
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def get(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.b2.{name}").decode()


def refused(code: int, path: Path, name: str, value: bytes, flags: int = 0) -> None:
    with pytest.raises(OSError, match=str(path)) as caught:
        os.setxattr(path, name, value, flags)
    assert caught.value.errno == code, errno.errorcode[caught.value.errno or 0]


def missing(path: Path, name: str, code: int = errno.ENODATA) -> None:
    for ask in (os.getxattr, os.removexattr):
        with pytest.raises(OSError, match=str(path)) as caught:
            ask(path, name)
        assert caught.value.errno == code, errno.errorcode[caught.value.errno or 0]


@pytest.fixture
def stocked(make_mount: MountMaker) -> Mount:
    """A mount of a bucket that holds a file of somebody else's."""
    bucket = make_mount.bucket()
    bucket.put("old.txt", DATA, {"author": "Ana"})
    return make_mount(bucket=bucket)


def test_what_b2_knows_of_a_file(stocked: Mount) -> None:
    path = stocked.path / "old.txt"
    record = stocked.bucket.objects()["old.txt"]
    assert get(path, "file_id") == record.version_id
    assert get(path, "sha1") == record.sha1
    assert get(path, "content_type") == record.content_type == "text/plain"
    assert get(path, "action") == "upload"
    assert get(path, "state") == "clean"
    assert get(path, "info.author") == "Ana"
    assert abs(datetime.fromisoformat(get(path, "uploaded")).timestamp() - time.time()) < 300
    assert urllib.parse.urlsplit(get(path, "url")).path == f"/file/{stocked.bucket.name}/old.txt"
    assert stocked.b2mount("url", path) == (0, get(path, "url") + "\n")


def test_only_what_belongs_to_the_file_is_listed(stocked: Mount) -> None:
    assert xattrs(stocked.path / "old.txt") == {"user.b2.info.author": b"Ana"}
    new = stocked.path / "new"
    new.write_bytes(DATA)
    assert xattrs(new) == {}
    assert xattrs(stocked.path) == {}


def test_asking_costs_no_call(stocked: Mount, make_mount: MountMaker) -> None:
    path = stocked.path / "old.txt"
    path.stat()
    make_mount.server.faults.replace([Fault(FaultKind.ERROR, status=400)])
    assert xattrs(path) == {"user.b2.info.author": b"Ana"}
    assert get(path, "sha1")
    for name in ("security.capability", "system.posix_acl_access", "security.selinux", "trusted.x"):
        missing(path, name, errno.EOPNOTSUPP)
    for name in ("security.selinux", "trusted.x"):  # the kernel itself looks into the others
        refused(errno.EOPNOTSUPP, path, name, b"x")
    missing(path, "user.nothing")
    stocked.programs.run("ls", "-l", path)
    assert sum(count for _, count in make_mount.server.faults.report()) == 0


def test_any_attribute_is_stored_with_the_file(stocked: Mount) -> None:
    """Any other `user.*` attribute is stored with the file, within B2's limit: beyond it ENOSPC."""
    path = stocked.path / "old.txt"
    version = get(path, "file_id")
    os.setxattr(path, "user.comment", b"hello world & caf\xc3\xa9")
    os.setxattr(path, "user.Binary", bytes(range(256)))
    os.setxattr(path, "user.empty", b"")
    expected = {
        "user.comment": b"hello world & caf\xc3\xa9",
        "user.Binary": bytes(range(256)),
        "user.empty": b"",
        "user.b2.info.author": b"Ana",
    }
    assert xattrs(path) == expected
    assert stocked.b2mount("flush", path)[0] == 0
    assert get(path, "file_id") != version
    assert stocked.bucket.read("old.txt") == DATA
    refused(errno.ENOSPC, path, "user.big", b"x" * 3000)
    refused(errno.E2BIG, path, "user.big", b"x" * 70_000)
    assert xattrs(path) == expected
    stocked.remount(fresh_cache=True)
    assert xattrs(path) == expected
    path.chmod(0o640)
    path.write_bytes(b"other bytes")
    path.rename(stocked.path / "renamed")
    assert xattrs(stocked.path / "renamed") == expected
    os.removexattr(stocked.path / "renamed", "user.Binary")
    missing(stocked.path / "renamed", "user.Binary")


def test_create_and_replace(stocked: Mount) -> None:
    path = stocked.path / "old.txt"
    refused(errno.ENODATA, path, "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
    refused(errno.EEXIST, path, "user.a", b"2", os.XATTR_CREATE)
    os.setxattr(path, "user.a", b"3", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.a") == b"3"
    refused(errno.EEXIST, path, "user.b2.info.author", b"2", os.XATTR_CREATE)


def test_content_type_and_info_are_settable(stocked: Mount) -> None:
    path, bucket = stocked.path / "old.txt", stocked.bucket
    assert isinstance(bucket, RemoteBucket)
    os.setxattr(path, "user.b2.content_type", b"text/html")
    os.setxattr(path, "user.b2.info.b2-cache-control", b"max-age=60")
    os.removexattr(path, "user.b2.info.author")
    record = bucket.objects()["old.txt"]
    assert (record.content_type, record.sha1) == ("text/html", sha1_of(DATA))
    assert record.info["b2-cache-control"] == "max-age=60"
    assert "author" not in record.info
    assert bucket.versions("old.txt") == ["upload"] * 4
    stocked.remount(fresh_cache=True)
    assert get(path, "content_type") == "text/html"
    path.write_bytes(b"new bytes")
    assert bucket.objects()["old.txt"].content_type == "text/html"


def test_b2_decides_on_the_content_type_of_a_file_that_was_given_other_attributes(mount: Mount) -> None:
    path = mount.path / "page.html"
    with path.open("wb") as file:
        os.setxattr(path, "user.comment", b"x")
        missing(path, "user.b2.content_type")
        file.write(DATA)
    assert get(path, "content_type") == mount.bucket.objects()["page.html"].content_type == "text/html"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("user.b2.file_id", b"x", errno.EPERM),
        ("user.b2.state", b"x", errno.EPERM),
        ("user.b2.info.posix", b"x", errno.EPERM),
        ("user.b2.nonsense", b"x", errno.EOPNOTSUPP),
        ("user.b2.content_type", b"nonsense", errno.EINVAL),
        ("user.b2.info.two words", b"x", errno.EINVAL),
        ("user.b2.info.key", b"\xff", errno.EINVAL),
        ("user.b2.info.key", b"x" * 3000, errno.ENOSPC),
    ],
)
def test_what_can_not_be_set(stocked: Mount, name: str, value: bytes, code: int) -> None:
    refused(code, stocked.path / "old.txt", name, value)
    assert xattrs(stocked.path / "old.txt") == {"user.b2.info.author": b"Ana"}


def test_directories_and_links(stocked: Mount) -> None:
    directory, link = stocked.path / "d", stocked.path / "link"
    directory.mkdir()
    os.setxattr(directory, "user.comment", b"mine")
    link.symlink_to("old.txt")
    assert os.listxattr(link, follow_symlinks=False) == []
    assert xattrs(link) == {"user.b2.info.author": b"Ana"}
    with pytest.raises(PermissionError):
        os.setxattr(link, "user.comment", b"x", follow_symlinks=False)
    stocked.remount(fresh_cache=True)
    assert os.listdir(directory) == []
    assert xattrs(directory) == {"user.comment": b"mine"}
    refused(errno.EOPNOTSUPP, stocked.path, "user.comment", b"x")


def test_the_state_of_a_file_on_its_way(make_mount: MountMaker) -> None:
    """`.state` (clean, staged, queued, uploading 43%, failed: REASON)."""
    mount = make_mount("--write-back=60", "--retry-for=2")
    path, faults = mount.path / "file", make_mount.server.faults
    with path.open("wb") as file:
        file.write(DATA)
        file.flush()
        assert get(path, "state") == "staged"
        missing(path, "user.b2.sha1")
        missing(path, "user.b2.url")
    assert get(path, "state") == "queued"
    faults.replace([Fault(FaultKind.ERROR, "b2_upload*", status=403, code="storage_cap_exceeded")])
    mount.expect_log("cap")
    assert mount.b2mount("flush", path)[0] == 8
    assert get(path, "state").startswith("failed: ")
    assert get(path, "state") in mount.b2mount("status", mount.path)[1]
    faults.clear()
    assert mount.b2mount("flush", path)[0] == 0
    assert get(path, "state") == "clean"
    assert get(path, "sha1") == sha1_of(DATA)


def test_a_large_upload_says_how_far_it_is(make_mount: MountMaker) -> None:
    mount = make_mount("--write-back=60", "--limit-upload=4M")
    path = mount.path / "large"
    path.write_bytes(os.urandom(1 << 20) * 24)
    flushing = mount.programs.start(["python", "-m", "b2mount", "flush", path])
    wait_until(lambda: get(path, "state").startswith("uploading "), "its upload has begun")
    wait_until(lambda: get(path, "state").removeprefix("uploading ") not in ("0%", "clean"), "it goes on")
    assert mount.programs.finish(flushing)[0] == 0
    assert get(path, "state") == "clean"


def test_a_change_is_merged_with_a_pending_upload(make_mount: MountMaker) -> None:
    mount = make_mount("--write-back=60")
    path = mount.path / "file"
    path.write_bytes(DATA)
    os.setxattr(path, "user.comment", b"x")
    os.setxattr(path, "user.b2.content_type", b"image/png")
    assert mount.bucket.objects() == {}
    mount.kill()
    mount.start()
    assert xattrs(path) == {"user.comment": b"x"}
    assert mount.b2mount("flush", path)[0] == 0
    assert mount.bucket.versions("file") == ["upload"]
    assert mount.bucket.objects()["file"].content_type == "image/png"


def test_getfattr_and_setfattr(stocked: Mount) -> None:
    run, path = stocked.programs.run, stocked.path / "old.txt"
    run("setfattr", "-n", "user.comment", "-v", "hello", path)
    shown = run("getfattr", "--absolute-names", "-d", path)
    assert shown == f'# file: {path}\nuser.b2.info.author="Ana"\nuser.comment="hello"\n\n'
    dump = stocked.place.root / "dump"
    dump.write_text(shown)
    run("setfattr", "-x", "user.comment", path)
    run("setfattr", "-x", "user.b2.info.author", path)
    assert xattrs(path) == {}
    run("setfattr", f"--restore={dump}")
    assert xattrs(path) == {"user.b2.info.author": b"Ana", "user.comment": b"hello"}
    assert stocked.b2mount("flush", path)[0] == 0
    state = run("getfattr", "--only-values", "-n", "user.b2.state", "--absolute-names", path)
    assert state == "clean"


@pytest.mark.parametrize(
    "copy",
    [
        ("cp", "-a", "FROM/.", "TO"),
        ("cp", "-r", "--preserve=all", "FROM/.", "TO"),
        ("rsync", "-aX", "FROM/", "TO"),
        ("sh", "-c", "tar -C FROM --xattrs -cf - . | tar -C TO --xattrs --xattrs-include='*' -xf -"),
    ],
    ids=["cp -a", "cp --preserve=all", "rsync -aX", "tar --xattrs"],
)
@pytest.mark.parametrize("way", ["in", "out", "within"])
def test_programs_carry_attributes_along(make_mount: MountMaker, copy: tuple[str, ...], way: str) -> None:
    """Into the mount, out of it, and inside: the file's own go along, and no program complains."""
    mount = make_mount("--write-back")
    local = mount.place.root / "local"
    local.mkdir()
    source = (local if way == "in" else mount.path) / "from"
    target = (local if way == "out" else mount.path) / "to"
    (source / "d").mkdir(parents=True)
    target.mkdir()
    (source / "d" / "file").write_bytes(DATA)
    (source / "link").symlink_to("d/file")
    os.setxattr(source / "d" / "file", "user.comment", b"a file \xff\x00")
    os.setxattr(source / "d" / "file", "user.b2.info.author", b"Ana")
    os.setxattr(source / "d", "user.comment", b"a directory")
    command = [word.replace("FROM", str(source)).replace("TO", str(target)) for word in copy]
    for _ in range(2):  # the second time it is all there
        output = mount.programs.run(*command)
        assert output == ""
    assert xattrs(target / "d" / "file") == {
        "user.comment": b"a file \xff\x00",
        "user.b2.info.author": b"Ana",
    }
    assert xattrs(target / "d") == {"user.comment": b"a directory"}
    assert (target / "d" / "file").read_bytes() == DATA
    if way != "out":
        assert mount.b2mount("flush", mount.path)[0] == 0
        assert mount.bucket.objects("to/")["to/d/file"].info["author"] == "Ana"


def test_rsync_removes_what_is_gone_and_finds_nothing_to_do_afterwards(make_mount: MountMaker) -> None:
    mount = make_mount("--write-back")
    local = mount.place.root / "local"
    local.mkdir()
    (local / "file").write_bytes(DATA)
    os.setxattr(local / "file", "user.comment", b"x")
    rsync = ("rsync", "-aX", "--itemize-changes", f"{local}/", f"{mount.path}/")
    assert ">f+++++++++ file" in mount.programs.run(*rsync)
    assert mount.programs.run(*rsync) == ""
    os.removexattr(local / "file", "user.comment")
    assert ".f........x file" in mount.programs.run(*rsync)
    assert xattrs(mount.path / "file") == {}
    assert mount.programs.run(*rsync) == ""


def test_moving_to_another_file_system_and_back(stocked: Mount) -> None:
    """mv between file systems copies attributes: `user.b2.` facts stay behind, and come anew."""
    outside = stocked.place.root / "outside"
    stocked.programs.run("mv", stocked.path / "old.txt", outside)
    assert xattrs(outside) == {"user.b2.info.author": b"Ana"}
    shutil.copy2(outside, stocked.path / "copied")
    assert stocked.programs.run("mv", outside, stocked.path / "back") == ""
    for name in ("copied", "back"):
        assert xattrs(stocked.path / name) == {"user.b2.info.author": b"Ana"}
        assert get(stocked.path / name, "sha1") == sha1_of(DATA)

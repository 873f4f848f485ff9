"""A whole account: every bucket is a top directory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel


def whole(make_mount: MountMaker, *options: str) -> Mount:
    mount = make_mount.prepare(*options)
    mount.source = "b2://"
    mount.start()
    return mount


def test_buckets_are_made_filled_and_removed(make_mount: MountMaker) -> None:
    """In a whole-account mount mkdir at the top creates a private bucket and rmdir deletes an empty one."""
    mount = whole(make_mount, "--unlink=delete")
    name = f"made-{mount.bucket.name}"
    top = mount.path / name
    assert mount.bucket.name in os.listdir(mount.path)
    mount.programs.run("mkdir", top)
    bucket = make_mount.api.get_bucket_by_name(name)
    assert bucket.type_ == "allPrivate"
    data = pattern(1, 100_000)
    mount.programs.run("mkdir", "-p", top / "a" / "b")
    (top / "a" / "b" / "file").write_bytes(data)
    mount.programs.run("cp", "-r", top / "a", mount.path / mount.bucket.name)
    assert_same_bytes(mount.bucket.read("a/b/file"), data)
    with pytest.raises(OSError, match="not empty"):
        top.rmdir()
    mount.programs.run("rm", "-r", top / "a")
    mount.expect_log("only buckets stand at the top")
    with pytest.raises(PermissionError):
        (mount.path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Invalid argument"):
        (mount.path / "abc").mkdir()
    mount.programs.run("rmdir", top)
    assert name not in os.listdir(mount.path)
    assert name not in [bucket.name for bucket in make_mount.api.list_buckets()]


def test_a_rename_between_buckets_moves_no_bytes(make_mount: MountMaker) -> None:
    """rename between buckets is a copy inside B2."""
    mount, other = whole(make_mount), make_mount.bucket()
    data = pattern(2, 300_000)
    other.put("dir/file", data)
    calls = make_mount.server.counts.calls
    before = calls["b2_upload_file"], calls["b2_download_file_by_id"]
    (mount.path / other.name / "dir" / "file").rename(mount.path / mount.bucket.name / "moved")
    assert (calls["b2_upload_file"] - before[0], calls["b2_download_file_by_id"]) == (1, before[1])
    assert_same_bytes(mount.bucket.read("moved"), data)
    assert other.versions("dir/file") == ["hide", "upload"]
    assert (mount.path / other.name / "dir").is_dir()


def test_a_key_for_two_buckets_shows_those(make_mount: MountMaker) -> None:
    """A key limited to several buckets works within its limits."""
    one, two = make_mount.bucket(), make_mount.bucket()
    key = make_mount.api.create_key(
        ["listBuckets", "listFiles", "readFiles", "writeFiles"],
        "two-buckets",
        bucket_ids=[one.bucket.id_, two.bucket.id_],
    )
    mount = make_mount.prepare()
    mount.source = "b2://"
    mount.use_key(key.id_, key.application_key)
    mount.expect_log("the key has no writeBuckets")
    mount.expect_log("not allowed to do this")
    mount.start()
    assert sorted(os.listdir(mount.path)) == sorted([one.name, two.name])
    (mount.path / two.name / "x").write_bytes(b"x")
    assert two.read("x") == b"x"
    with pytest.raises(PermissionError):
        (mount.path / "another-bucket").mkdir()
    code, output = mount.b2mount("status", mount.path, "--json")
    assert code == 0
    assert json.loads(output)
    assert "b2://" in output


def test_what_was_not_sent_is_found_again(make_mount: MountMaker) -> None:
    """Nothing acknowledged is lost: the next mount with the same cache directory sends it."""
    mount = whole(make_mount, "--write-back=1000")
    path = mount.path / mount.bucket.name / "d" / "unsent"
    path.parent.mkdir()
    path.write_bytes(b"kept")
    mount.kill()
    mount.start()
    assert path.read_bytes() == b"kept"
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("d/unsent") == b"kept"
    found = subprocess.run(
        ["find", mount.path / mount.bucket.name], capture_output=True, text=True, timeout=60
    )
    assert sorted(map(Path, found.stdout.splitlines())) == [path.parent.parent, path.parent, path]

"""What docs promise of what others change in B2: within the time to live, or at once after `refresh`."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.mounted.bucket import BucketView, RemoteBucket
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
TTL = 1.0
SLACK = 2.0
"""The kernel's clock begins when it gets round to the answer."""
SHORT = f"--ttl={TTL:g}"
LONG = "--ttl=1h"


def hide(bucket: BucketView, key: str) -> None:
    """As another client removes it."""
    assert isinstance(bucket, RemoteBucket)
    bucket.bucket.hide_file(key)


def delete(bucket: BucketView, key: str) -> None:
    """All versions of it, for good."""
    assert isinstance(bucket, RemoteBucket)
    for version in list(bucket.bucket.list_file_versions(key)):
        bucket.bucket.delete_file_version(version.id_, key)


def clear(bucket: BucketView) -> None:
    for key in bucket.objects():
        delete(bucket, key)


def fill(bucket: BucketView) -> None:
    for key in ("same", "replaced", "hidden", "deleted", "becomes/a", "back", "d/e/kept", "d/e/gone"):
        bucket.put(key, f"old {key}".encode())
    bucket.put("becomes-dir", b"old")
    bucket.put("emptied/only", b"old")


def change(bucket: BucketView) -> None:
    """What the other client does."""
    bucket.put("replaced", b"new and longer")
    bucket.put("added", b"new")
    bucket.put("d/e/added", b"new")
    bucket.put("new-dir/below/file", b"new")
    hide(bucket, "hidden")
    delete(bucket, "deleted")
    hide(bucket, "d/e/gone")
    hide(bucket, "emptied/only")
    delete(bucket, "becomes/a")
    bucket.put("becomes", b"a file now")
    delete(bucket, "becomes-dir")
    bucket.put("becomes-dir/inside", b"new")


OLD = {
    ".": "becomes becomes-dir back d deleted emptied hidden replaced same",
    "d/e": "gone kept",
    "becomes": "a",
    "emptied": "only",
    **{name: f"old {name}" for name in ("same", "replaced", "hidden", "deleted", "becomes/a", "d/e/gone")},
    "added": None,
    "d/e/added": None,
    "new-dir/below/file": None,
    "becomes-dir": "old",
    "becomes-dir/inside": None,
}
NEW = {
    ".": "added becomes becomes-dir back d new-dir replaced same",
    "d/e": "added kept",
    "becomes": "a file now",
    "emptied": None,
    **dict.fromkeys(("hidden", "deleted", "becomes/a", "d/e/gone")),
    "same": "old same",
    "replaced": "new and longer",
    "added": "new",
    "d/e/added": "new",
    "new-dir/below/file": "new",
    "becomes-dir": "inside",
    "becomes-dir/inside": "new",
}


def look(root: Path, name: str) -> str | None:
    """What a program sees there: the names of a directory, the text of a file, None for nothing. What
    `stat` says must fit to it."""
    path = root / name
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(status.st_mode):
        return " ".join(sorted(os.listdir(path)))
    text = path.read_text()
    assert len(text) == status.st_size
    return text


def seen(root: Path, names: Iterable[str]) -> dict[str, str | None]:
    return {name: look(root, name) for name in names}


def in_order(expected: dict[str, str | None]) -> dict[str, str | None]:
    """Names in the order of `sorted`."""
    return {k: " ".join(sorted(v.split())) if v and is_listing(k, v) else v for k, v in expected.items()}


def is_between(answer: str | None, old: str | None, new: str | None) -> bool:
    """While it changes: one or the other, nothing, or some of the names of both."""
    known = {*(old or "").split(), *(new or "").split()}
    return answer in (None, old, new) or set((answer or "").split()) <= known


def is_listing(name: str, value: str) -> bool:
    return name == "." or not value.startswith(("old ", "new", "a file"))


def refresh(mount: Mount, below: str = "") -> None:
    code, output = mount.b2mount("refresh", mount.path / below)
    assert (code, output) == (0, "")


def test_after_refresh_everything_is_as_b2_has_it(make_mount: MountMaker) -> None:
    """`b2mount refresh [PATH]` forgets cached names, so the next look asks B2."""
    mount = make_mount(LONG)
    fill(mount.bucket)
    refresh(mount)
    old, new = in_order(OLD), in_order(NEW)
    assert seen(mount.path, OLD) == old
    change(mount.bucket)
    assert seen(mount.path, OLD) == old, "believed for an hour"
    refresh(mount)
    assert seen(mount.path, new) == new
    assert seen(mount.path, new) == new


def test_what_is_looked_at_first_is_right(make_mount: MountMaker) -> None:
    """Not only when the listing that tells of it was read before; and back again."""
    mount = make_mount(LONG)
    old, new = in_order(OLD), in_order(NEW)
    for name in new:
        clear(mount.bucket)
        fill(mount.bucket)
        refresh(mount)
        assert look(mount.path, name) == old.get(name)
        assert seen(mount.path, old) == old
        change(mount.bucket)
        refresh(mount)
        assert look(mount.path, name) == new[name]


def test_within_the_time_to_live_everything_is_as_b2_has_it(make_mount: MountMaker) -> None:
    """Names are cached for `--ttl`, however often somebody looks."""
    mount = make_mount(SHORT)
    fill(mount.bucket)
    old, new = in_order(OLD), in_order(NEW)
    wait_until(lambda: seen(mount.path, old) == old, "the first state is seen")
    begun = time.monotonic()
    change(mount.bucket)
    changed = time.monotonic()
    for name in new:
        is_new = False
        while not is_new or time.monotonic() < changed + TTL:
            asked = time.monotonic()
            answer = look(mount.path, name)
            is_new = answer == new[name]
            may_be_old = asked < changed + TTL + SLACK
            assert is_new or (may_be_old and is_between(answer, old.get(name), new[name])), (name, answer)
    assert seen(mount.path, new) == new
    assert begun < changed


def test_refresh_of_a_path_leaves_the_rest(make_mount: MountMaker) -> None:
    """With PATH, what is at and below it; it need not be known here."""
    mount = make_mount(LONG)
    fill(mount.bucket)
    refresh(mount)
    old, new = in_order(OLD), in_order(NEW)
    seen(mount.path, old)
    change(mount.bucket)
    refresh(mount, "replaced")
    assert look(mount.path, "replaced") == new["replaced"]
    refresh(mount, "d/e/added")
    assert look(mount.path, "d/e/added") == "new"
    refresh(mount, "becomes")
    assert look(mount.path, "becomes") == "a file now"
    refresh(mount, "becomes-dir/inside")
    assert look(mount.path, "emptied/only") == "old", "nobody asked for that"
    refresh(mount, "emptied")
    assert look(mount.path, "emptied/only") is None
    assert look(mount.path, "emptied") is None


def test_who_is_in_a_directory_stays_in_it(make_mount: MountMaker) -> None:
    """Linux before 6.2 can't do that: see fuse/kernel.py."""
    mount = make_mount(LONG)
    fill(mount.bucket)
    refresh(mount)
    directory = mount.path / "d" / "e"
    inside = os.open(directory, os.O_RDONLY)
    try:
        look(mount.path, "d/e/kept")
        change(mount.bucket)
        refresh(mount)
        assert os.readlink(f"/proc/self/fd/{inside}") == str(directory)
        assert sorted(os.listdir(inside)) == ["added", "kept"]
        assert os.stat("added", dir_fd=inside).st_size == 3
        assert os.fstat(inside).st_ino == directory.stat().st_ino
    finally:
        os.close(inside)


def test_attributes_are_those_of_the_new_version(make_mount: MountMaker) -> None:
    mount = make_mount(LONG)
    mount.bucket.put("file", b"12345", {"src_last_modified_millis": "1000000000000"})
    refresh(mount)
    path = mount.path / "file"
    before = path.stat()
    assert path.read_bytes() == b"12345"
    mount.bucket.put("file", b"1234567", {"src_last_modified_millis": "2000000000000"})
    assert path.stat() == before
    refresh(mount, "file")
    after = path.stat()
    assert (before.st_mtime, after.st_mtime) == (1e9, 2e9)
    assert (before.st_size, after.st_size) == (5, 7)
    assert before.st_ino != after.st_ino


def test_unsent_changes_stay(make_mount: MountMaker) -> None:
    mount = make_mount(LONG, "--write-back=1h")
    fill(mount.bucket)
    refresh(mount)
    seen(mount.path, OLD)
    (mount.path / "mine").write_text("new here")
    (mount.path / "same").write_text("changed here")
    (mount.path / "d" / "e" / "kept").rename(mount.path / "renamed")
    mount.bucket.put("same", b"changed there")
    refresh(mount)
    assert look(mount.path, "mine") == "new here"
    assert look(mount.path, "same") == "changed here"
    assert look(mount.path, "d/e") == "gone"
    assert look(mount.path, "renamed") == "old d/e/kept"
    assert "mine" in os.listdir(mount.path)
    assert "mine" not in mount.bucket.objects()
    mount.expect_log("was changed by others while it was open here")
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("same") == b"changed here"


# -- files that are open ---------------------------------------------------------------------------

BIG = 24 * MIB
SAME_TIME = {"src_last_modified_millis": "1500000000000"}
"""So that neither size nor time tells the kernel of another version."""


def read_to_the_end(file: int, begin: int) -> bytes:
    pieces = []
    while piece := os.pread(file, MIB, begin):
        pieces.append(piece)
        begin += len(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("option", [SHORT, LONG])
def test_an_open_file_stays_what_it_was(make_mount: MountMaker, option: str) -> None:
    """An open file is pinned to one object version until the last close. A new open reads the new one."""
    old, new = pattern(1, BIG), pattern(2, BIG)
    mount = make_mount(option)
    mount.bucket.put("big", old, SAME_TIME)
    refresh(mount)
    path = mount.path / "big"
    file = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(file, MIB, 0) == old[:MIB]
        mount.bucket.put("big", new, SAME_TIME)
        if option == LONG:
            assert head(path) == old[:4096], "still believed"
            refresh(mount)
            assert head(path) == new[:4096]
        else:
            wait_until(lambda: head(path) == new[:4096], "a new open reads the new version")
        assert_same_bytes(read_to_the_end(file, 0), old)
        assert_same_bytes(path.read_bytes(), new)
        assert_same_bytes(read_to_the_end(file, 0), old)
        assert os.fstat(file).st_ino != path.stat().st_ino
    finally:
        os.close(file)


def head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def test_pages_of_the_old_version_are_not_shown(make_mount: MountMaker) -> None:
    """All of the old version is in the kernel's page cache, size and time of the new one are the same."""
    mount = make_mount(LONG)
    path = mount.path / "file"
    for round_ in range(4):
        expected = pattern(round_, 3 * MIB)
        mount.bucket.put("file", expected, SAME_TIME)
        refresh(mount)
        for _ in range(2):
            assert_same_bytes(path.read_bytes(), expected)

"""What docs promise of other times, on a real mount: `.b2/` and what is in it."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mounted.bucket import sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.odd_names import files_shown, odd_keys, stand_for_directories

pytestmark = pytest.mark.kernel


def moment() -> str:
    """Now, with nothing else in the same millisecond."""
    time.sleep(0.003)
    name = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    time.sleep(0.003)
    return name


def tree_of(root: Path) -> dict[str, bytes | str | None]:
    """Everything below a directory: bytes of files, targets of links, None for directories."""
    found: dict[str, bytes | str | None] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


def refused(code: int, work: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:
        work()
    assert caught.value.errno == code, errno.errorcode[caught.value.errno or 0]


def test_the_tree_as_of_a_moment(mount: Mount) -> None:
    """`.b2/` at the mount's root is not listed, but is there: `.b2/at/2026-01-31T12:00:00Z/...` is the
    tree as of that moment, read-only."""
    at = mount.path / ".b2" / "at"
    before = moment()
    (mount.path / "a" / "deep").mkdir(parents=True)
    (mount.path / "a" / "file").write_bytes(b"first")
    (mount.path / "a" / "deep" / "link").symlink_to("../file")
    first, seen = moment(), tree_of(mount.path)
    (mount.path / "a" / "file").write_bytes(b"second, longer")
    (mount.path / "a" / "deep" / "link").unlink()
    second, then = moment(), tree_of(mount.path)
    mount.programs.run("rm", "-r", mount.path / "a")
    (mount.path / "a").write_bytes(b"a file by now")
    assert os.listdir(mount.path) == ["a"]
    assert (tree_of(at / before), tree_of(at / first), tree_of(at / second)) == ({}, seen, then)
    assert tree_of(at / moment()) == tree_of(mount.path)
    assert (at / first / "a" / "file").read_bytes() == b"first"
    assert (at / first / "a" / "deep" / "link").resolve() == at / first / "a" / "file"
    mount.programs.run("cp", "-a", at / first / "a", mount.path / "back")
    assert (mount.path / "back" / "file").read_bytes() == b"first"
    assert os.getxattr(at / first / "a" / "file", "user.b2.name") == b"a/file"


def test_nothing_changes_there(mount: Mount) -> None:
    (mount.path / "file").write_bytes(b"bytes")
    there = mount.path / ".b2" / "at" / moment()
    changes: list[Callable[[], object]] = [
        lambda: (there / "file").write_bytes(b""),
        lambda: (there / "new").write_bytes(b""),
        (there / "file").unlink,
        lambda: (there / "file").rename(there / "other"),
        lambda: (there / "file").rename(mount.path / "other"),
        lambda: (mount.path / "file").rename(there / "other"),
        lambda: (there / "file").chmod(0o600),
        lambda: os.utime(there / "file"),
        lambda: os.truncate(there / "file", 1),
        lambda: os.setxattr(there / "file", "user.x", b"y"),
        (there / "new").mkdir,
        lambda: (there / "new").symlink_to("x"),
        there.rmdir,
        (mount.path / ".b2").rmdir,
        lambda: (mount.path / ".b2").rename(mount.path / "mine"),
        lambda: (mount.path / ".b2" / "new").write_bytes(b""),
    ]
    for change in changes:
        refused(errno.EROFS, change)
    refused(errno.EEXIST, (mount.path / ".b2").mkdir)
    refused(errno.EISDIR, lambda: (mount.path / ".b2").write_bytes(b""))
    assert list(mount.bucket.objects()) == ["file"]
    assert mount.bucket.versions("file") == ["upload"]
    assert (there / "file").read_bytes() == b"bytes"


def test_moments_as_people_type_them(mount: Mount) -> None:
    """Moments in every form a person types."""
    (mount.path / "file").write_bytes(b"bytes")
    at = mount.path / ".b2" / "at"
    moment()
    for name, shown in {
        "now": ["file"],
        "2 days ago": [],
        "2026-01-31": [],
        "2026-01-31T12:00:00+02:00": [],
        "10 minutes ago": [],
        "yesterday": [],
    }.items():
        assert os.listdir(at / name) == shown, name
    assert os.listdir(at) == []
    for name in ("soon", "tomorrow", "2026-02-30", ".b2", "x" * 255):
        assert not (at / name).exists()
    refused(errno.ENAMETOOLONG, lambda: (at / ("x" * 256)).stat())


def test_an_object_called_like_it_is_counted(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.fill([".b2/at", "file", "below/.b2"], b"bytes")
    mount = make_mount(bucket=bucket)
    assert sorted(os.listdir(mount.path)) == ["below", "file"]
    assert os.listdir(mount.path / "below") == [".b2"]
    assert "at" in os.listdir(mount.path / ".b2")
    assert os.listdir(mount.path / ".b2" / "at") == []
    code, output = mount.b2mount("status", mount.path)
    assert code == 0
    assert "1 objects whose names no path can spell" in output
    assert (mount.path / ".b2" / "names" / ".b2%2Fat").read_bytes() == b"bytes"


@pytest.mark.parametrize("seed", [1])
def test_names_that_no_path_can_spell(make_mount: MountMaker, seed: int) -> None:
    """Object names that a path can't spell ... are counted in `status`, never crash a listing, and stay
    reachable through `.b2/`."""
    bucket = make_mount.bucket()
    keys = odd_keys(random.Random(seed), 60, controls=True)
    for key in keys:
        bucket.fill([key], key.encode())
    make_mount.api.services.large_file.start_large_file(bucket.bucket.id_, "a/begun", "text/plain")
    mount = make_mount(bucket=bucket)
    shown = files_shown(keys)
    paths = mount.programs.run("find", ".", "-type", "f", "-print0", cwd=mount.path).split("\0")
    assert {path.removeprefix("./") for path in paths if path} == shown
    assert all((mount.path / key).read_bytes() == key.encode() for key in shown)
    odd = sorted((mount.path / ".b2" / "names").iterdir())
    names = {os.getxattr(path, "user.b2.name"): path.read_bytes() for path in odd}
    assert all(key == data for key, data in names.items())
    assert {key.decode() for key in names} == set(keys) - shown - stand_for_directories(keys)
    assert len(names) == len(odd)
    mount.programs.run("ls", "-l", mount.path / ".b2" / "names", mount.path / ".b2" / "versions")
    mount.programs.run("find", mount.path / ".b2" / "versions", "-maxdepth", "3", "-ls")
    status = json.loads(mount.b2mount("status", "--json", mount.path)[1])
    assert status["odd_names"] > 0
    odd[0].rename(mount.path / "a better name")
    assert (mount.path / "a better name").read_bytes() in names
    odd[1].unlink()
    assert sorted((mount.path / ".b2" / "names").iterdir()) == odd[2:]


def test_a_prefix_mount_shows_its_own_past(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    mount.bucket.put("p/in/file", b"1")
    mount.bucket.put("out", b"2")
    mount.source += "/p"
    mount.start()
    then = moment()
    mount.programs.run("rm", "-r", mount.path / "in")
    assert tree_of(mount.path) == {}
    assert (mount.path / ".b2" / "at" / then / "in" / "file").read_bytes() == b"1"
    assert os.listdir(mount.path / ".b2" / "at" / then) == ["in"]


def test_many_moments_at_once(mount: Mount) -> None:
    """A moment's tree lives as long as somebody is in it."""
    at = mount.path / ".b2" / "at"
    times = []
    for number in range(1, 25):
        (mount.path / "file").write_bytes(b"x" * number)
        times.append(moment())
    held = [os.open(at / name / "file", os.O_RDONLY) for name in times[:5]]
    try:
        assert [(at / name / "file").stat().st_size for name in times] == list(range(1, 25))
        assert [len(os.read(fd, 100)) for fd in held] == list(range(1, 6))
        assert [(at / name / "file").stat().st_size for name in times] == list(range(1, 25))
    finally:
        for fd in held:
            os.close(fd)
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert [(at / name / "file").stat().st_size for name in reversed(times)] == list(reversed(range(1, 25)))


def shell(mount: Mount, script: str) -> str:
    """What a shell in the mount prints."""
    return mount.programs.run("sh", "-ec", script, cwd=mount.path)


def test_the_trash(mount: Mount) -> None:
    """`.b2/trash/...` is what is hidden, and moving out of it undeletes."""
    shell(mount, "mkdir -p a/b; echo one > a/b/file; echo two > a/other; echo three > top; rm -r a top")
    assert not (mount.path / "a").exists()
    assert shell(mount, "find .b2/trash -type f | sort; cat .b2/trash/a/b/file").split() == [
        ".b2/trash/a/b/file",
        ".b2/trash/a/other",
        ".b2/trash/top",
        "one",
    ]
    before = mount.bucket.versions("top")
    assert shell(
        mount, "mv .b2/trash/top .; mv .b2/trash/a .; cat top a/b/file a/other; ls .b2/trash"
    ).split() == [
        "three",
        "one",
        "two",
    ]
    assert (before, mount.bucket.versions("top")) == (["hide", "upload"], ["upload"])
    shell(
        mount,
        "rm a/other; ! test -e a/other; mv .b2/trash/a/other new; cp .b2/trash/a/other a; test -e a/other",
    )
    assert shell(mount, "cat new a/other; ls .b2/trash").split() == ["two", "two"]
    shell(mount, "rm top; rm .b2/trash/top")
    assert mount.bucket.versions("top") == []
    shell(mount, "rm -r a; rm -r .b2/trash/a; ! test -e .b2/trash/a")
    assert mount.bucket.versions("a/b/file") == []


def test_a_merge_is_seen_at_once(mount: Mount) -> None:
    """What the kernel took for absent is there again, in a directory that it knows."""
    shell(mount, "mkdir d; echo 1 > d/x; echo 2 > d/y; rm d/x; ! test -e d/x; mv .b2/trash/d . ; cat d/y")
    wait_until((mount.path / "d" / "x").exists, "undeleted", 5)
    shell(mount, "mkdir d/e; echo 3 > d/e/z; rm -r d/e; ! test -e d/e/z")
    code, output = mount.b2mount("undelete", mount.path / "d")
    assert (code, output) == (0, "1 file undeleted\n")
    assert shell(mount, "cat d/e/z") == "3\n"


def test_the_versions_of_a_file(mount: Mount) -> None:
    """`.b2/versions/PATH/` holds a file's versions, each under its time."""
    path = mount.path / "notes" / "text.txt"
    for number in range(3):
        info = {"src_last_modified_millis": f"{number}000"}
        mount.bucket.put("notes/text.txt", b"x" * (number + 1), info)
    there = mount.path / ".b2" / "versions" / "notes" / "text.txt"
    found = sorted(there.iterdir())
    shown = [(one.suffix, one.stat().st_mtime, one.stat().st_size) for one in found]
    assert shown == [(".txt", 0, 1), (".txt", 1, 2), (".txt", 2, 3)]
    path.unlink()
    assert sorted(there.iterdir()) == found
    assert found[-1].read_bytes() == b"xxx"
    assert len({os.getxattr(one, "user.b2.file_id") for one in found}) == len(found)
    assert os.getxattr(found[0], "user.b2.uploaded").decode() + ".txt" == found[0].name
    assert shell(mount, "ls .b2 .b2/versions .b2/versions/notes").split() == [
        ".b2:", "at", "names", "trash", "versions",
        ".b2/versions:", "notes", ".b2/versions/notes:", "text.txt",
    ]  # fmt: skip


def test_the_commands(mount: Mount) -> None:
    """`b2mount versions PATH` (newest first), `restore PATH [--version ID or --at MOMENT]`, `undelete`."""
    path = mount.path / "file"
    path.write_bytes(b"first")
    first = moment()
    path.write_bytes(b"second, longer")
    code, output = mount.b2mount("versions", path)
    assert (code, output.count("upload"), output.splitlines()[0].split()[1:3]) == (0, 2, ["14", "B"])
    code, output = mount.b2mount("restore", path)
    assert code == 0, output
    assert path.read_bytes() == b"first"
    newest = mount.b2mount("versions", path)[1].splitlines()[1].split()[-1]
    with path.open("rb") as reader:
        assert mount.b2mount("restore", "--version", newest, path)[0] == 0
        assert path.read_bytes() == b"second, longer"
        assert reader.read() == b"first"  # an open file stays what it was when it was opened
    assert mount.b2mount("restore", path, "--at", first)[0] == 0
    assert path.read_bytes() == b"first"
    code, output = mount.b2mount("restore", path, "--at", "2 days ago")
    assert code == 1
    assert output.startswith("b2mount: file: there was none at 20")
    path.unlink()
    assert not path.exists()
    assert mount.b2mount("undelete", path) == (0, "1 file undeleted\n")
    assert path.read_bytes() == b"first"
    code, output = mount.b2mount("undelete", path)
    assert (code, output) == (1, "b2mount: file: nothing of that name is deleted\n")
    found = json.loads(mount.b2mount("versions", "--json", path)[1])
    assert [one["action"] for one in found] == ["upload"] * 5
    assert found[0]["sha1"] == sha1_of(b"first")


def test_a_read_only_mount_brings_nothing_back(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.put("file", b"bytes")
    bucket.bucket.hide_file("file")
    mount = make_mount("--read-only", bucket=bucket)
    assert (mount.path / ".b2" / "trash" / "file").read_bytes() == b"bytes"
    refused(errno.EROFS, lambda: (mount.path / ".b2" / "trash" / "file").rename(mount.path / "file"))
    code, output = mount.b2mount("undelete", mount.path / "file")
    assert (code, output) == (1, "b2mount: the mount is read-only\n")


def test_a_mount_of_one_moment(make_mount: MountMaker) -> None:
    """`--at MOMENT` mounts that moment alone."""
    live = make_mount()
    shell(live, "mkdir -p a/b; echo one > a/b/file; echo two > top; ln -s a/b link")
    then, seen = moment(), tree_of(live.path)
    shell(live, "rm -r a top; echo three > new")
    past = make_mount.prepare(f"--at={then}", bucket=live.bucket)
    past.start()
    assert tree_of(past.path) == seen
    assert not (past.path / ".b2").exists()
    refused(errno.EROFS, lambda: (past.path / "new").write_bytes(b""))
    code, output = past.b2mount("status", past.path)
    assert code == 0
    assert f" as of {then} (read-only)" in output
    code, output = past.b2mount("undelete", past.path / "top")
    assert (code, "moment" in output or "read-only" in output) == (1, True)
    version = os.getxattr(past.path / "top", "user.b2.file_id").decode()
    url = past.b2("file", "url", f"b2id://{version}")
    assert past.b2mount("url", past.path / "top") == (0, url)
    assert url.rstrip("\n") == os.getxattr(past.path / "top", "user.b2.url").decode()
    assert "to the newest version" in past.b2mount("url", past.path / "top", "--expires=1d")[1]
    assert tree_of(live.path).keys() == {"new", "link"}
    assert (live.path / "new").stat().st_mtime > (past.path / "a").stat().st_mtime


def test_a_moment_that_is_none(make_mount: MountMaker) -> None:
    mount = make_mount.prepare()
    for words in (
        ["--at=tomorrow"],
        ["--at=soon"],
        ["-o", "at=01/02/2026"],
        ["--at=yesterday", "--write-back"],
    ):
        code, output = mount.programs.attempt(mount.command(*words))
        assert (code, output.count("\n")) == (2, 1), output
        assert "at" in output


def test_a_random_history(make_mount: MountMaker) -> None:
    """What several programs did to a bucket, replayed for some moments."""
    chance, bucket = random.Random(7), make_mount.bucket()
    names = [f"{a}/{b}" for a in ("a", "b", "a/c") for b in ("x", "y", "z", "a-1")]
    state: dict[str, bytes] = {}
    seen: dict[str, dict[str, bytes]] = {}
    for number in range(120):
        name = chance.choice(names)
        if name in state and chance.random() < 0.4:
            bucket.bucket.hide_file(name)
            del state[name]
        else:
            state[name] = str(number).encode()
            bucket.put(name, state[name])
        if number % 30 == 20:
            seen[moment()] = dict(state)
    mount = make_mount(bucket=bucket)
    for then, files in seen.items():
        found = tree_of(mount.path / ".b2" / "at" / then)
        assert {name: data for name, data in found.items() if data is not None} == files

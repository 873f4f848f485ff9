"""Trees with owners, modes, times, attributes and every kind of file: rsync, tar, cp, cpio."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.programs.ground import Check, Ground

LONG_AGO = 1_500_000_000
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2755, 0o444, 0o000)


def make_tree(root: Path, directories: int = 40, files: int = 8) -> None:
    """What a system's backup meets, without hard links."""
    dice = random.Random(1)
    root.mkdir()
    for number in range(directories):
        directory = root / f"directory {number % 10}" / f"{number}"
        directory.mkdir(parents=True)
        for count in range(files):
            path = directory / f"file-{count}"
            path.write_bytes(dice.randbytes(dice.choice([0, 10, 5000, 60_000])))
            os.chown(path, dice.choice([0, 1000]), dice.choice([0, 1001]))
            path.chmod(MODES[(number + count) % len(MODES)])
        os.setxattr(directory / "file-0", "user.comment", f"number {number}".encode())
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(1 << 20)
        sparse.write(b"end")
    (root / "link").symlink_to("directory 1/1/file-1")
    (root / "dangling").symlink_to("../nowhere")
    os.mkfifo(root / "pipe", 0o620)
    os.mknod(root / "null", 0o020666, os.makedev(1, 3))
    give_attributes(root, dice)


def give_attributes(root: Path, dice: random.Random) -> None:
    """Owners, modes, attributes and times of what stands in a directory, then of the directory."""
    for directory, _, names in os.walk(root, topdown=False):
        for name in (*names, ""):
            path = Path(directory, name)
            if not name:
                os.chown(path, dice.choice([0, 1000]), dice.choice([0, 1001]))
                path.chmod(dice.choice([0o755, 0o700, 0o2775, 0o1777]))
                os.setxattr(path, "user.kind", b"directory")
            when = LONG_AGO * 10**9 + dice.randrange(10**17)
            os.utime(path, ns=(when, when), follow_symlinks=False)


def listing(root: Path) -> list[tuple[object, ...]]:
    """Everything that is to come along."""
    found: list[tuple[object, ...]] = []
    for directory, directories, names in os.walk(root):
        for name in ["", *names, *(d for d in directories if Path(directory, d).is_symlink())]:
            path = Path(directory, name)
            status = path.lstat()
            size = -1 if path.is_dir() else status.st_size
            row = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev, size)
            attributes = {} if path.is_symlink() else {n: os.getxattr(path, n) for n in os.listxattr(path)}
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found.append((str(path.relative_to(root)), *row, attributes, content))
    return sorted(found, key=str)


def assert_same(found: Path, expected: Path) -> None:
    """Nothing is missing, nothing is different."""
    ours, theirs = listing(found), listing(expected)
    different = [(one[:8], other[:8]) for one, other in zip(ours, theirs, strict=False) if one != other]
    assert not different, different[:3]
    assert len(ours) == len(theirs)


def rsync_twice(ground: Ground) -> None:
    source, copy = ground.local / "source", ground.path / "copy"
    make_tree(source)
    command = ("rsync", "-aHAX", "--numeric-ids", "--out-format=%i %n", f"{source}/", f"{copy}/")
    assert ground.run(*command).count("\n") > 300
    assert ground.run(*command) == ""
    assert_same(copy, source)
    ground.remount()
    assert ground.run(*command) == ""
    assert_same(copy, source)
    (source / "directory 1" / "1" / "file-1").write_text("changed\n")
    (source / "directory 2" / "2" / "file-2").unlink()
    os.utime(source / "directory 2" / "2", (LONG_AGO, LONG_AGO))
    assert ground.run(command[0], "--delete", *command[1:]).count("file-") == 2
    assert_same(copy, source)


def tar_round_trip(ground: Ground) -> None:
    source, inside, back = ground.local / "source", ground.path / "inside", ground.local / "back"
    make_tree(source)
    pack = ("tar", "--create", "--format=posix", "--sort=name", "--numeric-owner", "--xattrs", "--sparse")
    unpack = ("tar", "--extract", "--same-owner", "--preserve-permissions", "--numeric-owner", "--xattrs")
    ground.run(*pack, "--file", ground.local / "one.tar", "--directory", source, ".")
    for directory in (inside, back):
        directory.mkdir()
    ground.run(*unpack, "--file", ground.local / "one.tar", "--directory", inside)
    assert_same(inside, source)
    ground.remount()
    assert_same(inside, source)
    ground.run(*pack, "--file", ground.path / "two.tar", "--directory", inside, ".")
    ground.run(*unpack, "--file", ground.path / "two.tar", "--directory", back)
    assert_same(back, source)


def cp_round_trip(ground: Ground) -> None:
    source, inside, back = ground.local / "source", ground.path / "inside", ground.local / "back"
    make_tree(source)
    ground.run("cp", "-a", source, inside)
    assert_same(inside, source)
    ground.run("cp", "-a", inside, ground.path / "second")
    ground.run("chmod", "-R", "u+rw,g-s", ground.path / "second")
    ground.run("chown", "-R", "7:8", ground.path / "second")
    ground.remount()
    assert_same(inside, source)
    ground.run("cp", "-a", inside, back)
    assert_same(back, source)
    owners = {row[2:4] for row in listing(ground.path / "second")}
    assert owners == {(7, 8)}
    ground.run("mv", ground.path / "second", ground.local / "moved")


CHECKS = (
    Check("rsync", rsync_twice, ("rsync",), ("rsync",)),
    Check("tar", tar_round_trip, ("tar",), ("tar",)),
    Check("cp", cp_round_trip),
)

"""Trees of files: made, and compared as a user would compare them."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

LONG_AGO = 1_600_000_000
"""Times before this were set on purpose and must agree to the nanosecond; later ones are a clock's."""


def pattern(seed: int, size: int) -> bytes:
    """Bytes that tell where they come from."""
    return random.Random(seed).randbytes(size)


def assert_same_bytes(found: bytes, expected: bytes | bytearray) -> None:
    """They agree; where not, the first difference is told, for a diff of megabytes takes minutes."""
    if found == expected:
        return
    pairs = enumerate(zip(found, expected, strict=False))
    place = next((offset for offset, (one, other) in pairs if one != other), min(len(found), len(expected)))
    raise AssertionError(
        f"{len(found)} bytes instead of {len(expected)}; at {place}: {found[place : place + 20]!r} "
        f"instead of {bytes(expected[place : place + 20])!r}"
    )


def times_of(status: os.stat_result) -> str | int:
    """The modification time when it was set on purpose, else that it is a clock's."""
    return status.st_mtime_ns if status.st_mtime < LONG_AGO else "recently"


def look(status: os.stat_result) -> tuple[object, ...]:
    """What must agree of a stat. Sizes and times of directories are the file system's own business."""
    kind = stat.S_IFMT(status.st_mode)
    common = (kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if kind == stat.S_IFDIR:
        return common
    if kind == stat.S_IFLNK:
        return (*common, status.st_size)
    return (*common, status.st_size, times_of(status))


def tree(root: Path) -> Iterator[tuple[str, object]]:
    """Everything below `root`, in order."""
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(directories + files):
            path = Path(directory, name)
            status = path.lstat()
            yield str(path.relative_to(root)), look(status)
            if stat.S_ISREG(status.st_mode):
                yield f"{path.relative_to(root)} content", path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                yield f"{path.relative_to(root)} target", path.readlink()


def assert_same_trees(here: Path, there: Path) -> None:
    """Names, attributes and contents agree."""
    expected, found = dict(tree(here)), dict(tree(there))
    missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
    assert not missing | surplus, f"missing: {sorted(missing)}, too many: {sorted(surplus)}"
    for name, value in expected.items():
        assert found[name] == value, f"{name}: {found[name]!r:.300} instead of {value!r:.300}"


def make_tree(root: Path, files: int = 500) -> None:
    """`files` files of mixed sizes, modes and old times in some thirty directories, a few symlinks and an
    empty directory: what a home directory looks like."""
    dice = random.Random(files)
    directories = [root / f"folder {number}" for number in range(files // 50 + 1)]
    directories += [parent / name for parent in directories for name in ("sub", "Übung")]
    for directory in directories:
        directory.mkdir(parents=True)
    for number in range(files):
        path = dice.choice(directories) / f"file-{number:03}.dat"
        path.write_bytes(dice.randbytes(dice.choice([0, 10, 700, 4096, 9000, 9000, 20_000])))
        path.chmod(dice.choice([0o644, 0o600, 0o755]))
        os.utime(path, ns=(10**18, 10**18 + number * 123_456_789))
    (root / "big.bin").write_bytes(dice.randbytes(3_000_000))
    (root / "to a file").symlink_to("big.bin")
    (root / "to nowhere").symlink_to("not/there")
    (root / "empty").mkdir()


def sha1s(root: Path) -> dict[str, str]:
    """SHA-1 of every regular file below, by its relative name."""
    paths = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): hashlib.sha1(path.read_bytes()).hexdigest() for path in paths}

"""The mount and a local disk answer alike, whatever is asked of them: errors, owners, modes, times."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import attrs
import pytest

from tests.mounted.conformance import run
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import REPOSITORY, Directory

pytestmark = pytest.mark.kernel

Transcripts = dict[str, list[str]]


KINDS = {
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "file": stat.S_IFREG,
}


def furnish(root: Path) -> None:
    """One of each kind, with owners, modes and times of its own."""
    root.mkdir()
    (root / "dir").mkdir()
    (root / "link").symlink_to("nowhere/ü")
    for number, (name, kind) in enumerate(KINDS.items()):
        device = os.makedev(7, 1000 + number) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        os.mknod(root / name, kind | 0o600, device)
    for number, name in enumerate(sorted(os.listdir(root))):
        path = root / name
        os.lchown(path, 1000 + number, 2000 + number)
        if name != "link":
            path.chmod((0o640, 0o4711, 0o1777, 0o2755)[number % 4])
        when = 1_234_567_890_123_456_789 + number * 1_000_001
        os.utime(path, ns=(when, when), follow_symlinks=False)


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """What lstat says of everything there."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            one = os.lstat(os.path.join(directory, name))
            size = 0 if stat.S_ISDIR(one.st_mode) else one.st_size
            found[name] = (one.st_mode, one.st_uid, one.st_gid, size, one.st_rdev, one.st_mtime_ns)
    return found


@attrs.frozen
class Played:
    """What came of all cases."""

    here: Transcripts
    """On the local disk."""
    there: Transcripts
    """On the mount."""
    furnished: Path
    """By `furnish`, on the local disk."""
    remounted: Path
    """As much on the mount, which knows only what B2 has."""


def play(place: Directory, root: Path, output: Path) -> Transcripts:
    command = [sys.executable, "-m", "tests.mounted.conformance.run", str(root), str(output)]
    place.programs.run(*command, timeout=120, cwd=REPOSITORY)
    found: Transcripts = json.loads(output.read_text())
    return found


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    root = tmp_path_factory.mktemp("conformance")
    maker = MountMaker(request.getfixturevalue("emulator"), request.getfixturevalue("api"), root)
    try:
        mount = maker("--allow-other", limit=200)
        (root / "local").mkdir()
        here = play(mount, root / "local", root / "local.json")
        there = play(mount, mount.path, root / "mount.json")
        mount.check()
        for place in (root, mount.path):
            furnish(place / "furnished")
        mount.remount(fresh_cache=True)
        yield Played(here, there, root / "furnished", mount.path / "furnished")
    finally:
        maker.close()


@pytest.mark.timeout(200)
def test_all_kinds_are_kept(played: Played) -> None:
    os.listdir(played.remounted / "dir")  # a directory's own attributes come with its listing
    assert seen(played.remounted) == seen(played.furnished)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", run.names())
def test_case(played: Played, name: str) -> None:
    here, there = played.here[name], played.there[name]
    assert here
    assert not here[0].startswith("died"), here[0]
    for expected, found in zip_longest(here, there):
        assert found == expected

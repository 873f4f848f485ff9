"""Names that are believed for a day are known to the next mount; what this mount did is seen all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until

pytestmark = pytest.mark.kernel

NAMES = [f"d{number % 30}/e{number % 3}/{number}" for number in range(900)]


def find(mount: Mount) -> list[str]:
    """Without the times of directories, which are as old as the mount."""
    words = ["-type", "f", "-printf", "%P %s %T@\n", "-o", "-printf", "%P\n"]
    return sorted(mount.programs.run("find", mount.path, *words).splitlines())


def stored(mount: Mount) -> int:
    """Bytes of the index."""
    return sum(file.stat().st_size for file in mount.cache.glob("*/names.sqlite3*"))


def test_find_after_a_remount_asks_nothing(make_mount: MountMaker) -> None:
    bucket, counts = make_mount.bucket(), make_mount.server.counts
    bucket.fill(NAMES, b"x")
    mount = make_mount("--ttl=1d", bucket=bucket)
    before = stored(mount)
    seen = find(mount)
    mount.remount()
    counts.reset()
    bucket.put("d0/others", b"x")
    calls = dict(counts.calls)
    assert find(mount) == seen
    assert counts.calls == calls, "not one call"
    (mount.path / "d0" / "mine").write_bytes(b"mine")
    (mount.path / "d1" / "e1" / "1").unlink()
    (mount.path / "d2" / "e2").rename(mount.path / "d3" / "moved")
    mount.kill()
    mount.start()
    assert (mount.path / "d0" / "mine").read_bytes() == b"mine"
    assert "mine" in os.listdir(mount.path / "d0")
    assert "others" in os.listdir(mount.path / "d0"), "it is asked again as a whole"
    assert "1" not in os.listdir(mount.path / "d1" / "e1")
    assert os.listdir(mount.path / "d2") == []
    assert len(os.listdir(mount.path / "d3" / "moved")) == 30
    counts.reset()
    assert len(os.listdir(mount.path / "d4" / "e1")) == 30
    assert counts.transactions["C"] == 0, "what nobody has changed is still known"
    wait_until(lambda: stored(mount) > before, "stored", 10)
    mount.b2mount("refresh", mount.path / "d4")
    bucket.put("d4/e1/new", b"x")
    mount.kill()
    mount.start()
    assert "new" in os.listdir(mount.path / "d4" / "e1")


def test_rsync_of_what_is_the_same_costs_its_listing(make_mount: MountMaker, tmp_path: Path) -> None:
    bucket, counts = make_mount.bucket(), make_mount.server.counts
    bucket.fill((f"d{number % 10}/{number}" for number in range(1000)), b"x")
    mount = make_mount("--ttl=1d", bucket=bucket)
    mount.programs.run("cp", "-a", f"{mount.path}/.", tmp_path / "copy")
    mount.remount(fresh_cache=True)

    def compare() -> int:
        counts.reset()
        command = ["rsync", "-an", "--omit-dir-times", "--itemize-changes"]
        assert mount.programs.run(*command, f"{tmp_path}/copy/", f"{mount.path}/") == ""
        assert set(counts.calls) <= {"b2_list_file_names"}
        return sum(counts.calls.values())

    assert compare() <= 3, "1,000 files in 10 directories"
    assert compare() == 0
    mount.remount()
    assert compare() == 0

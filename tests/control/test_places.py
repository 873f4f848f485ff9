from __future__ import annotations

import os
from pathlib import Path

import pytest

from b2mount.control import places
from b2mount.control.places import (
    absolute,
    mount_at,
    mount_holding,
    parse_mount_table,
    runtime_dir,
    socket_name,
)
from b2mount.errors import MountPointUnusable

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:45 / /mnt/b2 rw,nosuid,nodev shared:3 master:2 - fuse.b2mount b2://bucket rw,user_id=0
41 22 0:46 / /mnt/a\040dir\134 rw - fuse.b2mount b2://other\040one rw
42 40 0:47 / /mnt/b2/inner rw - tmpfs tmpfs rw
43 22 0:48 / /mnt/ssh rw - fuse.sshfs host: rw
""".strip()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "mount_table", lambda: parse_mount_table(TABLE))


def test_the_mount_table_is_read() -> None:
    entries = parse_mount_table(TABLE)
    assert [entry.mountpoint for entry in entries][:3] == ["/", "/mnt/b2", "/mnt/a dir\\"]
    assert entries[2].source == "b2://other one"
    assert (entries[0].device, entries[1].device) == (os.makedev(8, 1), os.makedev(0, 45))
    assert [entry.is_ours for entry in entries] == [False, True, True, False, False]
    assert [entry.is_fuse for entry in entries] == [False, True, True, False, True]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("path", "mountpoint"),
    [
        ("/mnt/b2", "/mnt/b2"),
        ("/mnt/b2/a/b", "/mnt/b2"),
        ("/mnt/b2x", "/"),
        ("/mnt/b2/inner/f", "/mnt/b2/inner"),
        ("/home", "/"),
    ],
)
def test_a_path_belongs_to_the_nearest_mount(path: str, mountpoint: str) -> None:
    entry = mount_holding(path)
    assert entry
    assert entry.mountpoint == mountpoint


@pytest.mark.usefixtures("table")
def test_only_the_mount_point_itself_is_one() -> None:
    assert mount_at("/mnt/b2")
    assert mount_at("/mnt/b2/a") is None


def test_the_topmost_of_two_mounts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    lower, upper = TABLE.splitlines()[1], "50 40 0:50 / /mnt/b2 rw - fuse.sshfs host: rw"
    monkeypatch.setattr(places, "mount_table", lambda: parse_mount_table(f"{lower}\n{upper}"))
    found = mount_holding("/mnt/b2/a")
    assert found == mount_at("/mnt/b2")
    assert found
    assert found.type == "fuse.sshfs"


@pytest.mark.parametrize("name", ["x\x0by", "x\x0cy", "x\x1cy", "x\x85y", "x\u2028y"])
def test_a_mount_of_somebody_elses_under_any_name(name: str) -> None:
    strange = f"60 22 0:60 / /home/eve/{name} rw - fuse.sshfs {name} rw"
    found = parse_mount_table(f"{strange}\n{TABLE.splitlines()[1]}\n")
    assert [entry.mountpoint for entry in found] == [f"/home/eve/{name}", "/mnt/b2"]


def test_a_path_through_a_link_becomes_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert absolute(str(tmp_path / "link")) == str(tmp_path / "real")
    assert absolute(str(tmp_path / "link" / "new")) == str(tmp_path / "real" / "new")


def test_a_path_in_our_mount_is_not_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").symlink_to("elsewhere")
    line = f"40 22 0:45 / {tmp_path} rw - fuse.b2mount b2://bucket rw"
    monkeypatch.setattr(places, "mount_table", lambda: parse_mount_table(line))
    assert absolute(f"{tmp_path}/x/../file") == f"{tmp_path}/file"


def test_socket_names_are_short_and_differ() -> None:
    names = {socket_name(path) for path in ("/a/b", "/a-b", "/", "/" + "x" * 900, "/" + "x" * 901, "/ü")}
    assert len(names) == 6
    assert all(len(name) <= 40 and "/" not in name for name in names)
    assert socket_name("/home/me/b2").startswith("home-me-b2-")


def test_the_runtime_directory_is_private(runtime: Path) -> None:
    assert runtime_dir() == runtime
    assert runtime.stat().st_mode & 0o777 == 0o700
    runtime.chmod(0o755)
    runtime_dir()
    assert runtime.stat().st_mode & 0o777 == 0o700


def test_the_runtime_directory_is_no_link(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    runtime.parent.mkdir()
    runtime.symlink_to(tmp_path / "other")
    with pytest.raises(MountPointUnusable, match="of your own"):
        runtime_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_the_runtime_directory_is_our_own(runtime: Path) -> None:
    runtime.mkdir(parents=True)
    os.chown(runtime, 12345, 12345)
    with pytest.raises(MountPointUnusable, match="of your own"):
        runtime_dir()

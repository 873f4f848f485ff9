from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from b2mount.cli import mount_point
from b2mount.cli.mount_point import check_machine, check_mount_point, is_dead, unmount, users_of
from b2mount.errors import FuseMissing, MountPointUnusable, UsageError
from tests.cli.conftest import MountTable


def refusal(path: object) -> str:
    with pytest.raises(MountPointUnusable) as caught:
        check_mount_point(str(path))
    return str(caught.value)


def test_an_empty_directory_is_fine(tmp_path: Path, table: MountTable) -> None:
    (tmp_path / "m").mkdir()
    check_mount_point(str(tmp_path / "m"))


def test_an_empty_directory_that_is_another_file_system_is_fine(tmp_path: Path, table: MountTable) -> None:
    (tmp_path / "m").mkdir()
    table.add(tmp_path / "m", "tmpfs", "tmpfs")
    check_mount_point(str(tmp_path / "m"))


def test_what_is_wrong_with_a_mount_point_is_said(tmp_path: Path, table: MountTable) -> None:
    assert f"mkdir -p {tmp_path}/none" in refusal(tmp_path / "none")
    (tmp_path / "file").touch()
    assert "is not a directory" in refusal(tmp_path / "file")
    assert "is not empty" in refusal(tmp_path)
    assert "is not a directory" in refusal(tmp_path / "file" / "x")


def test_a_live_mount_is_refused(tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.add(tmp_path)
    monkeypatch.setattr(mount_point, "answers", lambda path: True)
    assert f"already mounted (b2://bucket): `b2mount umount {tmp_path}`" in refusal(tmp_path)


def test_a_live_mount_of_others_is_refused(tmp_path: Path, table: MountTable) -> None:
    table.add(tmp_path, "fuse.sshfs", "host:")
    assert "already mounted (host:, fuse.sshfs)" in refusal(tmp_path)


def test_dead_mounts_are_cleared(tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, one upon the other, as repeated mounting by hand leaves them."""
    table.add(tmp_path, source="b2://below")
    table.add(tmp_path, source="b2://above")
    cleared = []

    def clear(path: str, *, lazily: bool) -> None:
        assert lazily
        cleared.append(table.entries.pop().source)

    monkeypatch.setattr(mount_point, "is_dead", lambda path: True)
    monkeypatch.setattr(mount_point, "unmount", clear)
    check_mount_point(str(tmp_path))
    assert cleared == ["b2://above", "b2://below"]


def test_a_dead_mount_that_stays_is_told(
    tmp_path: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.add(tmp_path)
    monkeypatch.setattr(mount_point, "is_dead", lambda path: True)
    monkeypatch.setattr(mount_point, "unmount", lambda path, lazily: None)
    assert "can't be cleared" in refusal(tmp_path)


def test_a_hanging_mount_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("stat", 5)

    assert not is_dead("/")
    assert not is_dead("/nonexistent")
    monkeypatch.setattr(subprocess, "run", hang)
    assert not is_dead("/mnt/x")


def test_a_machine_without_fuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path / "fuse")
    with pytest.raises(FuseMissing, match="modprobe fuse"):
        check_machine(allow_other=False)
    (tmp_path / "fuse").touch()
    check_machine(allow_other=False)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(FuseMissing, match="apt-get install fuse3"):
        check_machine(allow_other=False)


def test_allow_other_for_ordinary_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fuse").touch()
    config = tmp_path / "fuse.conf"
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path / "fuse")
    monkeypatch.setattr(mount_point, "FUSE_CONFIG", config)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/fusermount3")
    for text in (None, "#user_allow_other\n"):
        if text is not None:
            config.write_text(text)
        with pytest.raises(UsageError, match="user_allow_other"):
            check_machine(allow_other=True)
    config.write_text("mount_max = 1000\n user_allow_other\n")
    check_machine(allow_other=True)


def test_who_uses_a_mount_is_found(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "mm").mkdir()
    sleeper = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        sleeper, cwd=tmp_path / "m", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as inside:
        assert inside.stdout
        inside.stdout.readline()
        users = list(users_of(str(tmp_path / "m")))
        assert len(users) == 1
        assert users[0].endswith(f"({inside.pid})")
        assert not list(users_of(str(tmp_path / "mm")))
        inside.communicate(b"")


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("umount: /m: target is busy.", "in use by vim (7): close that"),
        ("umount: no.", "could not be unmounted: "),
    ],
)
def test_a_refused_umount_is_explained(
    table: MountTable, monkeypatch: pytest.MonkeyPatch, stderr: str, message: str
) -> None:
    table.add("/m")
    done = subprocess.CompletedProcess(["umount"], 32, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(mount_point, "users_of", lambda path: iter(["vim (7)"]))
    with pytest.raises(MountPointUnusable) as caught:
        unmount("/m")
    assert message in str(caught.value)


def test_an_umount_that_somebody_else_did_is_fine(table: MountTable, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess(["umount"], 32, "", "umount: /m: not mounted.")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    unmount("/m")

"""`make demo` and `make demo-stop`, without make, on a real mount."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from b2mount.control.places import mount_at

pytestmark = pytest.mark.kernel


def demo(here: Path, word: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "b2mount.cli.demo", word],
        cwd=here,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def started(here: Path) -> str:
    done = demo(here, "start")
    assert done.returncode == 0, done.stderr
    return done.stdout


def emulator_process(here: Path) -> int:
    return int(json.loads((here / ".demo" / "emulator.json").read_text())["process"])


def mount_process(here: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "b2mount", "status", here / ".demo" / "mnt", "--json"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return int(json.loads(done.stdout)["pid"])


def kill(process: int) -> None:
    descriptor = os.pidfd_open(process)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    while (
        Path(f"/proc/{process}").exists() and "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    ):
        pass


def runs(process: int) -> bool:
    return (
        Path(f"/proc/{process}").exists() and "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    )


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    demo(tmp_path, "stop")
    assert mount_at(str(tmp_path / ".demo" / "mnt")) is None


def test_started_twice_and_stopped_twice(here: Path) -> None:
    told = started(here)
    mnt = here / ".demo" / "mnt"
    assert f"{mnt} is bucket demo-bucket" in told
    assert "make demo-stop" in told
    assert (mnt / "hello.txt").read_text().startswith("This file is an object")
    (mnt / "mine.txt").write_text("mine")
    emulator, mount = emulator_process(here), mount_process(here)
    started(here)
    assert (emulator_process(here), mount_process(here)) == (emulator, mount)
    for _ in range(2):
        done = demo(here, "stop")
        assert done.returncode == 0, done.stderr
        assert mount_at(str(mnt)) is None
        assert not runs(emulator)
        assert not runs(mount)
    started(here)
    assert (mnt / "mine.txt").read_text() == "mine"
    assert len(list(mnt.iterdir())) == 4


def test_a_killed_mount_is_mounted_again(here: Path) -> None:
    started(here)
    kill(mount_process(here))
    started(here)
    assert (here / ".demo" / "mnt" / "hello.txt").exists()


def test_a_killed_emulator_comes_back_under_the_mount(here: Path) -> None:
    started(here)
    mount = mount_process(here)
    kill(emulator_process(here))
    started(here)
    assert mount_process(here) == mount
    (here / ".demo" / "mnt" / "after.txt").write_text("after")


def test_stopping_cleans_up_what_was_killed(here: Path) -> None:
    started(here)
    kill(mount_process(here))
    kill(emulator_process(here))
    done = demo(here, "stop")
    assert done.returncode == 0, done.stderr
    assert mount_at(str(here / ".demo" / "mnt")) is None


def test_stopping_without_starting(here: Path) -> None:
    assert demo(here, "stop").returncode == 0


@pytest.mark.parametrize(
    ("given", "missing"), [({"BUCKET": "my-bucket"}, "MOUNTPOINT"), ({"MOUNTPOINT": "/m"}, "BUCKET")]
)
def test_a_real_bucket_needs_a_mount_point(here: Path, given: dict[str, str], missing: str) -> None:
    done = demo(here, "start", **given)
    assert done.returncode == 2
    assert f"give {missing} too" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_real_bucket_needs_a_key_from_one_of_the_places(here: Path) -> None:
    home = {"HOME": str(here), "XDG_CONFIG_HOME": str(here), "XDG_CACHE_HOME": str(here / "cache")}
    keys = {"B2_APPLICATION_KEY_ID": "", "B2_APPLICATION_KEY": "", "B2_ACCOUNT_INFO": ""}
    done = demo(here, "start", BUCKET="my-bucket", MOUNTPOINT=str(here / "m"), **home, **keys)
    assert done.returncode == 3
    assert "set B2_APPLICATION_KEY_ID" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_else_reads_the_emulator_s_key(here: Path) -> None:
    here.chmod(0o755)
    started(here)
    key = json.loads((here / ".demo" / "data" / "credentials.json").read_text())["application_key"]
    open_to_all = [
        path
        for path in (here / ".demo").rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077 and key.encode() in path.read_bytes()
    ]
    assert open_to_all == []

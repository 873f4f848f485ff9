from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from b2mount.cli import mount_command
from b2mount.cli.main import main
from b2mount.errors import FuseMissing, NotAuthorized, NotFound, Unavailable
from b2mount.options import MountOptions
from tests.cli.conftest import MountTable, Running

Ran = list[MountOptions]


@pytest.fixture(autouse=True)
def umask_restored() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, table: MountTable) -> Ran:
    """What would be mounted; the machine has FUSE, and nothing is mounted."""
    seen: Ran = []

    def run_mount(options: MountOptions, on_ready: Callable[[], None]) -> int:
        seen.append(options)
        on_ready()
        return 8

    monkeypatch.setattr(mount_command, "check_machine", lambda allow_other: None)
    monkeypatch.setattr(mount_command, "log_to_stderr", lambda options: None)
    monkeypatch.setattr(mount_command, "run_mount", run_mount)
    return seen


def foreground(*words: str) -> int:
    return main(["mount", *words, "--foreground"])


def test_in_the_foreground_the_code_is_the_mount_s(tmp_path: Path, ran: Ran) -> None:
    (tmp_path / "m").mkdir()
    assert foreground("bucket/dir", str(tmp_path / "m")) == 8
    assert str(ran[0].source) == "b2://bucket/dir"
    assert os.umask(0o022) == 0o077


def test_the_mount_point_is_known_by_its_real_name(tmp_path: Path, ran: Ran) -> None:
    """The mount table has the real one, and `umount` looks there."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    foreground("bucket", str(tmp_path / "link"))
    assert ran[0].mountpoint == str(tmp_path / "real")


def test_a_mount_that_still_sends_is_waited_for_first(
    running: Running, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    running.table.remove(running.mountpoint)  # by umount(8)
    assert foreground("bucket", running.mountpoint) == 5
    assert f"`b2mount umount {running.mountpoint}` waits for it" in capsys.readouterr().err
    assert ran == []


@pytest.mark.parametrize("option", ["--cache-dir", "--log-file"])
def test_cache_and_log_lie_outside(
    option: str, tmp_path: Path, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    assert foreground("bucket", str(tmp_path / "m"), option, str(tmp_path / "m" / "x")) == 2
    assert "below the mount point" in capsys.readouterr().err
    assert ran == []


def test_a_bad_mount_point_is_exit_5(tmp_path: Path, ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert foreground("bucket", str(tmp_path / "none")) == 5
    assert "is not there" in capsys.readouterr().err
    assert ran == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("no bucket 'bucket' that this key can see"), 4),
        (NotAuthorized("B2 does not know this key"), 3),
        (Unavailable("B2 can't be reached"), 7),
        (FuseMissing("no FUSE"), 6),
    ],
)
def test_what_the_mount_raises_is_the_exit_code(
    error: Exception,
    code: int,
    tmp_path: Path,
    ran: Ran,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(options: MountOptions, on_ready: Callable[[], None]) -> int:
        raise error

    monkeypatch.setattr(mount_command, "run_mount", fail)
    (tmp_path / "m").mkdir()
    assert foreground("bucket", str(tmp_path / "m")) == code
    assert capsys.readouterr().err == f"b2mount: {error}\n"


BACKGROUND = """
import sys, os, logging, time
from b2mount.cli import main, mount_command
from b2mount.errors import NotFound

def run_mount(options, on_ready):
    logging.getLogger("b2mount").warning("mounted read-only")
    if options.source.bucket == "missing-bucket":
        raise NotFound("no bucket 'missing-bucket'")
    on_ready()
    logging.getLogger("b2mount").warning("a later warning")
    return 0

mount_command.check_machine = lambda allow_other: None
mount_command.run_mount = run_mount
sys.exit(main.main(sys.argv[1:]))
"""


def background(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BACKGROUND, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_background_mount_warns_at_the_start_and_logs(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    done = background("bucket", str(tmp_path / "m"), "--log-file", str(tmp_path / "log"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "b2mount: mounted read-only\n")
    assert "WARNING b2mount: mounted read-only" in (tmp_path / "log").read_text()


def test_the_background_mount_s_failure_is_the_caller_s(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    done = background("missing-bucket", str(tmp_path / "m"), "--cache-dir", str(tmp_path / "c"))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1] == "b2mount: no bucket 'missing-bucket'"
    assert "Traceback" not in done.stderr

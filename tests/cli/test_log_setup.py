from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from b2mount.cli.log_setup import leave_terminal, log_path, log_to_file, log_to_stderr
from b2mount.cli.mount_command import PRIVATE
from b2mount.errors import UsageError
from b2mount.options import MountOptions, mount_options


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("b2mount")
    before = list(root.handlers), root.level, ours.level
    raising = logging.raiseExceptions
    yield
    logging.raiseExceptions = raising
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(False)


def options(tmp_path: Path, **more: object) -> MountOptions:
    return mount_options("bucket", "/mnt/b2", {"cache_dir": tmp_path / "cache", **more}.items())


def test_the_background_log_has_one_line_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = log_to_file(options(tmp_path))
    log = logging.getLogger("b2mount.some.module")
    log.info("first")
    log.info("a name\nwith a line break", exc_info=KeyError("x"))
    leave_terminal(terminal)
    lines = log_path(options(tmp_path)).read_text().splitlines()
    assert lines[0].split(" ", 2)[2] == "INFO b2mount.some.module: first"
    assert len(lines) == 2
    assert lines[1].endswith("a name | with a line break | KeyError: 'x'")
    assert capsys.readouterr().err == ""


def test_warnings_reach_the_terminal_until_it_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], expect_warning
) -> None:
    expect_warning("read-only")
    expect_warning("later")
    terminal = log_to_file(options(tmp_path))
    log = logging.getLogger("b2mount.mount")
    log.warning("mounted read-only")
    leave_terminal(terminal)
    log.warning("a later one")
    assert capsys.readouterr().err == "b2mount: mounted read-only\n"


def test_libraries_are_not_heard_below_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """b2sdk at debug logs request headers, with the token in them."""
    log_to_stderr(options(tmp_path, log_level="debug"))
    logging.getLogger("b2sdk._internal.b2http").debug("Authorization: secret")
    logging.getLogger("urllib3").info("secret")
    logging.getLogger("b2mount.fuse").debug("lookup")
    err = capsys.readouterr().err
    assert "secret" not in err
    assert "lookup" in err


def test_a_log_file_of_ones_own(tmp_path: Path) -> None:
    log_to_file(options(tmp_path, log_file=tmp_path / "logs" / "b2.log"))
    logging.getLogger("b2mount").info("hello")
    assert "hello" in (tmp_path / "logs" / "b2.log").read_text()


def test_a_full_disk_under_the_log_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handler: logging.Handler) -> None:
        raise OSError(28, "No space left on device")

    terminal = log_to_file(options(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(logging.StreamHandler, "flush", full)
        logging.getLogger("b2mount").info("hello")
    leave_terminal(terminal)
    assert capsys.readouterr().err == ""


def test_a_log_file_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't write the log file"):
        log_to_file(options(tmp_path, log_file=tmp_path / "file" / "b2.log"))


def test_a_log_is_its_owners_alone(tmp_path: Path) -> None:
    """As a mount makes it, and what is turned over; a directory of its own is, too."""
    before = os.umask(PRIVATE)
    try:
        log_to_file(options(tmp_path))
        log_to_file(options(tmp_path, log_file=tmp_path / "b2.log"))
    finally:
        os.umask(before)
    path = log_path(options(tmp_path))
    assert [oct(each.stat().st_mode)[-3:] for each in (path, tmp_path / "b2.log", path.parent)] == [
        "600",
        "600",
        "700",
    ]


def test_a_log_line_can_not_be_forged(tmp_path: Path) -> None:
    log_to_file(options(tmp_path))
    logging.getLogger("b2mount").info("%s is sent", "a\r2026 ERROR x\x1b[2J\u2028y")
    (line,) = log_path(options(tmp_path)).read_bytes().splitlines()
    assert line.endswith(b"a | 2026 ERROR x\\x1b[2J | y is sent")


def test_logrotate_needs_to_tell_nobody(tmp_path: Path) -> None:
    log_to_file(options(tmp_path, log_file=tmp_path / "b2.log"))
    log = logging.getLogger("b2mount")
    log.info("before")
    (tmp_path / "b2.log").rename(tmp_path / "b2.log.1")
    log.info("after")
    assert "before" in (tmp_path / "b2.log.1").read_text()
    assert "after" in (tmp_path / "b2.log").read_text()
    assert "after" not in (tmp_path / "b2.log.1").read_text()


SPEAKS = """
import logging, sys
from b2mount.cli.log_setup import log_to_stderr
from b2mount.options import mount_options
log_to_stderr(mount_options("bucket", "/mnt", []))
log = logging.getLogger("b2mount.x")
for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
    log.log(level, "something\\nhappened")
"""


def spoken(journal: Path, stream: str) -> list[str]:
    """What a process says whose stderr is `journal`."""
    with journal.open("w") as stderr:
        status = os.fstat(stderr.fileno())
        given = stream.format(f"{status.st_dev}:{status.st_ino}")
        surroundings = {**os.environ, "JOURNAL_STREAM": given}
        subprocess.run(
            [sys.executable, "-c", SPEAKS], stderr=stderr, env=surroundings, check=True, timeout=60
        )
    return journal.read_text().splitlines()


def test_the_journal_gets_priorities_and_no_times(tmp_path: Path) -> None:
    """journald notes the time of each line, and which process said it."""
    lines = [f"<{number}>something | happened" for number in (6, 4, 3, 2)]
    assert spoken(tmp_path / "journal", "{}") == lines


def test_what_is_not_the_journal_gets_times(tmp_path: Path) -> None:
    """As when the variable is inherited, and stderr is somewhere else."""
    first, second, *_ = spoken(tmp_path / "file", "1:{}")
    assert first.split(" ", 2)[2] == "INFO something | happened"
    assert second.split(" ", 2)[2] == "WARNING something | happened"

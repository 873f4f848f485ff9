"""status, flush, url and umount, with a fake mount behind a real socket."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from b2mount.cli import progress, umount_command
from b2mount.cli.main import main
from b2mount.control.client import ControlClient, NotAnswering
from b2mount.control.messages import status_to_json
from b2mount.errors import B2MountError, OverQuota
from b2mount.filesystem.status import BudgetStatus
from tests.cli.conftest import MountTable, Running
from tests.control.fake_mount import pending

Captured = pytest.CaptureFixture[str]


# -- umount ------------------------------------------------------------------------------------


def test_umount_waits_for_the_uploads_and_the_process(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a"),)
    running.finish_uploads()
    assert main(["umount", running.mountpoint]) == 0
    assert running.mount.flushed == [None]
    assert running.unmounted == [running.mountpoint]
    assert running.process.wait(0) is not None
    assert not running.mount.left


def test_umount_shows_how_far_it_is(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, bytes, rate."""
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0)
    monkeypatch.setattr(progress, "RATE_FROM", 0)
    running.mount.unsent = (pending("a", size=2048), pending("b", size=2048))

    def wait_for_looks(count: int) -> None:
        enough = running.mount.looks + count
        while running.mount.looks < enough:
            time.sleep(0.001)

    def upload() -> None:
        wait_for_looks(3)
        running.mount.unsent = (pending("b", size=2048, sent=1024),)
        wait_for_looks(3)
        running.finish_uploads()

    thread = threading.Thread(target=upload)
    thread.start()
    assert main(["umount", running.mountpoint]) == 0
    thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "b2mount: 2 files left, 0 B of 4.0 KiB sent"
    assert re.fullmatch(
        r"b2mount: 1 file left, 3.0 KiB of 4.0 KiB sent, [0-9.]+ [KM]iB/s, \d+ s to go", lines[1]
    )


def test_umount_gives_up_in_time_and_stays_mounted(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a", size=3 << 20), pending("b"), pending("c"), pending("d"))
    assert main(["umount", running.mountpoint, "--timeout", "50ms"]) == 8
    said = capsys.readouterr().err.splitlines()[-1]
    assert "4 files (3.0 MiB) not in B2 yet: a, b, c and 1 more; given up after 0.05 s; still mounted" in said
    assert running.unmounted == []


def test_umount_names_what_failed_and_stays_mounted(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a", state="failed", reason="storage cap reached"),)
    running.mount.failure = OverQuota("storage cap reached")
    running.finish_uploads()
    assert main(["umount", running.mountpoint]) == 8
    assert "not in B2 yet: a (storage cap reached); still mounted" in capsys.readouterr().err
    assert running.unmounted == []


def test_umount_now_leaves_what_is_unsent(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a"),)

    def unmount(mountpoint: str) -> None:
        running.unmounted.append(mountpoint)
        running.table.remove(mountpoint)
        threading.Timer(0.05, running.process.kill).start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(umount_command, "unmount", unmount)
        assert main(["umount", "--now", running.mountpoint]) == 8
    assert "1 file (100 B) not in B2 yet: a; unmounted, the next mount sends it" in capsys.readouterr().err
    assert running.mount.left
    assert running.mount.flushed == []
    assert running.unmounted == [running.mountpoint]


def test_umount_now_with_nothing_unsent_is_done(running: Running, capsys: Captured) -> None:
    assert main(["umount", "--now", running.mountpoint]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_process_that_does_not_end_is_told(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umount_command, "LEAVING", 0.05)
    monkeypatch.setattr(umount_command, "unmount", lambda path: running.table.remove(path))
    assert main(["umount", "--now", running.mountpoint]) == 8
    assert "unmounted, and still being sent" in capsys.readouterr().err


def test_a_busy_mount_stays(running: Running, capsys: Captured) -> None:
    running.busy = True
    running.finish_uploads()
    assert main(["umount", running.mountpoint]) == 5
    assert "in use by vim (7)" in capsys.readouterr().err
    assert not running.mount.left
    assert main(["umount", "--now", running.mountpoint]) == 5
    assert not running.mount.left


def test_a_dead_mount_is_cleared(running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umount_command, "is_dead", lambda path: True)
    assert main(["umount", running.mountpoint]) == 0
    assert "was dead and is cleared" in capsys.readouterr().err
    assert running.mount.flushed == []


def test_umount_of_what_is_no_mount(table: MountTable, capsys: Captured) -> None:
    assert main(["umount", "/mnt"]) == 5
    assert "not where b2mount has mounted anything" in capsys.readouterr().err
    table.add("/mnt", "fuse.sshfs")
    assert main(["umount", "/mnt"]) == 5


def test_umount_waits_for_what_plain_umount_took_away(running: Running, capsys: Captured) -> None:
    running.table.remove(running.mountpoint)
    running.mount.unsent = (pending("a"),)
    assert main(["status", running.mountpoint]) == 0
    assert main(["umount", running.mountpoint, "--timeout", "50ms"]) == 8
    assert "a; given up after 0.05 s; unmounted already, and still" in capsys.readouterr().err
    assert main(["umount", running.mountpoint, "--now"]) == 8
    assert "unmounted already, and still being sent" in capsys.readouterr().err
    assert not running.mount.left
    running.finish_uploads()
    threading.Timer(0.05, running.process.kill).start()
    assert main(["umount", running.mountpoint]) == 0
    assert running.process.wait(0) is not None
    assert running.unmounted == []


def test_a_mount_that_ends_while_it_is_waited_for(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(client: ControlClient, path: str | None, *, timeout: float | None) -> None:
        raise NotAnswering("the mount ended before it had answered")

    monkeypatch.setattr(umount_command, "drain", ended)
    running.table.remove(running.mountpoint)
    running.process.kill()
    assert main(["umount", running.mountpoint]) == 0
    running.mount.unsent = (pending("a"),)
    assert main(["umount", running.mountpoint]) == 8
    assert "the next mount sends what is left" in capsys.readouterr().err


def test_umount_now_and_timeout_contradict(capsys: Captured) -> None:
    assert main(["umount", "/m", "--now", "--timeout", "5"]) == 2
    assert "contradict" in capsys.readouterr().err


# -- status ------------------------------------------------------------------------------------


def test_status_for_people(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (
        pending("a", size=200, sent=86, state="uploading"),
        pending("b", state="failed", reason="storage cap reached"),
        *(pending(f"c{number}") for number in range(30)),
    )
    assert main(["status", running.mountpoint]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"b2://bucket/photos on {running.mountpoint}, for ")
    for expected in (
        "32 files",
        "32 files, 3.2 KiB, 86 B of it sent",
        "a  86 B of 200 B  uploading 43%",
        "b  100 B  failed: storage cap reached",
        "and 12 more",
        "3.0 MiB of 10.0 GiB, 75 % hits",
        "calls by class: 4 A, 1,200 B; 5.0 MiB down, 7.0 KiB up; $0.0012",
        "mounted   no calls",
        "free      1,300 B and 2,500 C calls are left today",
        "2 objects whose names no path can spell",
    ):
        assert expected in text


def test_status_of_a_budget(running: Running, capsys: Captured) -> None:
    assert main(["status", running.mountpoint]) == 0
    assert "  budget    " not in capsys.readouterr().out
    running.mount.budget = BudgetStatus("$0.10/day", 0.1, "day", 0.0412, False)
    assert main(["status", running.mountpoint]) == 0
    assert "  budget    $0.0412 of $0.10/day, 41 %\n" in capsys.readouterr().out
    running.mount.budget = BudgetStatus("$0.10/day", 0.1, "day", 0.13, True)
    assert main(["status", running.mountpoint]) == 0
    saving = "  budget    $0.1300 of $0.10/day, 130 %: names are believed longer, nothing is fetched ahead\n"
    assert saving in capsys.readouterr().out


def test_status_names_what_failed_even_among_many(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (
        *(pending(f"c{number}") for number in range(30)),
        pending("a", size=200, sent=86, state="uploading"),
        pending("b", state="failed", reason="storage cap reached"),
    )
    assert main(["status", running.mountpoint]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["b", "a", "c0"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_status_watches_until_interrupted(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    looks = iter([(pending("b"),), None])

    def sleep(seconds: float) -> None:
        more = next(looks)
        if more is None:
            raise KeyboardInterrupt
        running.mount.unsent = more

    monkeypatch.setattr("b2mount.cli.status_command.time.sleep", sleep)
    assert main(["status", "--watch", *options, running.mountpoint]) == 0
    text = capsys.readouterr().out
    if options:  # a line each
        assert [len(json.loads(line)["pending"]) for line in text.splitlines()] == [0, 1]
    else:
        assert text.index("unsent    nothing") < text.index("unsent    1 file")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 60 columns and 20 lines."""
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "60", "LINES": "20", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_watched_status_fits_the_terminal(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are cut, files too many are counted, and from the second look on there are a rate and a time."""
    now = 0.0
    looks = iter([60, 30, None])
    names = [f"a name of a file that is longer than that {number}" for number in range(60)]

    def look(seconds: float) -> None:
        nonlocal now
        count, now = next(looks), now + 10
        if count is None:
            raise KeyboardInterrupt
        running.mount.unsent = tuple(pending(name, size=1 << 20) for name in names[:count])

    monkeypatch.setattr("b2mount.cli.status_command.time.sleep", look)
    monkeypatch.setattr("b2mount.cli.status_text.time.monotonic", lambda: now)
    assert main(["status", "--watch", running.mountpoint]) == 0
    *_, first, last = capsys.readouterr().out.split("\x1b[H\x1b[2J")
    for text in (first, last):
        lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in text.splitlines()]
        assert len(lines) <= 20
        assert all(len(line) <= 60 for line in lines)
        assert any(line.endswith("\u2026") for line in lines)
    assert "/s" not in first
    assert "30 files, 30.0 MiB, 1.5 MiB/s, 20 s to go" in last


@pytest.mark.usefixtures("terminal")
def test_colours_on_a_terminal_alone(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.mount.unsent = (pending("broken", state="failed", reason="a cap"),)
    assert main(["status", running.mountpoint]) == 0
    (red,) = [line for line in capsys.readouterr().out.splitlines() if "\x1b[31m" in line]
    assert "broken" in red
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["status", running.mountpoint]) == 0
    assert "\x1b" not in capsys.readouterr().out  # bold neither
    monkeypatch.delenv("FORCE_COLOR")
    assert main(["status", running.mountpoint]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_status_of_all(running: Running, capsys: Captured) -> None:
    running.table.add("/mnt/silent", source="b2://other")
    assert main(["status"]) == 0
    text = capsys.readouterr().out
    assert "b2://bucket/photos on" in text
    assert "b2://other on /mnt/silent: no process of yours answers" in text


def test_a_mount_of_another_version_hides_no_other(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(fields: object) -> None:
        raise B2MountError("the mount is of another version")

    monkeypatch.setattr("b2mount.control.client.status_from_json", strange)
    running.table.add("/mnt/silent", source="b2://other")
    assert main(["status"]) == 0
    ours, other = capsys.readouterr().out.split("\n\n")
    assert ours == f"b2://bucket on {running.mountpoint}: the mount is of another version"
    assert other.startswith("b2://other on /mnt/silent: ")
    assert main(["flush"]) == 1  # it can't tell
    assert "another version" in capsys.readouterr().err


def test_status_of_nothing(table: MountTable, capsys: Captured) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "nothing is mounted\n"
    assert main(["status", "/mnt"]) == 5


def test_status_for_programs(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a"),)
    expected = json.loads(json.dumps(status_to_json(running.mount.status())))
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [expected]
    assert main(["status", running.mountpoint, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected


# -- flush -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("below", "path"), [("", None), ("/a/b", "a/b"), ("/a/../c", "c"), ("/", None)])
def test_flush_of_a_path(running: Running, below: str, path: str | None) -> None:
    running.finish_uploads()
    assert main(["flush", running.mountpoint + below]) == 0
    assert running.mount.flushed == [path]


def test_flush_of_everything(running: Running) -> None:
    running.finish_uploads()
    assert main(["flush"]) == 0
    assert running.mount.flushed == [None]


@pytest.mark.parametrize(("below", "path"), [("", None), ("/a/b", "a/b"), ("/a/../c", "c"), ("/", None)])
def test_refresh_of_a_path(running: Running, capsys: Captured, below: str, path: str | None) -> None:
    assert main(["refresh", running.mountpoint + below]) == 0
    assert running.mount.refreshed == [path]
    assert capsys.readouterr().out == ""


def test_refresh_of_everything(running: Running) -> None:
    assert main(["refresh"]) == 0
    assert running.mount.refreshed == [None]


def test_refresh_that_fails(running: Running, capsys: Captured) -> None:
    running.mount.failure = OverQuota("why")
    assert main(["refresh"]) == 1
    assert main(["refresh", f"{running.mountpoint}/a"]) == 1
    assert main(["refresh", "/etc"]) == 5
    assert capsys.readouterr().err.startswith("b2mount: why\n")
    assert running.mount.refreshed == []


def test_flush_of_what_cant_be_sent(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("a", state="failed", reason="cap"),)
    running.mount.failure = OverQuota("cap")
    running.finish_uploads()
    assert main(["flush", f"{running.mountpoint}/a"]) == 8
    assert "not in B2 yet: a (cap)" in capsys.readouterr().err


def test_flush_of_a_path_speaks_of_what_is_below_it(running: Running, capsys: Captured) -> None:
    running.mount.unsent = (pending("ab"), pending("a/x", state="failed", reason="cap"), pending("b"))
    running.mount.failure = OverQuota("cap")
    running.finish_uploads()
    assert main(["flush", f"{running.mountpoint}/a"]) == 8
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "b2mount: 1 file (100 B) not in B2 yet: a/x (cap)"


def test_flush_outside(table: MountTable, capsys: Captured) -> None:
    assert main(["flush", "/etc"]) == 5
    assert "not inside anything that b2mount has mounted" in capsys.readouterr().err


# -- url ---------------------------------------------------------------------------------------


def test_url(running: Running, capsys: Captured) -> None:
    assert main(["url", f"{running.mountpoint}/a b"]) == 0
    assert capsys.readouterr().out == "https://f000.example/file/bucket/a b?None\n"
    assert main(["url", f"{running.mountpoint}/a", "--expires", "1d"]) == 0
    assert capsys.readouterr().out == "https://f000.example/file/bucket/a?86400\n"


def test_url_of_nothing_is_not_a_missing_bucket(running: Running, capsys: Captured) -> None:
    path = f"{running.mountpoint}/missing"
    assert main(["url", path]) == 1
    assert capsys.readouterr().err == f"b2mount: {path}: no such file\n"


def test_url_of_a_directory(running: Running, capsys: Captured) -> None:
    path = f"{running.mountpoint}/directory"
    assert main(["url", path]) == 1
    assert capsys.readouterr().err == f"b2mount: {path} is a directory: only files have a URL\n"


@pytest.mark.parametrize("expires", ["8d", "0", "500ms"])
def test_url_for_longer_than_b2_allows(running: Running, expires: str, capsys: Captured) -> None:
    assert main(["url", f"{running.mountpoint}/a", "--expires", expires]) == 2
    assert "7 days" in capsys.readouterr().err

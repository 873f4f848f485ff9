"""warm and evict, with a fake mount behind a real socket."""

from __future__ import annotations

import threading
import time

import pytest

from b2mount.cli import progress
from b2mount.cli.main import main
from b2mount.control import server
from b2mount.errors import NoRoom
from b2mount.filesystem.status import Unfetched
from tests.cli.conftest import MountTable, Running

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("below", ["", "/a/b", "/a/../c"])
def test_warm_says_what_is_in_the_cache_now(running: Running, capsys: Captured, below: str) -> None:
    running.finish_uploads()
    assert main(["warm", running.mountpoint + below]) == 0
    assert running.mount.warmed == [below.replace("a/../", "").removeprefix("/")]
    assert capsys.readouterr().out == "3 files, 3.0 MiB, in the cache\n"


def test_warm_of_several_paths(running: Running, capsys: Captured) -> None:
    running.finish_uploads()
    assert main(["warm", f"{running.mountpoint}/a", f"{running.mountpoint}/b"]) == 0
    assert running.mount.warmed == ["a", "b"]
    assert capsys.readouterr().out == "6 files, 6.0 MiB, in the cache\n"


def test_warm_shows_how_far_it_is(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0)
    monkeypatch.setattr(server, "TELL_EVERY", 0.01)
    shown = threading.Event()
    show = progress.TransferLine.show

    def note(self: progress.TransferLine, files_left: int, moved: int, total: int) -> None:
        show(self, files_left, moved, total)
        if moved == 1 << 20:
            shown.set()

    monkeypatch.setattr(progress.TransferLine, "show", note)

    def finish() -> None:
        assert shown.wait(30)
        running.finish_uploads()

    thread = threading.Thread(target=finish)
    thread.start()
    assert main(["warm", running.mountpoint]) == 0
    thread.join()
    assert capsys.readouterr().err == "b2mount: 2 files left, 1.0 MiB of 3.0 MiB fetched\n"


def test_warm_that_is_interrupted_ends_in_the_mount_too(
    running: Running, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.TransferLine, "show", interrupt)
    assert main(["warm", running.mountpoint]) == 130
    assert capsys.readouterr().err == "b2mount: interrupted\n"
    for _ in range(1000):
        if running.mount.warmed == ["", "given up"]:
            return
        time.sleep(0.01)
    raise AssertionError("the mount goes on")


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        (["CorruptData"], 1),
        (["Unavailable", "Unavailable"], 7),
        (["Unavailable", "CorruptData"], 1),
        (["NotFound"], 1),
        (["AccessDenied"], 3),
        (["Nonsense"], 1),
    ],
)
def test_warm_names_what_it_could_not_fetch(
    running: Running, capsys: Captured, kinds: list[str], code: int
) -> None:
    running.mount.unfetched = tuple(Unfetched(f"f{n}", "why", kind) for n, kind in enumerate(kinds))
    running.finish_uploads()
    assert main(["warm", running.mountpoint]) == code
    said = capsys.readouterr()
    assert said.out.startswith(f"{3 - len(kinds)} file")
    assert said.err.splitlines()[-1].startswith(f"b2mount: {len(kinds)} file")
    assert "could not be fetched: f0 (why)" in said.err


def test_warm_of_more_than_there_is_room_for(running: Running, capsys: Captured) -> None:
    running.mount.failure = NoRoom("that is too much")
    running.finish_uploads()
    assert main(["warm", running.mountpoint]) == 1
    assert capsys.readouterr().err.endswith("b2mount: that is too much\n")


def test_evict_says_what_is_free_now(running: Running, capsys: Captured) -> None:
    assert main(["evict", f"{running.mountpoint}/a", f"{running.mountpoint}/b"]) == 0
    assert running.mount.evicted == ["a", "b"]
    assert capsys.readouterr().out == "4 files dropped from the cache, 10.0 MiB freed\n"


@pytest.mark.parametrize("command", ["warm", "evict"])
def test_of_nothing(running: Running, table: MountTable, capsys: Captured, command: str) -> None:
    path = f"{running.mountpoint}/missing"
    assert main([command, path]) == 1
    assert capsys.readouterr().err.endswith(f"b2mount: {path}: no such file or directory\n")
    assert main([command, "/etc"]) == 5
    assert main([command, f"{running.mountpoint}/a", "/etc"]) == 5
    assert running.mount.warmed == running.mount.evicted == []  # all places are looked up first
    assert main([command]) == 2

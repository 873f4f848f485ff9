"""cp, with a fake mount behind a real socket."""

from __future__ import annotations

import pytest

from b2mount.cli.main import main
from b2mount.filesystem.status import Unfetched
from tests.cli.conftest import MountTable, Running

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["a", "b"], [("a", "b", False, False)]),
        (["-r", "a", "d/e"], [("a", "d/e", True, False)]),
        (["a", "dir/"], [("a", "dir", False, True)]),
        (["--recursive", "a", "b", "dir"], [("a", "dir", True, True), ("b", "dir", True, True)]),
    ],
)
def test_what_is_asked_for(
    running: Running, capsys: Captured, words: list[str], asked: list[tuple[str, str, bool, bool]]
) -> None:
    paths = [word if word.startswith("-") else f"{running.mountpoint}/{word}" for word in words]
    assert main(["cp", *paths]) == 0
    assert running.mount.copied == asked
    count = 2 * len(asked)
    assert capsys.readouterr().out == f"{count} files, {count}.0 MiB, copied in B2\n"


def test_what_could_not_be_copied_is_named(running: Running, capsys: Captured) -> None:
    running.mount.unfetched = (Unfetched("x/y", "not allowed", "AccessDenied"),)
    assert main(["cp", f"{running.mountpoint}/a", f"{running.mountpoint}/b"]) == 3
    assert "1 file could not be copied: x/y (not allowed)" in capsys.readouterr().err


def test_what_is_missing_is_named(running: Running, capsys: Captured) -> None:
    assert main(["cp", f"{running.mountpoint}/missing", f"{running.mountpoint}/b"]) == 1
    assert capsys.readouterr().err == "b2mount: missing: no such file or directory\n"


def test_what_makes_no_sense(running: Running, table: MountTable, capsys: Captured) -> None:
    assert main(["cp", f"{running.mountpoint}/a"]) == 2
    assert "SOURCE and DEST" in capsys.readouterr().err
    assert main(["cp", f"{running.mountpoint}/a", "/nowhere"]) == 5
    assert running.mount.copied == []

"""versions, restore and undelete, with a fake mount behind a real socket."""

from __future__ import annotations

import json

import pytest

from b2mount.cli.main import main
from tests.cli.conftest import Running

Captured = pytest.CaptureFixture[str]


def test_versions_are_printed_newest_first(running: Running, capsys: Captured) -> None:
    assert main(["versions", f"{running.mountpoint}/file"]) == 0
    assert capsys.readouterr().out == (
        "2026-01-01T00:00:00.250Z        -  hide    id-3\n"
        "2026-01-01T00:00:00.000Z  2.0 KiB  upload  id-2\n"
        "2025-12-31T00:00:00.000Z      5 B  upload  id-1\n"
    )


def test_versions_for_programs(running: Running, capsys: Captured) -> None:
    assert main(["versions", "--json", f"{running.mountpoint}/file"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in found] == ["id-3", "id-2", "id-1"]
    assert found[1] == {
        "id": "id-2",
        "uploaded": "2026-01-01T00:00:00.000Z",
        "size": 2048,
        "action": "upload",
        "sha1": "a" * 40,
        "content_type": "text/plain",
    }


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], (None, None)),
        (["--version", "id-1"], ("id-1", None)),
        (["--at", "2026-01-01T00:00:00.007Z"], (None, 1_767_225_600_007)),
    ],
)
def test_restore(
    running: Running, capsys: Captured, options: list[str], asked: tuple[str | None, int | None]
) -> None:
    path = f"{running.mountpoint}/a/file"
    assert main(["restore", path, *options]) == 0
    assert running.mount.restored == [("a/file", *asked)]
    assert capsys.readouterr().out == f"{path} is the version of 2025-12-31T00:00:00.000Z again\n"


@pytest.mark.parametrize(
    "options", [["--at", "soon"], ["--at", "tomorrow"], ["--at", "2026-01-01", "--version", "id-1"]]
)
def test_restore_of_what_makes_no_sense(running: Running, capsys: Captured, options: list[str]) -> None:
    assert main(["restore", f"{running.mountpoint}/file", *options]) == 2
    assert "--at" in capsys.readouterr().err
    assert running.mount.restored == []


def test_undelete(running: Running, capsys: Captured) -> None:
    assert main(["undelete", f"{running.mountpoint}/directory"]) == 0
    assert running.mount.undeleted == ["directory"]
    assert capsys.readouterr().out == "3 files undeleted\n"


@pytest.mark.parametrize("command", ["versions", "restore", "undelete"])
def test_what_is_not_there(running: Running, capsys: Captured, command: str) -> None:
    assert main([command, f"{running.mountpoint}/missing"]) == 1
    assert capsys.readouterr().err.startswith("b2mount: ")

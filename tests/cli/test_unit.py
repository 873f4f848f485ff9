from __future__ import annotations

import configparser
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from b2mount.cli.exit_codes import EXIT_CODES
from b2mount.cli.main import main
from b2mount.cli.parser import parse


def unit(capsys: pytest.CaptureFixture[str]) -> configparser.ConfigParser:
    assert main(["unit"]) == 0
    made = configparser.ConfigParser(interpolation=None, delimiters="=")
    made.optionxform = str  # type: ignore[assignment,method-assign]  # put in its place for the test
    made.read_string(capsys.readouterr().out)
    return made


def test_the_unit_calls_this_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "of 100 %" / "b2mount"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "unit"])
    service = unit(capsys)["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0].replace("%%", "%") == str(program)
    parsed = parse([word.replace("%i", "photos") for word in words[1:]])
    assert (parsed.command, parsed.source, parsed.mountpoint) == ("mount", "photos", None)
    assert dict(parsed.settings) == {"foreground": True}
    assert service["Type"] == "notify"


def test_the_unit_of_a_program_that_is_not_in_the_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py"])
    assert unit(capsys)["Service"]["ExecStart"].startswith(f"{sys.executable} -m b2mount mount")


def test_only_what_may_pass_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    service = unit(capsys)["Service"]
    final = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert service["Restart"] == "on-failure"
    assert {code for _, code, _ in EXIT_CODES} - final == {7}


def test_systemd_finds_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "b2mount"
    program.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "unit"])
    assert main(["unit"]) == 0
    (tmp_path / "b2mount@.service").write_text(capsys.readouterr().out)
    command = ["systemd-analyze", "verify", str(tmp_path / "b2mount@photos.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "b2mount" in line]
    assert (done.returncode, ours) == (0, [])

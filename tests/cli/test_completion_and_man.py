"""What is made of the grammar for shells and for man."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from b2mount.cli.completion_command import completion
from b2mount.cli.main import main
from b2mount.cli.man_command import helper_page, main_page
from b2mount.cli.parser import COMMANDS, SHELLS
from b2mount.options import OPTIONS


def run(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_learns_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", script)
    for name in OPTIONS:
        assert re.search(rf"(--|-l ){name}\b", script)
    if shutil.which(shell):
        run(shell, "-n", given=script)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("b2mount und", ["undelete"]),
        ("b2mount mount --cache-", ["--cache-dir", "--cache-size"]),
        ("b2mount mount bucket --unlink d", ["delete"]),
        ("b2mount mount --log-level w", ["warning"]),
        ("b2mount mount bucket --write-back /usr/shar", ["/usr/share"]),
        ("b2mount doctor --js", ["--json"]),
        ("b2mount completion z", ["zsh"]),
    ],
)
def test_what_bash_completes(words: str, found: list[str]) -> None:
    ask = (
        f"\nCOMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _shtab_b2mount; echo ${{COMPREPLY[@]}}"
    )
    assert run("bash", given=completion("bash") + ask).split() == found


def read(page: str) -> str:
    """The page as a terminal shows it, in one line; groff must have nothing to complain of."""
    shown = run("groff", "-man", "-ww", "-Tascii", "-P-c", "-rHY=0", given=page + "\n")
    return " ".join(re.sub(".\b", "", shown).split())


def test_b2mount_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man"]) == 0
    page = capsys.readouterr().out
    assert page == main_page() + "\n"
    text = read(page)
    for name, what in COMMANDS.items():
        assert re.search(rf" {name} b2mount {name} .*?{what[1:]}", text.replace(" [-h]", " "), re.DOTALL)
    for option in OPTIONS.values():
        assert f" {option.usage} {option.help}" in text
    assert '[mounts.photos] source = "my-bucket/photos"' in text
    assert "3 B2 does not accept the key" in text


def test_mount_b2_8(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "mount.b2"]) == 0
    page = capsys.readouterr().out
    assert page == helper_page() + "\n"
    text = read(page)
    assert "mount.b2 [-h] [-o WORDS] [-f] [-s] SOURCE MOUNTPOINT" in text
    for option in OPTIONS.values():
        assert f" {option.usage[2:].replace(' ', '=')} {option.help}" in text


def test_every_argument_says_what_it_is() -> None:
    """A term in a page is followed by its text, which is never empty and never a request."""
    for page in (main_page(), helper_page()):
        lines = page.splitlines()
        for number, line in enumerate(lines):
            if line == ".TP":
                assert lines[number + 1].startswith(".B ")
                assert re.match(r"[^.]", lines[number + 2])

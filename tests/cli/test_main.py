"""What a person types, what comes back: exit codes and one line on stderr."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from b2mount import errors
from b2mount.cli import main as program
from b2mount.cli.exit_codes import EXIT_CODES, exit_code, exit_codes_table
from b2mount.cli.main import main, main_mount_helper
from b2mount.cli.packages import TO_BUILD
from b2mount.cli.parser import COMMANDS
from b2mount.errors import B2MountError
from b2mount.options import MountOptions, mount_options

Calls = list[Namespace]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Nothing is carried out; what would be is noted."""
    seen: Calls = []
    module = ModuleType("noted")

    def execute(parsed: Namespace) -> int:
        seen.append(parsed)
        return 0

    module.execute = execute  # type: ignore[attr-defined]  # a fake, or an object of the log
    monkeypatch.setattr(program, "importlib", SimpleNamespace(import_module=lambda name: module))
    return seen


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    def make(error: BaseException) -> None:
        def execute(parsed: Namespace) -> int:
            raise error

        module = ModuleType("failing")
        module.execute = execute  # type: ignore[attr-defined]  # a fake, or an object of the log
        monkeypatch.setattr(program, "importlib", SimpleNamespace(import_module=lambda name: module))

    return make


def mounting(parsed: Namespace) -> MountOptions:
    assert parsed.command == "mount"
    return mount_options(parsed.source, parsed.mountpoint, parsed.settings)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("b2mount: ")
    assert err.count("\n") == 1
    return err.removeprefix("b2mount: ").rstrip("\n")


# -- mounting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "mount bucket /m --read-only --ttl 5m --cache-size=1G",
        "bucket /m --read-only --ttl 5m --cache-size=1G",
        "--read-only bucket /m --ttl=5m --cache-size 1G",
        "bucket /m -o ro,ttl=5m,cache-size=1G",
        "b2://bucket /m -o ro -o ttl=5m -o cache_size=1G",
        "-o read-only,_netdev,ttl=5m,cache-size=1G bucket /m",
        "mount bucket /m -o ttl=7,ro --ttl 5m --cache-size 1G",
    ],
)
def test_all_ways_to_say_one_mount(words: str, calls: Calls) -> None:
    assert main(words.split()) == 0
    options = mounting(calls[0])
    assert str(options.source) == "b2://bucket"
    assert (options.mountpoint, options.read_only, options.ttl, options.cache_size) == (
        "/m",
        True,
        300,
        1 << 30,
    )


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("--write-back bucket /m", 1),
        ("bucket /m --write-back", 1),
        ("bucket --write-back=5 /m", 5),
        ("bucket /m -o write-back", 1),
        ("bucket /m -o write_back=2m", 120),
        ("bucket /m", None),
    ],
)
def test_write_back_takes_no_word_but_its_own(words: str, seconds: float | None, calls: Calls) -> None:
    assert main(words.split()) == 0
    assert mounting(calls[0]).write_back == seconds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "what to do?"),
        ("bucket", "MOUNTPOINT"),
        ("mount", "SOURCE"),
        ("bucket /m --cach-size 5", "unknown option 'cach-size' (did you mean cache-size?)"),
        ("bucket /m --at tomorrow", "option at: 'tomorrow' is still to come"),
        ("bucket /m --read", "unknown option 'read'"),
        ("bucket /m -o encrypt=b2", "unknown option 'encrypt' (did you mean encryption?)"),
        ("bucket /m extra", "unknown argument 'extra'"),
        ("bucket /m -x", "unknown argument '-x'"),
        ("bucket /m --ttl", "--ttl"),
        ("bucket /m --ttl soon", "option ttl: 'soon'"),
        ("bucket /m --read-only=yes", "--read-only"),
        ("bucket /m -o remount", "remount"),
        ("umount", "MOUNTPOINT"),
        ("umount /m --timeout soon", "'soon' is not a time"),
        ("status --wach", "unknown argument '--wach'"),
        ("url", "PATH"),
        ("emulator", "--data"),
        ("emulator --data d --port x", "--port"),
        ("emulator --data d --port 65536", "'65536' is not a port"),
    ],
)
def test_wrong_command_lines(
    words: str, message: str, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert message in complaint(capsys)
    assert calls == []


def test_a_name_that_the_locale_cant_spell(tmp_path: Path) -> None:
    program = (
        "import b2mount.cli.main as m; m.main = lambda words: print(chr(0x1F600), chr(0xDCFF)) or 0; m.run()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\U0001f600 \\udcff\n", b"")


def test_help_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    with pytest.raises(SystemExit):
        main(["mount", "--help"])
    text = capsys.readouterr().out
    assert "--write-back[=SECONDS]" in text
    assert "--unlink hide|delete" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words, found in ((["help"], "COMMAND"), (["help", "umount"], "MOUNTPOINT")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert (ended.value.code, found in capsys.readouterr().out) == (0, True)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("b2mount 0.")


# -- mount.b2 ----------------------------------------------------------------------------------


def test_the_helper_of_mount8(calls: Calls) -> None:
    words = ["my-bucket", "/mnt/b2", "-n", "-o", "rw,user,_netdev,nofail,ttl=5m", "-v", "-t", "b2"]
    assert main_mount_helper(words) == 0
    options = mounting(calls[0])
    assert (options.mountpoint, options.ttl, options.read_only) == ("/mnt/b2", 300, False)


def test_the_helper_fakes_when_told(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_mount_helper(["my-bucket", "/mnt/b2", "-f", "-o", "ro"]) == 0
    assert main_mount_helper(["my-bucket", "/mnt/b2", "-f", "-o", "nonsense"]) == 2
    assert "unknown option 'nonsense'" in complaint(capsys)
    assert calls == []


def test_the_helper_is_sloppy_when_told(calls: Calls) -> None:
    assert main_mount_helper(["my-bucket", "/mnt/b2", "-s", "-o", r"nonsense=1,ttl=7,cache-dir=/a\,b"]) == 0
    options = mounting(calls[0])
    assert (options.ttl, options.cache_dir) == (7, Path("/a,b"))


@pytest.mark.parametrize("words", [[], ["my-bucket"], ["my-bucket", "/m", "-q"]])
def test_the_helper_called_wrongly(
    words: list[str], calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_mount_helper(words) == 2
    complaint(capsys)


# -- errors ------------------------------------------------------------------------------------

OURS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, B2MountError) and kind is not B2MountError
]


def test_every_code_of_the_contract() -> None:
    expected = {
        "UsageError": 2,
        "NotAuthorized": 3,
        "AccessDenied": 3,
        "NotPermitted": 3,
        "NotFound": 4,
        "MountPointUnusable": 5,
        "FuseMissing": 6,
        "Unavailable": 7,
        "UnsentData": 8,
    }
    narrower = {"KeyMissing": 3}  # a kind of AccessDenied
    found = {kind.__name__: exit_code(kind("x")) for kind in OURS if exit_code(kind("x")) != 1}
    assert found == expected | narrower
    assert len(EXIT_CODES) == len(expected)


def test_readme_has_the_exit_codes() -> None:
    assert exit_codes_table() in (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("kind", OURS)
def test_every_error_is_one_line_and_its_code(
    kind: type[B2MountError],
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(kind("what happened,\nand what to do"))
    assert main(["status"]) == exit_code(kind("x"))
    assert complaint(capsys) == "what happened, and what to do"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x"), 1, "/x: No such file or directory"),
        (OSError("odd"), 1, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyError("secret"), 1, "a fault of b2mount itself, please report it: KeyError at test_main.py:"),
    ],
)
def test_other_errors_too(
    error: BaseException,
    code: int,
    message: str,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert main(["status"]) == code
    said = complaint(capsys)
    assert said.startswith(message)
    assert "secret" not in said


def test_a_missing_libfuse_is_exit_6(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> None:
        raise error

    error: ImportError = ImportError(
        "libfuse3.so.3: cannot open shared object file: No such file or directory"
    )
    monkeypatch.setattr(program, "importlib", SimpleNamespace(import_module=fail))
    assert main(["bucket", "/m"]) == 6
    said = complaint(capsys)
    assert "libfuse3 is missing" in said
    for command in ("apt-get install fuse3`", "dnf install fuse3`", "pacman -S fuse3`"):
        assert command in said
    error = ModuleNotFoundError("No module named 'pyfuse3'", name="pyfuse3")
    assert main(["bucket", "/m"]) == 6
    said = complaint(capsys)
    for package in ("libfuse3-dev", "fuse3-devel", "pacman -S fuse3 pkgconf", "install b2mount again"):
        assert package in said


def test_the_journal_learns_that_a_mount_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.startswith("<3>b2mount: ")


def test_every_command_has_its_module() -> None:
    assert set(program.MODULES) == set(COMMANDS)
    for name in set(program.MODULES.values()):
        assert callable(importlib.import_module(name).execute)


def test_readme_names_the_packages_that_errors_name() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    commands = re.findall("`[a-z-]+ (?:install|-S) ([^`]+)`", TO_BUILD)
    assert len(commands) == 3
    for packages in commands:
        assert f"{packages} " in readme

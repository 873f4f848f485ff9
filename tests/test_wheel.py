"""What `pip install` and `pipx install` are given: the wheel, as anybody builds it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import b2mount

REPOSITORY = Path(b2mount.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY / "b2mount", source / "b2mount", ignore=ignore)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(root),
        str(source),
    ]
    subprocess.run(command, check=True, timeout=200, cwd=root)
    (made,) = root.glob("b2mount-*-py3-none-any.whl")
    return made


def test_everything_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "b2mount").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= names
    assert {name.split("/")[0] for name in names} == {"b2mount", f"b2mount-{b2mount.__version__}.dist-info"}


def test_both_programs_are_installed(wheel: Path) -> None:
    scripts = configparser.ConfigParser(delimiters="=")
    with zipfile.ZipFile(wheel) as archive:
        scripts.read_string(
            archive.read(f"b2mount-{b2mount.__version__}.dist-info/entry_points.txt").decode()
        )
    assert set(scripts["console_scripts"]) == {"b2mount", "mount.b2"}


def test_it_runs_from_there(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "b2mount", "man", "mount.b2"]
    page = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert page.stdout.startswith(".TH MOUNT.B2 8")

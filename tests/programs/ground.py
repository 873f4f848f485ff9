"""Where a program of the suite works: a mount of its own, and a directory on the local disk beside it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from b2mount.emulator.counts import Counts
from tests.mounted.harness import Mount

PROGRAM_WITHIN: Final = 300.0
"""Seconds that one program may take."""


@attrs.define
class Ground:
    """What a check gets."""

    mount: Mount
    local: Path
    """An empty directory on the local disk."""
    counts: Counts
    """What B2 was asked for, by everybody."""
    notes: list[str] = attrs.field(factory=list)
    """What is worth telling beside calls, bytes and seconds."""

    @property
    def path(self) -> Path:
        """The mount point."""
        return self.mount.path

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a program prints that must succeed. Raises AssertionError."""
        return self.mount.programs.run(*command, cwd=cwd, timeout=PROGRAM_WITHIN)

    def attempt(self, *command: str | Path, cwd: Path | None = None) -> tuple[int, str]:
        """Exit code and output of a program that may fail."""
        return self.mount.programs.attempt(command, cwd=cwd, timeout=PROGRAM_WITHIN)

    def remount(self) -> None:
        """Everything is in B2, and nothing of it is known here any more."""
        code, output = self.mount.b2mount("flush", self.path, timeout=PROGRAM_WITHIN)
        assert code == 0, output
        self.mount.remount(fresh_cache=True)

    def same_trees(self, one: Path, other: Path) -> None:
        """`diff` sees no difference."""
        assert self.run("diff", "-r", "--no-dereference", one, other) == ""


@attrs.frozen
class Check:
    """One program, and how it is seen that it works."""

    name: str
    run: Callable[[Ground], None]
    programs: tuple[str, ...] = ()
    """What must be in the path."""
    packages: tuple[str, ...] = ()
    """The Debian packages that have them."""
    modules: tuple[str, ...] = ()
    """Python modules that it needs, from PyPI."""
    probe: tuple[str, ...] = ()
    """A command that succeeds when all is there."""

    def missing(self) -> str:
        """What has to be installed first, in words; nothing when all is there."""
        words = []
        lacks = any(shutil.which(program) is None for program in self.programs)
        if lacks or (self.probe and not _succeeds(self.probe)):
            words.append(f"apt-get install {' '.join(self.packages)}")
        lacking = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if lacking:
            words.append(f"pip install {' '.join(lacking)}")
        return "; ".join(words)


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except FileNotFoundError:
        return False


@attrs.frozen
class Cost:
    """What a check took."""

    seconds: float
    calls: str
    bytes_in: int
    bytes_out: int

    def __str__(self) -> str:
        up, down = self.bytes_in / 1e6, self.bytes_out / 1e6
        return f"{self.seconds:7.1f} s  {self.calls:<28} {up:8.1f} MB up {down:8.1f} MB down"


def measured(check: Check, ground: Ground) -> Cost:
    """Run a check, and everything that it wrote into B2. Raises AssertionError."""
    ground.counts.reset()
    begun = time.monotonic()
    check.run(ground)
    code, output = ground.mount.b2mount("flush", ground.path, timeout=PROGRAM_WITHIN)
    assert code == 0, output
    ground.mount.check()
    seconds, counts = time.monotonic() - begun, ground.counts.snapshot()
    calls = " ".join(f"{count} {price}" for price, count in counts["transactions"].items())
    return Cost(seconds, calls, counts["bytes_in"], counts["bytes_out"])

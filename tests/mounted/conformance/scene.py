"""Scene: where one case plays. It does what the case says and writes down what came of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from tests.mounted.conformance.calls import CALLS, outcome

CLOCK_REALTIME_COARSE: Final = 5

User = tuple[int, int] | tuple[int, int, Sequence[int]]
ROOT: Final[User] = (0, 0)
ANN: Final[User] = (65534, 65533)
BOB: Final[User] = (65532, 65531)


@attrs.define
class Scene:
    """The working directory is the case's own, and empty at first. Names are relative to it."""

    lines: list[str] = attrs.field(factory=list)
    _user: User = ROOT

    def do(self, call: str, *arguments: object) -> str:
        """One call, and a line about it."""
        result = outcome(lambda: CALLS[call](*arguments))
        shown = " ".join(_short(argument) for argument in arguments)
        who = "" if self._user == ROOT else f"{self._user[0]}:{','.join(map(str, self._user[1:]))} "
        self.lines.append(f"{who}{call} {shown} -> {result}")
        return result

    def quietly(self, call: str, *arguments: object) -> None:
        """One call that prepares something and has to work, without a line."""
        CALLS[call](*arguments)

    def look(self, *names: str) -> None:
        """What lstat says of each."""
        for name in names:
            self.do("look", name)

    def note(self, label: str, action: Callable[[], object]) -> None:
        """A line about something else."""
        self.lines.append(f"{label} -> {outcome(action)}")

    @contextmanager
    def user(self, user: User) -> Iterator[None]:
        """Inside, everything is done as another user: (uid, gid) or (uid, gid, groups)."""
        groups = user[2] if len(user) == 3 else (user[1],)
        os.setgroups(list(groups))
        os.setegid(user[1])
        os.seteuid(user[0])
        before, self._user = self._user, user
        try:
            yield
        finally:
            self._user = before
            os.seteuid(0)
            os.setegid(0)
            os.setgroups([0])

    @contextmanager
    def times(self, *names: str, fields: str = "mc") -> Iterator[None]:
        """A line for each name that tells which of its times (m, c, a) have changed inside."""
        before = [_times(name) for name in names]
        _tick()
        yield
        for name, old in zip(names, before, strict=True):
            new = _times(name)
            told = [f"{field}{'=' if old.get(field) == new.get(field) else '+'}" for field in fields]
            self.lines.append(f"times of {_short(name)}: {' '.join(told)}")


def play(root: Path, name: str, case: Callable[[Scene], None]) -> list[str]:
    """What came of a case in a new directory below `root`."""
    place = root / name
    place.mkdir()
    place.chmod(0o755)
    os.chdir(place)
    os.umask(0)
    scene = Scene()
    try:
        case(scene)
    finally:
        os.chdir(root)
        shutil.rmtree(place)
    return scene.lines


def _tick() -> None:
    """Wait until the kernel's clock for files, which moves every 1 to 10 ms, is past this moment. That it
    has moved is not enough: since Linux 6.13 no file gets a time before a finer one that another has been
    given, so a move of the coarse clock may not show."""
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= now:
        time.sleep(0.0005)


def _times(name: str) -> dict[str, int]:
    try:
        found = os.lstat(name)
    except FileNotFoundError:
        return {}
    return {"m": found.st_mtime_ns, "c": found.st_ctime_ns, "a": found.st_atime_ns}


def _short(argument: object) -> str:
    if isinstance(argument, int):
        return f"{argument:o}" if argument >= 0 else str(argument)
    text = str(argument)
    return text if len(text) <= 60 else f"{text[:20]}...({len(text)})"

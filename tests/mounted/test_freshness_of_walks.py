"""One program walks through a mount while another client changes names: every answer was true within the
time to live."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest

from tests.mounted.bucket import BucketView
from tests.mounted.conftest import MountMaker
from tests.mounted.test_semantics_freshness import SHORT, SLACK, TTL, hide

pytestmark = pytest.mark.kernel


@attrs.frozen
class Change:
    """A name got this value at a moment between the two."""

    began: float
    ended: float
    value: str | None


@attrs.define
class History:
    """What B2 had under each name, and when. A file is its text, a directory DIRECTORY."""

    changes: dict[str, list[Change]] = attrs.field(factory=dict)

    def do(self, name: str, value: str | None, change: Callable[[], object]) -> None:
        """Change it, and note when."""
        line = self.changes.setdefault(name, [Change(0, 0, None)])
        began = time.monotonic()
        line.append(Change(began, float("inf"), value))
        change()
        line[-1] = Change(began, time.monotonic(), value)

    def check(self, name: str, asked: float, is_right: Callable[[str | None], bool], answer: object) -> None:
        """Fails unless a right value was there between `asked` less the time to live, and now."""
        line = list(self.changes[name])
        ends = [*(change.ended for change in line[1:]), float("inf")]
        since = asked - TTL - SLACK
        values = [change.value for change, end in zip(line, ends, strict=True) if end >= since]
        assert any(map(is_right, values)), f"{name}: {answer!r}, when B2 had {values!r}"


DIRECTORY = "<directory>"


def change_for_long(bucket: BucketView, history: History, rounds: int) -> None:
    """The other client: names of all kinds come, change, go, and become directories."""
    for number in range(rounds):
        name = f"w{number % 3}/n{number % 7}"
        kind = number % 4
        current = history.changes[name][-1].value if name in history.changes else None
        if current is not None:
            key = f"{name}/inside" if current == DIRECTORY else name
            if kind != 1 or current == DIRECTORY:
                history.do(name, None, partial(hide, bucket, key))
        if kind == 3:
            history.do(name, DIRECTORY, partial(bucket.put, f"{name}/inside", b"x"))
        elif kind != 2:
            text = f"{number} " * (number + 1)
            history.do(name, text, partial(bucket.put, name, text.encode()))
        time.sleep(0.01)


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except IsADirectoryError:
        return DIRECTORY
    except (FileNotFoundError, NotADirectoryError):
        return None


def size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def walk_once(root: Path, history: History) -> None:
    for number in range(3):
        directory = f"w{number}"
        asked = time.monotonic()
        listed = set(os.listdir(root / directory))
        for name in [name for name in list(history.changes) if name.startswith(f"{directory}/")]:
            is_there = name.partition("/")[2] in listed
            history.check(name, asked, partial(is_as_listed, is_there), is_there)
            look_at(root, name, history)


def is_as_listed(is_there: bool, value: str | None) -> bool:
    return (value is not None) == is_there


def look_at(root: Path, name: str, history: History) -> None:
    asked = time.monotonic()
    text = read(root / name)
    history.check(name, asked, lambda value: value == text, text)
    asked = time.monotonic()
    size = size_of(root / name)
    history.check(name, asked, lambda value: size == size_as_stat_says(value), size)


def size_as_stat_says(value: str | None) -> int | None:
    if value is None:
        return None
    return 0 if value == DIRECTORY else len(value)


def test_every_answer_to_a_walk_was_true_within_the_time_to_live(make_mount: MountMaker) -> None:
    mount = make_mount(SHORT)
    for number in range(3):
        mount.bucket.put(f"w{number}/kept", b"")
    history = History()
    changing = threading.Thread(target=change_for_long, args=(mount.bucket, history, 200))
    changing.start()
    walks = 0
    while changing.is_alive():
        walk_once(mount.path, history)
        walks += 1
    changing.join()
    end = {name: line[-1].value for name, line in history.changes.items()}
    while {name: read(mount.path / name) for name in end} != end:
        walk_once(mount.path, history)  # fails when this goes on for too long
    assert walks > 3

"""What programs do with files in a day, minute by minute. Started by tests.torture.soak.

python -m tests.torture.soak_program MOUNT SIGN NAME SEED
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

MINUTES: Final = 1440
OPENS: Final = 70
WRITES: Final = 14
STATS: Final = 140
READ: Final = 35 << 20
"""Of each minute."""
KEPT: Final = 300
"""Files that a program leaves there; it removes as many as it makes from then on."""
DIRECTORIES: Final = 8
HOT: Final = "hot"
HOT_FILES: Final = 6
HOT_SIZE: Final = 6 << 20
CHUNK: Final = 1 << 20
MODES: Final = (0o600, 0o644, 0o755)


@attrs.define(eq=False)
class Day:
    """One of the programs, in a directory of its own below the mount."""

    mount: Path
    name: str
    dice: random.Random
    counts: Counter[str] = attrs.field(factory=Counter)
    files: dict[Path, str] = attrs.field(factory=dict)
    """SHA-1 of the bytes of each, oldest first."""

    @property
    def home(self) -> Path:
        return self.mount / self.name

    def begin(self) -> None:
        for number in range(DIRECTORIES):
            (self.home / str(number)).mkdir(parents=True)

    def minute(self) -> None:
        """Raises AssertionError when a file holds something else than what it was given."""
        for work, count in self._tasks():
            for _ in range(count):
                work()
        self.read_hot()
        self.counts["minutes"] += 1

    def _tasks(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.write, WRITES),
            (self.open_one, OPENS - WRITES - READ // HOT_SIZE),
            (self.stat_one, STATS * 3 // 4),
            (self.stat_what_is_not_there, STATS - STATS * 3 // 4),
            (self.list_one, 2),
            (self.change_attributes, 1),
            (self.remove_while_open, 1),
            (self.make_and_remove_a_directory, 1),
        ]

    # -- what it does ----------------------------------------------------------------------

    def write(self) -> None:
        """A new file, an edit in place, or one saved over an old one as editors do."""
        data = self.dice.randbytes(self.dice.choice((100, 4000, 20_000, 60_000)))
        what = self.dice.random()
        if self.files and what < 0.3:
            path = self.dice.choice(list(self.files))
            new = path.with_suffix(".new")
            new.write_bytes(data)
            new.rename(path)
        else:
            path = self._news()
            path.write_bytes(data)
        self.files.pop(path, None)
        self.files[path] = hashlib.sha1(data).hexdigest()
        self.counts["files written"] += 1
        self.counts["opens"] += 1
        while len(self.files) > KEPT:
            oldest = next(iter(self.files))
            del self.files[oldest]
            oldest.unlink()

    def open_one(self) -> None:
        path = self.dice.choice(list(self.files))
        found = hashlib.sha1(path.read_bytes()).hexdigest()
        assert found == self.files[path], f"{path} holds other bytes"
        self.counts["opens"] += 1

    def stat_one(self) -> None:
        self.dice.choice(list(self.files)).stat()
        self.counts["stats"] += 1

    def stat_what_is_not_there(self) -> None:
        """A name that nobody has ever asked for."""
        path = self.home / str(self.dice.randrange(DIRECTORIES)) / f"{self.dice.getrandbits(64):x}"
        with suppress(FileNotFoundError):
            path.stat()
            raise AssertionError(f"{path} is there")
        self.counts["stats"] += 1

    def list_one(self) -> None:
        for entry in os.scandir(self.home / str(self.dice.randrange(DIRECTORIES))):
            entry.stat()
        self.counts["listings"] += 1

    def change_attributes(self) -> None:
        path = self.dice.choice(list(self.files))
        path.chmod(self.dice.choice(MODES))
        os.setxattr(path, "user.mark", b"%d" % self.dice.randrange(10**6))
        self.counts["changes of attributes"] += 1

    def remove_while_open(self) -> None:
        path = self._news()
        with path.open("w+b") as file:
            file.write(b"short-lived")
            file.flush()
            path.unlink()
            file.seek(0)
            assert file.read() == b"short-lived"
        self.counts["opens"] += 1

    def make_and_remove_a_directory(self) -> None:
        path = self._news()
        path.mkdir()
        (path / "inside").write_bytes(b"x")
        (path / "inside").unlink()
        path.rmdir()

    def read_hot(self) -> None:
        """Through the mount, since the kernel is told to forget what it has."""
        left = READ
        while left > 0:
            path = self.mount / HOT / str(self.dice.randrange(HOT_FILES))
            with path.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while left > 0 and (data := file.read(CHUNK)):
                    left -= len(data)
                    self.counts["bytes read from the cache"] += len(data)
            self.counts["opens"] += 1

    def _news(self) -> Path:
        return self.home / str(self.dice.randrange(DIRECTORIES)) / f"{self.dice.getrandbits(48):012x}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak_program", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("sign", type=Path)
    parser.add_argument("name")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    day = Day(arguments.mount, arguments.name, random.Random(f"{arguments.seed} {arguments.name}"))
    day.begin()
    progress: Path = arguments.sign.with_name(arguments.name)
    while not arguments.sign.exists():
        day.minute()
        new = progress.with_suffix(".new")
        new.write_text(json.dumps(day.counts))
        new.rename(progress)


if __name__ == "__main__":
    main()

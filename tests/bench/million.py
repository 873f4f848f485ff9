"""`python -m tests.bench.million`: a million names, and how long other programs wait meanwhile.

One bucket has them in ten thousand directories, one in a single directory. While `find` or `ls -U` goes
through a mount of it from an empty cache, one program asks for names that nobody has heard of yet, and
another one for names that it has asked for before. Then the same once more, and after a remount. Of the
stats that took longest it says when they were asked for, in seconds from the beginning of the walk.

Exit code 1 when a name is missing, when anybody waited longer than LONGEST_WAIT for a stat, when the mount
took more than MOST_MEMORY, or when B2 was asked for what was known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import Emulator, emulator
from tests.bench.peers import B2MOUNT, Mounted, MountPlan, mounted
from tests.bench.watchdog import limit

LONGEST_WAIT: Final = 0.2
MOST_MEMORY: Final = 400 * 10**6
WALK_WITHIN: Final = 400.0
STAT_WITHIN: Final = 60.0
NEAR: Final = 200
SLOWEST: Final = 5
"""Stats of which it is said when they were."""
KNOWN: Final = 100
"""Names that one program asks for again and again."""
PEER: Final = attrs.evolve(B2MOUNT, options="--ttl 1d")
STATS: Final = """
import json, os, sys, time
folder, pause, known = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
names = [os.path.join(folder, name) for name in sys.stdin.readline().split()]
for name in names[:known]:
    os.stat(name)
print("ready", flush=True)
waits, place, stop = [], 0, os.path.join(os.getcwd(), "stop")
while not os.path.exists(stop):
    began = time.monotonic()
    os.stat(names[place % len(names)])
    waits.append((time.monotonic() - began, began))
    place += 1
    time.sleep(pause)
print(json.dumps(waits))
"""


@attrs.frozen
class Names:
    """What a bucket holds."""

    bucket: str
    folders: int
    each: int

    def path(self, number: int) -> str:
        """Of the file with a number from 0 on."""
        folder, file = divmod(number, self.each)
        return f"dir-{folder:06d}/file-{file:06d}"

    def all(self, mount: Path) -> Iterator[str]:
        """What find prints below the mount point."""
        for folder in range(self.folders):
            yield f"{mount}/dir-{folder:06d}"
        for number in range(self.folders * self.each):
            yield f"{mount}/{self.path(number)}"

    def ahead(self) -> list[str]:
        """Names from the end on, where the walk comes last: each of another directory if there are many,
        and no two that are asked for one after the other near each other."""
        count = self.folders * self.each
        step = self.each + 1 if self.folders > 1 else 101
        numbers = list(range(count - 1, 0, -step))
        order = random.Random(5)
        for first in range(0, len(numbers), NEAR):
            near = numbers[first : first + NEAR]
            order.shuffle(near)
            numbers[first : first + NEAR] = near
        return [self.path(number) for number in numbers]


TREE: Final = Names("million-tree", 10_000, 100)
CROWD: Final = Names("million-crowd", 1, 1_000_000)


@attrs.frozen
class Waits:
    """How long a program has waited for each of its stats."""

    stats: tuple[tuple[float, float], ...]
    """Seconds that one took, and when it began, from the beginning of the walk; shortest first."""

    @classmethod
    def since(cls, walk_began: float, stats: list[list[float]]) -> Waits:
        """Of what a program has printed."""
        return cls(tuple(sorted((seconds, began - walk_began) for seconds, began in stats)))

    @property
    def longest(self) -> float:
        """Seconds that the slowest one took."""
        return self.stats[-1][0]

    def at(self, share: float) -> float:
        """What this share of them was answered within."""
        return self.stats[min(len(self.stats) - 1, int(len(self.stats) * share))][0]

    def __str__(self) -> str:
        p50, p99, worst = (f"{wait * 1000:.1f}" for wait in (self.at(0.5), self.at(0.99), self.longest))
        slow = ", ".join(
            f"{wait * 1000:.0f} at {moment:.1f} s" for wait, moment in reversed(self.stats[-SLOWEST:])
        )
        return f"{len(self.stats)} stats, p50 {p50}, p99 {p99}, max {worst} ms ({slow})"


@attrs.frozen
class Figure:
    """One walk."""

    what: str
    seconds: float
    cpu_seconds: float
    peak_memory: int
    calls: int
    class_c: int
    waits: dict[str, Waits]
    is_right: bool
    may_ask: bool

    @property
    def is_fine(self) -> bool:
        """Whether it keeps what is promised."""
        longest = max(waits.longest for waits in self.waits.values())
        is_cheap = self.may_ask or not self.calls
        return self.is_right and is_cheap and longest < LONGEST_WAIT and self.peak_memory < MOST_MEMORY

    def __str__(self) -> str:
        lines = [
            f"{self.what}: {self.seconds:.1f} s, {self.calls} calls, {self.class_c} of class C,"
            f" {self.peak_memory / 1e6:.0f} MB at most, {self.cpu_seconds:.1f} s of CPU"
            f"{'' if self.is_right else ', WRONG NAMES'}",
            *(f"    {name}: {waits}" for name, waits in self.waits.items()),
        ]
        return "\n".join(lines)


@attrs.frozen(eq=False)
class Asker:
    """A program that asks for attributes again and again."""

    process: subprocess.Popen[str]

    @classmethod
    def begin(cls, folder: Path, mount: Path, names: list[str], *, pause: float, known: int) -> Asker:
        """It looks at the first `known` ones before anything else, and rests after each stat."""
        process = subprocess.Popen(
            [sys.executable, "-c", STATS, str(mount), str(pause), str(known)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(names) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        return cls(process)

    def end(self, walk_began: float) -> Waits:
        """Its answers, once it has been told to stop."""
        text, _ = self.process.communicate(timeout=STAT_WITHIN)
        return Waits.since(walk_began, json.loads(text))


@attrs.frozen(eq=False)
class Walker:
    """Walks through mounts of one bucket."""

    server: Emulator
    names: Names
    folder: Path
    pause: float

    def walk(self, what: str, mount: Mounted, *command: str, may_ask: bool) -> Figure:
        """A program that goes through all names, and those who ask meanwhile."""
        ahead, stop = self.names.ahead(), self.folder / "stop"
        askers: dict[str, Asker] = {}

        def rescue() -> None:
            mount.destroy()
            for asker in askers.values():
                asker.process.kill()

        with limit(WALK_WITHIN, rescue), contextlib.ExitStack() as stack:
            stack.callback(stop.unlink, missing_ok=True)
            begin = self._asker(mount)
            askers["known"] = begin(ahead[:KNOWN], KNOWN)
            before, used = self.server.activity(), mount.use()
            askers["not known"] = begin(ahead[KNOWN:], 0)
            began = time.monotonic()
            with (self.folder / "out").open("wb") as out:
                done = subprocess.run(command, stdout=out, check=False, stdin=subprocess.DEVNULL)
            seconds = time.monotonic() - began
            stop.touch()
            waits = {name: asker.end(began) for name, asker in askers.items()}
        after, use = self.server.activity(), mount.use()
        return Figure(
            what,
            seconds,
            use.cpu_seconds - used.cpu_seconds,
            use.peak_memory,
            after.requests - before.requests,
            after.traffic.since(before.traffic).class_c,
            waits,
            not done.returncode and self._is_right(mount),
            may_ask,
        )

    def _asker(self, mount: Mounted) -> Callable[[list[str], int], Asker]:
        return lambda names, known: Asker.begin(self.folder, mount.path, names, pause=self.pause, known=known)

    def _is_right(self, mount: Mounted) -> bool:
        """Whether each name was printed once: a path by find, its last component by ls."""
        lines = (self.folder / "out").read_text().splitlines()
        wanted = set(self.names.all(mount.path))
        if lines and not lines[0].startswith("/"):
            wanted = {
                path.rpartition("/")[2] for path in wanted if path.count("/") > str(mount.path).count("/") + 1
            }
        lines = [line for line in lines if line != str(mount.path)]
        return len(lines) == len(wanted) and set(lines) == wanted


def play(server: Emulator, names: Names, folder: Path, pause: float, programs: list[str]) -> Iterator[Figure]:
    """Each program from an empty cache, and again, and after a remount."""
    for program in programs:
        place = folder / f"{names.bucket}-{program}"
        place.mkdir()
        plan = MountPlan(server.access(), names.bucket, place)
        walker = Walker(server, names, place, pause)
        walked = str(plan.mountpoint) if program == "find" else str(plan.mountpoint / "dir-000000")
        command = ["find", walked] if program == "find" else ["ls", "-U", walked]
        what = f"{program} of {names.folders} x {names.each}"
        with mounted(PEER, plan) as mount:
            yield walker.walk(f"{what}, cold", mount, *command, may_ask=True)
            yield walker.walk(f"{what}, again", mount, *command, may_ask=False)
            mount.unmount()
        with mounted(PEER, plan) as mount:
            yield walker.walk(f"{what}, after a remount", mount, *command, may_ask=False)
            mount.unmount()


def main() -> int:
    """Print the figures of each walk; 0 when they are fine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.million", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=("tree", "crowd"), default=["tree", "crowd"])
    parser.add_argument("--programs", nargs="+", choices=("find", "ls"), default=["find", "ls"])
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between two stats of a program")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: what is mounted is unmounted
    fine = True
    temporary = tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir="/var/tmp")
    with temporary as name, emulator(Path(name) / "emulator") as server:
        for which in options.only:
            names = TREE if which == "tree" else CROWD
            server.seed_bucket(names.bucket, names.folders * names.each, names.each)
            programs = options.programs if which == "crowd" else ["find"]
            for figure in play(server, names, Path(name), options.pause, programs):
                print(figure, flush=True)
                fine = fine and figure.is_fine
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.torture.soak --minutes 30`: days of work on one mount, and whether anything in it grows.

A day is 1,440 times what programs do in a minute: 100,000 opens, 20,000 files written, 200,000 stats (a
quarter of them of names that nobody has ever asked for), 50 GB read from the disk cache, 2,900 listings,
1,440 changes of attributes, directories made and removed, and files removed while they are open. Names are
believed for two seconds, so that listings expire about as often as in a day with the default, and all
tokens end 24 times, the daily renewal of one among them. Files that are written are removed again when
newer ones are there: a mount that loses nothing ends each day as it has begun it. Days follow each other
until the time is up, and need not be whole.

Every ten seconds the mount is measured, and asked for its status. The verdict is the last third of the
samples against the middle one; in the first third caches fill. Exit code 1 when it is not flat.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket, open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import show_connections
from tests.torture.soak_program import HOT, HOT_FILES, HOT_SIZE, MINUTES

EVERY: Final = 10.0
"""Seconds between two samples."""
WITHIN: Final = 600.0
PROGRAMS: Final = ("one", "other")
TOKEN_ENDS: Final = 24
CACHE: Final = 96 << 20
OPTIONS: Final = (f"--cache-size={CACHE}", "--ttl=2")
COLD: Final = CACHE + (16 << 20)
"""Read first, so that the cache is full from the start."""


@attrs.frozen
class Bound:
    """By how much the median of the last third may be above that of the middle one, and why not less."""

    growth: float
    reason: str
    unit: float = 1.0
    """What a figure in the table is a multiple of."""


MIB: Final = 1 << 20
BOUNDS: Final[Mapping[str, Bound]] = {
    "memory": Bound(
        6 * MIB, "arenas come and go; a day of 400,000 calls that lose 16 bytes each takes as much", MIB
    ),
    "descriptors": Bound(4, "connections and files in use at that moment"),
    "threads": Bound(6, "lanes keep threads for ten seconds after their last use"),
    "cache": Bound(CACHE / 10, "what has come since it was trimmed last", MIB),
    "staging": Bound(1 * MIB, "files that are being written", MIB),
    "staged files": Bound(8, "files that are being written"),
    "databases": Bound(256 << 10, "a write-ahead log since its last checkpoint", 1024),
}

Sample = Mapping[str, float]


def sample(mount: Mount) -> Sample:
    """What the mount has now."""
    assert mount.process is not None
    proc = Path("/proc", str(mount.process.pid))
    pages = int((proc / "statm").read_text().split()[1])
    sizes = dict(_sizes(mount.cache))
    staged = [size for path, size in sizes.items() if "staging" in path.parts]
    databases = {path: size for path, size in sizes.items() if ".db" in path.name or ".sqlite" in path.name}
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir(proc / "fd")),
        "threads": len(os.listdir(proc / "task")),
        "cache": sum(sizes.values()) - sum(staged) - sum(databases.values()),
        "staging": sum(staged),
        "staged files": len(staged),
        "databases": sum(databases.values()),
    }


def _sizes(directory: Path) -> list[tuple[Path, int]]:
    found = []
    for above, _, names in os.walk(directory):
        for name in names:
            try:
                found.append((Path(above, name), Path(above, name).stat().st_size))
            except FileNotFoundError:
                continue
    return found


@attrs.frozen
class Judgement:
    """Of one measure: the medians of two thirds of the samples."""

    name: str
    middle: float
    last: float
    most: float
    bound: Bound

    @property
    def is_flat(self) -> bool:
        return self.last - self.middle <= self.bound.growth

    def __str__(self) -> str:
        figures = [self.middle, self.last, self.most, self.bound.growth]
        middle, last, most, growth = (f"{figure / self.bound.unit:12.1f}" for figure in figures)
        word = "flat" if self.is_flat else "NOT FLAT"
        return f"{self.name:<14}{middle}{last}{most}{growth}  {word:<9} ({self.bound.reason})"


def judge(samples: Sequence[Sample]) -> list[Judgement]:
    """Every measure. Three samples at least."""
    third = len(samples) // 3
    parts = samples[third : 2 * third], samples[2 * third :]
    found = []
    for name, bound in BOUNDS.items():
        middle, last = (statistics.median(each[name] for each in part) for part in parts)
        found.append(Judgement(name, middle, last, max(each[name] for each in samples), bound))
    return found


@attrs.define(eq=False)
class Soak:
    """One mount on one bucket; `scratch` is a directory outside of it."""

    maker: MountMaker
    scratch: Path
    seed: int
    mount: Mount = attrs.field(init=False)
    samples: list[Sample] = attrs.field(factory=list)
    token_ends: int = 0

    def run(self, seconds: float) -> Counter[str]:
        """What was done. Raises AssertionError when a program or the mount was not well."""
        bucket = self.maker.bucket()
        self._seed(bucket)
        self.mount = self.maker.prepare(*OPTIONS, bucket=bucket, limit=seconds + WITHIN)
        self.mount.start()
        (self.mount.path / "cold").read_bytes()
        sign = self.scratch / "stop"
        words = [sys.executable, "-m", "tests.torture.soak_program", str(self.mount.path), str(sign)]
        programs = [self.mount.programs.start([*words, name, str(self.seed)]) for name in PROGRAMS]
        end = time.monotonic() + seconds
        while time.monotonic() < end and all(program.poll() is None for program in programs):
            self._look()
            time.sleep(EVERY)
        sign.touch()
        for program in programs:
            code, output = self.mount.programs.finish(program, WITHIN)
            assert code == 0, output
        code, output = self.mount.b2mount("flush", self.mount.path, timeout=WITHIN)
        assert code == 0, output
        self._see_the_last()
        return self._counts()

    def _seed(self, bucket: RemoteBucket) -> None:
        dice = random.Random(self.seed)
        for number in range(HOT_FILES):
            bucket.put(f"{HOT}/{number}", dice.randbytes(HOT_SIZE))
        bucket.put("cold", dice.randbytes(COLD))

    def _look(self) -> None:
        """A sample; and what must come as often as in a day."""
        self.samples.append(sample(self.mount))
        counts = self._counts()
        while self.token_ends < counts["minutes"] * TOKEN_ENDS / MINUTES:
            self.maker.server.expire_tokens()
            self.token_ends += 1
        code, output = self.mount.b2mount("status", "--json", self.mount.path, timeout=WITHIN)
        assert code == 0, output

    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter({"tokens ended": self.token_ends})
        for name in PROGRAMS:
            if (self.scratch / name).exists():
                counts.update(json.loads((self.scratch / name).read_text()))
        return counts

    def _see_the_last(self) -> None:
        """Nothing is staged any more, and the mount goes as it should."""
        last = sample(self.mount)
        assert last["staged files"] == 0, f"{last} after a flush"
        self.mount.umount(within=WITHIN)


def report(samples: Sequence[Sample], counts: Counter[str]) -> bool:
    """Whether it is flat."""
    days = counts["minutes"] / MINUTES
    done = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{days:.2f} days: {done}\n{len(samples)} samples")
    print(f"{'':<14}{'middle third':>12}{'last third':>12}{'most':>12}{'may grow':>12}")
    judgements = judge(samples)
    for judgement in judgements:
        print(judgement)
    is_flat = all(judgement.is_flat for judgement in judgements)
    print("flat" if is_flat else "not flat")
    return is_flat


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    show_connections()
    with tempfile.TemporaryDirectory(prefix="soak-") as name, EmulatorServer(Path(name, "b2")) as server:
        api, scratch = open_account(server.url, server.key_id, server.application_key), Path(name, "scratch")
        scratch.mkdir()
        maker = MountMaker(server, api, Path(name))
        try:
            soak = Soak(maker, scratch, arguments.seed)
            counts = soak.run(60 * arguments.minutes)
        finally:
            maker.close()
    return 0 if report(soak.samples, counts) else 1


if __name__ == "__main__":
    sys.exit(main())

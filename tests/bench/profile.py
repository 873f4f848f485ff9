"""`python -m tests.bench.profile WORKLOAD`: where a mount's CPU goes, by py-spy's samples.

`cached`: a file that is in the cache is read again and again, past the kernel's memory. `writes`: small
files, one after another. `listings`: find over many names, on a fresh mount. The first table has each
sample once, under the function that was running; the second one under every function of b2mount on
the stack. Needs py-spy (`pip install py-spy`).
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import Emulator, emulator
from tests.bench.growing import MB, no_files, path_of, write_files
from tests.bench.library import MIB, Library
from tests.bench.peers import B2MOUNT, MountPlan, mounted
from tests.bench.stage import output_of

PY_SPY: Final = Path(sys.executable).parent / "py-spy"
FRAME: Final = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")
WAITING: Final = "WorkerThread._work"
"""Runs itself only while a thread waits for work; py-spy can take that for running."""
EVERYTHING: Final = ("b2mount/cli/", "b2mount/mount.py")
"""What is on every stack of the event loop."""
RATE: Final = 200
SIZE: Final = 64 * MB
WITHIN: Final = 60.0


@attrs.frozen
class Costs:
    """Samples by function."""

    total: int
    own: collections.Counter[str]
    """Those in which it was running itself."""
    within: collections.Counter[str]
    """Of functions of b2mount, those in which it or what it called was running."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> Costs:
        """From py-spy's raw format: frames from the outside in, and how often."""
        costs = cls(0, collections.Counter(), collections.Counter())
        total = 0
        for line in lines:
            stack, _, count = line.rpartition(" ")
            frames = [named(frame) for frame in stack.split(";")]
            if frames[-1].endswith(WAITING):
                continue
            total += int(count)
            costs.own[frames[-1]] += int(count)
            for frame in {
                frame for frame in frames if frame.startswith("b2mount/") and not frame.startswith(EVERYTHING)
            }:
                costs.within[frame] += int(count)
        return attrs.evolve(costs, total=total)

    def table(self, counted: collections.Counter[str], top: int) -> str:
        """The greatest, in % of all samples."""
        return "\n".join(
            f"{100 * count / self.total:5.1f} %  {name}" for name, count in counted.most_common(top)
        )


def named(frame: str) -> str:
    """A function and its file, without the line, the file from its package on."""
    match = FRAME.match(frame)
    if match is None:
        return frame
    file = match["file"].rpartition("site-packages/")[2]
    start = file.find("b2mount/")
    return f"{file[start:] if start >= 0 else file} {match['function']}"


def fill_one(server: Emulator, bucket: str, count: int) -> None:
    """A file that fits into the cache."""
    server.create_endless(bucket, {"big.bin": SIZE})


def fill_names(server: Emulator, bucket: str, count: int) -> None:
    """So many names, a hundred a directory."""
    server.seed_bucket(bucket, count, 100)


def read_again(mount: Path, count: int) -> None:
    """The file, so many times, the kernel's own cache of it thrown away each time."""
    for _ in range(count):
        with (mount / "big.bin").open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(MIB):
                pass


@attrs.frozen
class Profiled:
    """A bucket, what is done first, and what is profiled."""

    count: int
    fill: Callable[[Emulator, str, int], None]
    first: Callable[[Path], object]
    work: Callable[[Path, int], object]


def nothing(mount: Path) -> None:
    """No preparation."""


PROFILES: Final = {
    "cached": Profiled(100, fill_one, lambda mount: read_again(mount, 1), read_again),
    "writes": Profiled(1_000, no_files, lambda mount: path_of(mount, 0).parent.exists(), write_files),
    "listings": Profiled(200_000, fill_names, nothing, lambda mount, _: output_of("find", mount)),
}


def profile(server: Emulator, workload: Profiled, count: int, folder: Path, *, native: bool) -> list[str]:
    """py-spy's lines."""
    workload.fill(server, "profiled", count)
    with mounted(B2MOUNT, MountPlan(server.access(), "profiled", folder)) as mount:
        workload.first(mount.path)
        time.sleep(1)
        raw = folder / "raw"
        words = [str(PY_SPY), "record", "--format", "raw", "--rate", str(RATE), "--output", str(raw)]
        spy = subprocess.Popen(
            [*words, *(["--native"] if native else []), "--pid", str(mount.process.pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(1)
            workload.work(mount.path, count)
        finally:
            spy.send_signal(signal.SIGINT)
            spy.wait(timeout=WITHIN)
        mount.unmount()
    return raw.read_text().splitlines()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("workload", choices=PROFILES)
    parser.add_argument("--count", type=int, help="of reads, files or names")
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--native", action="store_true", help="C functions too, which slows it down")
    options = parser.parse_args()
    workload = PROFILES[options.workload]
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        with emulator(folder / "emulator") as server:
            server.store_library(Library.write(folder / "library", SIZE).path)
            count = options.count or workload.count
            costs = Costs.of(profile(server, workload, count, folder, native=options.native))
    print(
        f"{options.workload}: {costs.total} samples; running itself:",
        costs.table(costs.own, options.top),
        sep="\n",
    )
    print("\nit or what it called:", costs.table(costs.within, options.top), sep="\n")


if __name__ == "__main__":
    main()

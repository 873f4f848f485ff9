"""`python -m tests.bench.sharing`: sixteen programs read sixteen big files at once.

On the line of the other benchmarks, for some seconds, from an empty cache. Exit code 1 when the slowest
one got less than half of what the fastest got, or when the mount took more than 300 MB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import Emulator, emulator
from tests.bench.library import MIB, Library, Piece
from tests.bench.line import USUAL
from tests.bench.peers import PEERS, Mounted, MountPlan, Peer, mounted
from tests.bench.watchdog import limit

BUCKET: Final = "bench-sharing"
FILES: Final = {f"big{number:02}.bin": Piece(number * 16 * MIB, 512 * MIB) for number in range(16)}
"""Longer than anybody gets."""
FAIR: Final = 0.5
MOST_MEMORY: Final = 300 * 10**6
WITHIN: Final = 60.0
"""Seconds that the readers may take beyond those that they read."""
READER: Final = """
import sys, time
path, seconds = sys.argv[1:]
with open(path, "rb", buffering=0) as file:
    print("ready", flush=True)
    sys.stdin.readline()
    until, done = time.monotonic() + float(seconds), 0
    while time.monotonic() < until:
        done += len(file.read(1 << 20))
print(done)
"""


@attrs.frozen
class Shares:
    """What each program got, and what the mount took for it."""

    seconds: float
    bytes: tuple[int, ...]
    cpu_seconds: float
    peak_memory: int

    @property
    def fairness(self) -> float:
        """The slowest one's part of the fastest one's."""
        return min(self.bytes) / max(self.bytes)

    @property
    def is_fine(self) -> bool:
        return self.fairness >= FAIR and self.peak_memory <= MOST_MEMORY

    def __str__(self) -> str:
        rates = sorted(count / self.seconds / 1e6 for count in self.bytes)
        return (
            f"{sum(rates):.0f} MB/s in all, each {rates[0]:.1f} to {rates[-1]:.1f} MB/s,"
            f" slowest to fastest {self.fairness:.2f}, {self.peak_memory / 1e6:.0f} MB of memory,"
            f" {self.cpu_seconds / sum(self.bytes) * 1e9:.1f} s of CPU a GB"
        )


def read_all(mount: Mounted, seconds: float) -> Shares:
    """All at once, a process each."""
    used = mount.use()
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(mount.path / name), str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in FILES
    ]  # fmt: skip

    def rescue() -> None:
        mount.destroy()
        for program in programs:
            program.kill()

    with limit(seconds + WITHIN, rescue):
        for program in programs:
            assert program.stdout is not None
            program.stdout.readline()
        counts = [int(answer) for answer in _together(programs)]
    use = mount.use()
    return Shares(seconds, tuple(counts), use.cpu_seconds - used.cpu_seconds, use.peak_memory)


def _together(programs: list[subprocess.Popen[str]]) -> list[str]:
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    return [program.communicate()[0] for program in programs]


def play(server: Emulator, folder: Path, peer: Peer, seconds: float) -> Shares:
    """One mount from an empty cache."""
    folder.mkdir()
    with server.shaped(), mounted(peer, MountPlan(server.access(), BUCKET, folder)) as mount:
        shares = read_all(mount, seconds)
        mount.unmount()
    return shares


def main() -> int:
    """Print the figures of each peer; 0 when the first one's are fine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sharing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["b2mount"], metavar="NAME")
    options = parser.parse_args()
    print(USUAL)
    found: list[Shares] = []
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        library = Library.write(folder / "library", 1024 * MIB)
        with emulator(folder / "emulator") as server:
            server.store_library(library.path)
            server.create_bucket(BUCKET, FILES)
            for peer in options.peers:
                found.append(play(server, folder / peer, PEERS[peer], options.seconds))
                print(f"{peer}: {found[-1]}", flush=True)
    return int(not found[0].is_fine)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.bench.loopback`: on a line without limits, what stands between a reader and B2?

The first read of a file through b2mount, beside b2sdk's own download of the same file to a disk, and
a read of what the mount then has on disk, after a remount. Every round plays both, one after the
other, since a machine that others use is never twice as fast. Seconds of CPU are the program's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import attrs

from tests.bench.emulator import Emulator, emulator
from tests.bench.library import MIB, Library, Piece
from tests.bench.memory import settle_memory
from tests.bench.peers import B2MOUNT, Mounted, MountPlan, mounted
from tests.bench.processes import busy_seconds

SIZE: Final = 512 * MIB
BUCKET: Final = "bench-loopback"
NAME: Final = "big.bin"
WITHIN: Final = 120.0
SETTLED: Final = 12 * SIZE
"""Bytes. A mount takes three times the file: the kernel's pages of it, the cache's and its own memory. To
bring in half of that from the host, page by page, takes longer than the download."""
SETTLED_AFTER: Final = 4.0
"""Seconds in which what was read has long been written to the cache and hashed, and the disk has come to
rest: what whoever came before has left to be written is not for the next one to pay."""
DOWNLOAD: Final = """
import sys, time
from b2sdk.v3 import B2Api, InMemoryAccountInfo
from tests.bench.processes import busy_seconds
url, key_id, key, bucket, name, target = sys.argv[1:]
api = B2Api(InMemoryAccountInfo())
api.authorize_account(key_id, key, url)
began, used, busy = time.perf_counter(), time.process_time(), busy_seconds()
api.get_bucket_by_name(bucket).download_file_by_name(name).save_to(target)
print(time.perf_counter() - began, time.process_time() - used, busy_seconds() - busy)
"""


@attrs.frozen
class Figure:
    """One read of the file."""

    name: str
    seconds: float
    cpu_seconds: float
    busy_seconds: float
    """CPU time of everything on the machine meanwhile: the emulator's, the reader's and the kernel's, too."""

    def __str__(self) -> str:
        rate = SIZE / self.seconds / 1e6
        cores = self.busy_seconds / self.seconds
        return (
            f"{self.name}: {self.seconds:.2f} s, {rate:.0f} MB/s, {self.cpu_seconds:.2f} s of CPU; "
            f"{cores:.1f} of {os.cpu_count()} cores at work"
        )


def download(server: Emulator, folder: Path) -> Figure:
    """b2sdk's, in a process of its own."""
    access, target = server.access(), folder / "downloaded"
    arguments = [access.url, access.key_id, access.key, BUCKET, NAME, str(target)]
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, *arguments],
        check=True, capture_output=True, text=True, timeout=WITHIN,
    )  # fmt: skip
    target.unlink()
    return Figure("b2sdk", *map(float, done.stdout.split()))


def read(name: str, mount: Mounted) -> Figure:
    """Through the mount, a MiB at a time into the same memory, as `cat` and `cp` do."""
    buffer, done = bytearray(MIB), 0
    began, used, busy = time.perf_counter(), mount.use(), busy_seconds()
    with (mount.path / NAME).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            done += count
    if done != SIZE:
        raise EOFError(f"{name}: not all was read")
    seconds, all_cores = time.perf_counter() - began, busy_seconds() - busy
    return Figure(name, seconds, mount.use().cpu_seconds - used.cpu_seconds, all_cores)


def settle() -> None:
    """The same for all: nothing waits for the disk, and memory is there."""
    os.sync()
    time.sleep(SETTLED_AFTER)
    settle_memory(SETTLED)


def play_round(server: Emulator, folder: Path) -> list[Figure]:
    """Both, and the mount once more from its disk."""
    folder.mkdir()
    plan = MountPlan(server.access(), BUCKET, folder)
    settle()
    figures = [download(server, folder)]
    for name in ("b2mount, cold", "b2mount, after a remount"):
        with mounted(B2MOUNT, plan) as mount:
            settle()
            figures.append(read(name, mount))
            time.sleep(SETTLED_AFTER)
            mount.unmount()
    return figures


def main() -> None:
    """Print each round."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loopback", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        library = Library.write(folder / "library", SIZE)
        with emulator(folder / "emulator") as server:
            server.store_library(library.path)
            server.create_bucket(BUCKET, {NAME: Piece(0, SIZE)})
            played = list[list[Figure]]()
            for number in range(rounds):
                played.append(play_round(server, folder / f"round-{number}"))
                print(*played[-1], sep="\n", flush=True)
    seconds = [median(figure.seconds for figure in figures) for figures in zip(*played, strict=True)]
    shares = sorted(figures[0].seconds / figures[1].seconds for figures in played)
    print(
        f"cold, of b2sdk's speed: {seconds[0] / seconds[1]:.0%} by the medians, "
        f"{shares[0]:.0%} to {shares[-1]:.0%} in a round"
    )


if __name__ == "__main__":
    main()

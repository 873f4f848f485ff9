"""What grows: for each axis a bucket of some size, and work of that size on a mount of it."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import Emulator
from tests.bench.stage import WrongAnswer, output_of

MB: Final = 1_000_000
SMALL: Final = 1000
PER_FOLDER: Final = 100
PLACES: Final = 100


@attrs.frozen
class Axis:
    """One thing of which there can be more."""

    name: str
    what: str
    fill: Callable[[Emulator, str, int], None]
    """Makes the bucket."""
    work: Callable[[Path, int], float]
    """Does it, and says how many seconds it took. Raises WrongAnswer, OSError."""
    most: int


def path_of(mount: Path, number: int) -> Path:
    """Of a seeded file."""
    return mount / f"dir-{number // PER_FOLDER:06d}" / f"file-{number % PER_FOLDER:06d}"


def no_files(server: Emulator, bucket: str, count: int) -> None:
    """An empty bucket."""
    server.create_bucket(bucket, {})


def names(server: Emulator, bucket: str, count: int) -> None:
    """So many files of ten bytes."""
    server.seed_bucket(bucket, count, PER_FOLDER)


def one_big(server: Emulator, bucket: str, count: int) -> None:
    """One file of so many megabytes."""
    server.create_endless(bucket, {"big.bin": count * MB})


def many_files(server: Emulator, bucket: str, count: int) -> None:
    """A file of a megabyte for each program."""
    server.create_endless(bucket, {f"f{number}": MB for number in range(count)})


def write_files(mount: Path, count: int) -> float:
    """One after the other, each closed."""
    began = time.perf_counter()
    for number in range(count):
        path = path_of(mount, number)
        if not number % PER_FOLDER:
            path.parent.mkdir()
        path.write_bytes(number.to_bytes(8, "big") * (SMALL // 8))
    return time.perf_counter() - began


def read_files(mount: Path, count: int) -> float:
    """One after the other, in the order of the listing."""
    began = time.perf_counter()
    for number in range(count):
        if path_of(mount, number).read_bytes() != bytes(10):
            raise WrongAnswer(f"other bytes in file {number}")
    return time.perf_counter() - began


def find(mount: Path, count: int) -> float:
    """All names."""
    began = time.perf_counter()
    found = output_of("find", mount, "-type", "f").count("\n")
    seconds = time.perf_counter() - began
    if found != count:
        raise WrongAnswer(f"find found {found} names of {count}")
    return seconds


def read_big(mount: Path, count: int) -> float:
    """From front to back."""
    began, done = time.perf_counter(), 0
    buffer = bytearray(1 << 20)
    with (mount / "big.bin").open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            done += got
    if done != count * MB:
        raise WrongAnswer(f"{done} bytes were read of {count * MB}")
    return time.perf_counter() - began


def write_big(mount: Path, count: int) -> float:
    """From front to back, no two megabytes alike."""
    generator = random.Random(3)
    began = time.perf_counter()
    with (mount / "big.bin").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(generator.randbytes(MB))
    return time.perf_counter() - began


def read_places(mount: Path, count: int) -> float:
    """4 KiB at places that have nothing to do with each other."""
    generator = random.Random(4)
    began = time.perf_counter()
    with (mount / "big.bin").open("rb", buffering=0) as file:
        for _ in range(PLACES):
            if len(os.pread(file.fileno(), 4096, generator.randrange(count * MB - 4096))) != 4096:
                raise WrongAnswer("a read was short")
    return time.perf_counter() - began


def run_programs(mount: Path, count: int) -> float:
    """All at once, a file each."""
    began = time.perf_counter()
    programs = [
        subprocess.Popen(["cat", mount / f"f{number}"], stdout=subprocess.DEVNULL) for number in range(count)
    ]
    failed = sum(program.wait() != 0 for program in programs)
    if failed:
        raise WrongAnswer(f"{failed} of {count} programs failed")
    return time.perf_counter() - began


def hold_open(mount: Path, count: int) -> float:
    """Handles on different files, all open at once, each read from."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path_of(mount, n).open("rb", buffering=0)) for n in range(count)]
        if any(file.read(10) != bytes(10) for file in files):
            raise WrongAnswer("other bytes were read")
    return time.perf_counter() - began


AXES: Final = {
    axis.name: axis
    for axis in (
        Axis("files-written", "files of 1 kB written, one after another", no_files, write_files, 10_000),
        Axis("files-read", "files of 10 bytes read, one after another", names, read_files, 100_000),
        Axis("names", "names that find goes through", names, find, 1_000_000),
        Axis("megabytes-read", "megabytes of a file read in order", one_big, read_big, 100_000),
        Axis("megabytes-written", "megabytes of a file written in order", no_files, write_big, 10_000),
        Axis("size", "megabytes of a file in which 100 places are read", one_big, read_places, 1_000_000),
        Axis("programs", "programs that read a megabyte each, at once", many_files, run_programs, 1_000),
        Axis("handles", "files held open at once", names, hold_open, 10_000),
    )
}

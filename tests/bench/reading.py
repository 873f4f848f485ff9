"""Workloads that read."""

from __future__ import annotations

import mmap
import os
import random
import time
from pathlib import Path
from typing import Final

import attrs

from tests.bench.library import KIB, MIB, Piece, sha1_of, small_files
from tests.bench.measure import median
from tests.bench.memory import settle_memory
from tests.bench.stage import Stage, Workload, WrongAnswer, output_of

BIG: Final = Piece(0, 512 * MIB)
HUGE: Final = Piece(0, 1024 * MIB)
RANDOM_READS: Final = 100
READ: Final = 64 * KIB
AGAIN: Final = 3
NOTED_AFTER: Final = 6.0
"""rclone writes down which bytes of a file it has 5 s after the last close, and forgets them when it
is unmounted sooner."""
MANY: Final = {f"big{number:02}.bin": Piece(number * 8 * MIB, 64 * MIB) for number in range(100)}
SOURCES: Final = small_files(folders=10, each=50, size=8 * KIB)


def read_all(path: Path, memory: mmap.mmap) -> int:
    """Read the file into memory that is there already, a MiB at a time, as `cat` and `cp` would."""
    done = 0
    with path.open("rb", buffering=0) as file, memoryview(memory) as view:
        while count := file.readinto(view[done : done + MIB]):
            done += count
    return done


def check_same(stage: Stage, memory: mmap.mmap, count: int) -> None:
    """Raises WrongAnswer unless the big file was read."""
    if count != BIG.size or sha1_of(iter([memory[:count]])) != stage.library.sha1(BIG):
        raise WrongAnswer(f"{count} bytes were read, and not the file's")


def read_big(stage: Stage) -> None:
    """One file from front to back; then from the page cache; then from the disk cache. From the page cache
    it takes so little that what the machine does at that moment counts: the median of three."""
    cold, again, warm = READING[0].rows
    with mmap.mmap(-1, BIG.size, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE) as memory:
        with stage.mounted() as mount:
            settle_memory(4 * BIG.size)
            measured = []
            for row in (cold, *[again] * AGAIN):
                with stage.measure(row, mount):
                    count = read_all(mount.path / "big.bin", memory)
                check_same(stage, memory, count)
                measured.append(stage.results[row])
            stage.results[again] = median(measured[1:])
            time.sleep(NOTED_AFTER)
            mount.unmount()
        with stage.mounted() as mount:
            settle_memory(3 * BIG.size)
            with stage.measure(warm, mount):
                count = read_all(mount.path / "big.bin", memory)
            check_same(stage, memory, count)


def read_here_and_there(stage: Stage) -> None:
    """One file, open all the time, read at random places that are no multiples of anything."""
    places = random.Random(100).sample(range(HUGE.size - READ), RANDOM_READS)
    with stage.mounted() as mount:
        path = mount.path / "huge.bin"
        with stage.measure(stage.row, mount), path.open("rb", buffering=0) as file:
            got = [os.pread(file.fileno(), READ, place) for place in places]
        if got != [stage.library.read(Piece(place, READ)) for place in places]:
            raise WrongAnswer("other bytes were read")


def read_heads(stage: Stage) -> None:
    """The beginning of each of many big files, as a file manager looks at them."""
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            got = {name: read_head(mount.path / name) for name in MANY}
        heads = {name: attrs.evolve(piece, size=READ) for name, piece in MANY.items()}
        if got != {name: stage.library.read(head) for name, head in heads.items()}:
            raise WrongAnswer("other bytes were read")


def read_head(path: Path) -> bytes:
    """The first 64 KiB."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), READ, 0)


def grep(stage: Stage) -> None:
    """Search all files of a tree for 20 lines that are the last ones of 20 of them."""
    names = random.Random(500).sample(sorted(SOURCES), 20)
    wanted = {f"{name}:{stage.library.lines(SOURCES[name])[-1]}" for name in names}
    patterns = stage.folder / "patterns"
    patterns.write_text("".join(f"{line.partition(':')[2]}\n" for line in wanted))
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            found = output_of("grep", "-r", "-F", "-f", patterns, mount.path)
        if {line.removeprefix(f"{mount.path}/") for line in found.splitlines()} != wanted:
            raise WrongAnswer(f"grep found {len(found.splitlines())} lines of {len(wanted)}")


READING: Final = (
    Workload(
        "read",
        ("read 512 MiB, cold", "read 512 MiB, again", "read 512 MiB, after a remount"),
        {"big.bin": BIG},
        read_big,
        reads_only=True,
    ),
    Workload(
        "random",
        ("100 random reads of 64 KiB in 1 GiB",),
        {"huge.bin": HUGE},
        read_here_and_there,
        reads_only=True,
    ),
    Workload("heads", ("64 KiB of each of 100 files of 64 MiB",), MANY, read_heads, reads_only=True),
    Workload("grep", ("grep -r, 500 files of 8 KiB",), SOURCES, grep, reads_only=True),
)

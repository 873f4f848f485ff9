"""Workloads that look at names and attributes."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from tests.bench.library import KIB, Piece, small_files
from tests.bench.stage import Stage, Workload, WrongAnswer, output_of

TREE: Final = small_files(folders=500, each=10, size=KIB)
CROWD: Final = {f"crowd/name{number:05}": Piece(number * 100, 100) for number in range(50_000)}
STATS: Final = 100


def find(stage: Stage) -> None:
    """Walk a tree of 500 directories."""
    walk(stage, TREE)


def walk(stage: Stage, files: Mapping[str, Piece]) -> None:
    """Find all files and directories of a bucket that holds these."""
    wanted = {*files, *(str(PurePosixPath(name).parent) for name in files)}
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            found = output_of("find", mount.path, "-mindepth", "1")
        if {line.removeprefix(f"{mount.path}/") for line in found.splitlines()} != wanted:
            raise WrongAnswer(f"find found {len(found.splitlines())} names of {len(wanted)}")


def stat_here_and_there(stage: Stage) -> None:
    """Ask for the sizes of files whose names are known already, as a build or a backup does."""
    names = random.Random(100).sample(sorted(TREE), STATS)
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            sizes = [os.stat(mount.path / name).st_size for name in names]
        if sizes != [TREE[name].size for name in names]:
            raise WrongAnswer("other sizes were seen")


def list_crowd(stage: Stage) -> None:
    """One big directory: how long until something is to be seen, and until everything is."""
    first, everything = NAMING[-1].rows
    with stage.mounted() as mount:
        with stage.measure(first, mount), os.scandir(mount.path / "crowd") as entries:
            name = next(entries).name
        if f"crowd/{name}" not in CROWD:
            raise WrongAnswer(f"there is no {name}")
        mount.destroy()
    with stage.mounted() as mount:
        with stage.measure(everything, mount):
            listed = output_of("ls", "-l", mount.path / "crowd")
        lines = [line.split() for line in listed.splitlines()[1:]]
        if {(f"crowd/{words[-1]}", int(words[4])) for words in lines} != {
            (n, p.size) for n, p in CROWD.items()
        }:
            raise WrongAnswer(f"ls listed {len(lines)} names of {len(CROWD)}")


NAMING: Final = (
    Workload("find", ("find, 500 directories of 10 files",), TREE, find, reads_only=True),
    Workload("stat", ("stat of 100 random paths",), TREE, stat_here_and_there, reads_only=True),
    Workload(
        "ls", ("ls of 50,000 names, first entry", "ls -l of 50,000 names"), CROWD, list_crowd, reads_only=True
    ),
)

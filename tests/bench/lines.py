"""`python -m tests.bench.lines`: the same work on lines that are far, narrow, fast or fail.

A small read, random reads, small writes and a walk, on every line that there is, each on a fresh mount with
an empty cache; one column a line. Written out after each figure, so that what an interrupted run has
found is not lost. Exit code 1 when the first peer failed anywhere.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import emulator
from tests.bench.library import KIB, MIB, Library, Piece, small_files
from tests.bench.line import LINES
from tests.bench.measure import Failure, Result, median
from tests.bench.naming import walk
from tests.bench.peers import PEERS, Peer
from tests.bench.run import Run
from tests.bench.stage import Stage, Workload, WrongAnswer, output_of
from tests.bench.writing import lay_out, until_in_bucket

BIG: Final = Piece(0, 32 * MIB)
READ: Final = 64 * KIB
PLACES: Final = 20
SMALL: Final = {f"small/{name}": piece for name, piece in small_files(1, each=50, size=10_000).items()}
TREE: Final = small_files(folders=100, each=10, size=KIB)

Found = dict[tuple[str, str, str], Result]
"""By row, peer and line."""


def read(stage: Stage) -> None:
    """One file from front to back."""
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            got = (mount.path / "big.bin").read_bytes()
        if got != stage.library.read(BIG):
            raise WrongAnswer("other bytes were read")


def read_here_and_there(stage: Stage) -> None:
    """Places that have nothing to do with each other."""
    places = random.Random(20).sample(range(BIG.size - READ), PLACES)
    with stage.mounted() as mount:
        path = mount.path / "big.bin"
        with stage.measure(stage.row, mount), path.open("rb", buffering=0) as file:
            got = [os.pread(file.fileno(), READ, place) for place in places]
        if got != [stage.library.read(Piece(place, READ)) for place in places]:
            raise WrongAnswer("other bytes were read")


def write_small(stage: Stage) -> None:
    """A directory of small files."""
    source = lay_out(stage, SMALL)
    until_in_bucket(stage, SMALL, lambda mnt: output_of("cp", "-r", source / "small", mnt))


def find(stage: Stage) -> None:
    """A tree."""
    walk(stage, TREE)


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("read", ("read 32 MiB",), {"big.bin": BIG}, read, reads_only=True),
        Workload(
            "random", ("20 random reads of 64 KiB",), {"big.bin": BIG}, read_here_and_there, reads_only=True
        ),
        Workload("small", ("cp -r of 50 files of 10 kB",), {}, write_small),
        Workload("find", ("find, 100 directories of 10 files",), TREE, find, reads_only=True),
    )
}


def table(found: Mapping[tuple[str, str, str], Result], lines: Sequence[str]) -> str:
    """Seconds, in Markdown: a line of text for each row and peer."""
    out = [f"| seconds | | {' | '.join(lines)} |", f"| --- | --- |{' ---: |' * len(lines)}"]
    for row, peer in dict.fromkeys((row, peer) for row, peer, _ in found):
        cells = [cell(found.get((row, peer, line))) for line in lines]
        out.append(f"| {row} | {peer} | {' | '.join(cells)} |")
    notes = [
        f"{row}, {peer}, {line}: {result.reason}"
        for (row, peer, line), result in found.items()
        if isinstance(result, Failure)
    ]
    return "\n".join([*out, *(["", *notes] if notes else [])])


def cell(result: Result | None) -> str:
    """The seconds, or why there are none."""
    if result is None:
        return "-"
    return "failed" if isinstance(result, Failure) else f"{result.seconds:.2f}"


@attrs.define(eq=False)
class Rounds:
    """What has been found so far, on which lines, with what and by whom."""

    lines: list[str]
    workloads: list[str]
    peers: list[Peer]
    results: dict[tuple[str, str, str], list[Result]] = attrs.field(factory=dict)

    def found(self) -> Found:
        """The medians."""
        return {key: median(results) for key, results in self.results.items()}

    def play(self, folder: Path, rounds: int) -> Iterator[None]:
        """Every line in every round, so that what disturbs the machine disturbs all. Yields after each
        workload of each peer."""
        library = Library.write(folder / "library", BIG.size)
        with emulator(folder / "emulator") as server:
            server.store_library(library.path)
            run = Run(server, library, folder)
            for name in self.lines * rounds:
                run.emulator = attrs.evolve(server, line=LINES[name])
                yield from self._play_line(run, name)

    def _play_line(self, run: Run, line: str) -> Iterator[None]:
        for workload in self.workloads:
            for peer in self.peers:
                for row, result in run.play(WORKLOADS[workload], peer).items():
                    self.results.setdefault((row, peer.name, line), []).append(result)
                    print(f"{line}: {row}, {peer.name}: {cell(result)}", file=sys.stderr)
                yield


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lines", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES), metavar="NAME")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["b2mount", "rclone"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=1, help="each figure is their median")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, as it grows")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.epilog = f"Workloads: {' '.join(WORKLOADS)}. Lines: {', '.join(LINES)}."
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: what is mounted is unmounted
    peers = [PEERS[name] for name in options.peers]
    rounds = Rounds(options.lines, options.only, peers)
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir=options.folder) as folder:
        for _ in rounds.play(Path(folder), options.rounds):
            if options.markdown:
                options.markdown.write_text(table(rounds.found(), options.lines) + "\n")
    found = rounds.found()
    print(table(found, options.lines))
    return int(
        any(isinstance(result, Failure) for (_, peer, _), result in found.items() if peer == peers[0].name)
    )


if __name__ == "__main__":
    sys.exit(main())

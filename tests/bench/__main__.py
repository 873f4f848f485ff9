"""`python -m tests.bench`: the same work on b2mount and on rclone's mount, and what each takes for it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.bench.emulator import emulator
from tests.bench.library import MIB, Library
from tests.bench.line import USUAL as USUAL_LINE
from tests.bench.line import Line, add_line_options, chosen_line
from tests.bench.measure import Failure, Result
from tests.bench.naming import NAMING
from tests.bench.peers import PEERS, USUAL, Peer
from tests.bench.reading import READING
from tests.bench.run import Run
from tests.bench.saving import Saved
from tests.bench.stage import Workload
from tests.bench.table import markdown_table, text_table
from tests.bench.writing import WRITING

WORKLOADS: Final = {workload.name: workload for workload in (*READING, *NAMING, *WRITING)}
DEBIAN_PACKAGES: Final = {"rsync": "rsync", "umount": "mount", "fusermount3": "fuse3"}
"""The programs that a small Debian may lack, and what has them."""


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=USUAL, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=1, help="each figure is their median")
    saved = "write every round's figures there, as they come, for tests.bench.pictures"
    parser.add_argument("--save", type=Path, metavar="FILE", help=saved)
    add_line_options(parser, USUAL_LINE)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as Markdown")
    where = "for caches and the bucket, 12 GB at most; a disk, as /tmp may be memory"
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help=where)
    parser.epilog = (
        f"Workloads: {' '.join(WORKLOADS)}. Peers: {' '.join(PEERS)}; without --peers: {' '.join(USUAL)}."
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it all and print the report. 0 when the first peer did everything."""
    options = parsed(arguments)
    missing = [program for program in DEBIAN_PACKAGES if not shutil.which(program)]
    if missing or os.geteuid():
        needed = " ".join(DEBIAN_PACKAGES[program] for program in missing)
        print(f"needs root{f' and: apt-get install {needed}' if missing else ''}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: what is mounted is unmounted
    peers = [PEERS[name] for name in options.peers]
    workloads = [WORKLOADS[name] for name in options.only]
    line = chosen_line(options)
    saved = Saved(heading(line, peers, options.rounds), [peer.name for peer in peers])
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir=options.folder) as folder:
        for _ in play(Path(folder), line, workloads, peers, options.rounds, saved):
            if options.save:
                saved.write(options.save)
    rows = saved.rows()
    print("\n".join([*saved.heading, text_table(rows)]))
    if options.markdown:
        options.markdown.write_text("\n".join([*saved.heading, "", markdown_table(rows), ""]))
    return int(any(isinstance(row.results[peers[0].name], Failure) for row in rows))


def play(
    folder: Path, line: Line, workloads: Sequence[Workload], peers: Sequence[Peer], rounds: int, saved: Saved
) -> Iterator[None]:
    """Add the results of each round to what is saved; yields after each workload of each peer."""
    library = Library.write(folder / "library", 1024 * MIB)
    with emulator(folder / "emulator", line) as server:
        server.store_library(library.path)
        run = Run(server, library, folder)
        for _ in range(rounds):
            saved.rounds.append({})
            yield from play_round(run, workloads, peers, saved.rounds[-1])


def play_round(
    run: Run, workloads: Sequence[Workload], peers: Sequence[Peer], results: dict[tuple[str, str], Result]
) -> Iterator[None]:
    """Every workload on one peer after the other, so that what disturbs the machine disturbs all."""
    for workload in workloads:
        for peer in peers:
            for row, result in run.play(workload, peer).items():
                results[row, peer.name] = result
                text = result.reason if isinstance(result, Failure) else f"{result.seconds:.2f} s"
                print(f"{row}, {peer.name}: {text}", file=sys.stderr)
            yield


def heading(line: Line, peers: Sequence[Peer], rounds: int) -> list[str]:
    """What was compared, and on what."""
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    lines = [f"{line}; {machine}; rounds: {rounds}"]
    lines += [f"{peer.name}: {peer.described}" for peer in peers]
    return [*lines, "In brackets: how many times the first line's figure. MB are 1,000,000 bytes."]


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.bench`: the same work on b2mount and on rclone's mount, and what each takes for it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import LINE, emulator
from tests.bench.library import MIB, Library
from tests.bench.measure import Failure, Result, median
from tests.bench.naming import NAMING
from tests.bench.peers import PEERS, USUAL, Peer
from tests.bench.reading import READING
from tests.bench.run import Run
from tests.bench.stage import Workload
from tests.bench.table import Row, markdown_table, text_table
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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
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
    with tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir=options.folder) as folder:
        rounds = play(Path(folder), workloads, peers, options.rounds)
    rows = [
        Row(row, {peer.name: median([results[row, peer.name] for results in rounds]) for peer in peers})
        for workload in workloads
        for row in workload.rows
    ]
    print("\n".join([*heading(peers, options.rounds), text_table(rows)]))
    if options.markdown:
        options.markdown.write_text(
            "\n".join([*heading(peers, options.rounds), "", markdown_table(rows), ""])
        )
    if options.json:
        options.json.write_text(json.dumps([as_json(results) for results in rounds], indent=1) + "\n")
    return int(any(isinstance(row.results[peers[0].name], Failure) for row in rows))


def play(
    folder: Path, workloads: Sequence[Workload], peers: Sequence[Peer], rounds: int
) -> list[dict[tuple[str, str], Result]]:
    """The results of each round by row and peer."""
    library = Library.write(folder / "library", 1024 * MIB)
    with emulator(folder / "emulator") as server:
        server.store_library(library.path)
        run = Run(server, library, folder)
        return [play_round(run, workloads, peers) for _ in range(rounds)]


def play_round(
    run: Run, workloads: Sequence[Workload], peers: Sequence[Peer]
) -> dict[tuple[str, str], Result]:
    """Every workload on one peer after the other, so that what disturbs the machine disturbs all."""
    results: dict[tuple[str, str], Result] = {}
    for workload in workloads:
        for peer in peers:
            for row, result in run.play(workload, peer).items():
                results[row, peer.name] = result
                text = result.reason if isinstance(result, Failure) else f"{result.seconds:.2f} s"
                print(f"{row}, {peer.name}: {text}", file=sys.stderr)
    return results


def heading(peers: Sequence[Peer], rounds: int) -> list[str]:
    """What was compared, and on what."""
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    lines = [f"{LINE}; {machine}; rounds: {rounds}"]
    lines += [f"{peer.name}: {peer.described}" for peer in peers]
    return [*lines, "In brackets: how many times the first line's figure. MB are 1,000,000 bytes."]


def as_json(results: Mapping[tuple[str, str], Result]) -> list[dict[str, object]]:
    """One object for each row and peer."""
    return [{"row": row, "peer": peer, **attrs.asdict(result)} for (row, peer), result in results.items()]


if __name__ == "__main__":
    sys.exit(main())

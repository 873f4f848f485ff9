"""`python -m tests.torture --minutes 20 [--seed N]`: verified work on real mounts, and what was done.

Each session of some minutes has an emulator, a bucket and a seed of its own, which a failure names.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.processes import show_connections
from tests.torture.torture import Score, Torture

SESSION: Final = 150.0
"""Seconds; then the emulator's disk space is given back."""


def session(seed: int, seconds: float) -> Score:
    """One emulator, one bucket. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name, EmulatorServer(Path(name, "b2")) as server:
        root = Path(name)
        (root / "scratch").mkdir()
        maker = MountMaker(server, open_account(server.url, server.key_id, server.application_key), root)
        try:
            return Torture(maker, root / "scratch", seed).run(seconds)
        finally:
            server.faults.clear()
            maker.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, help="of the first session; the others count on from it")
    arguments = parser.parse_args()
    first = random.randrange(10**6) if arguments.seed is None else arguments.seed
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)  # what killed clients leave behind
    show_connections()
    end, seed = time.monotonic() + 60 * arguments.minutes, first
    while (left := end - time.monotonic()) > 0:
        try:
            score = session(seed, min(left, SESSION))
        except AssertionError as error:
            print(f"--seed {seed} failed: {error}", file=sys.stderr)
            return 1
        print(f"--seed {seed}: {score}", flush=True)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

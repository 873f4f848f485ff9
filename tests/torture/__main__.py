"""`python -m tests.torture --minutes 20 [--seed N]`: verified work on real mounts, under every trouble.

Each session of some minutes has an emulator, a bucket and a seed of its own, which a failure names: with it
programs do the same again, and the same troubles come in the same order, if not in the same instant.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from typing import Final

from tests.mounted.processes import show_connections
from tests.torture.torture import session

SESSION: Final = 150.0
"""Seconds; then the emulator's disk space is given back."""


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

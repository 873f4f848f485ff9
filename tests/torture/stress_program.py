"""One of many processes that do everything at random in a mount. Started by tests.torture.stress.

In a directory of its own every outcome must be what a plain local directory gives; in one that all
share, no error may come but those that the others' changes explain. The n-th operation is a function
of the seed, the name and n.

python -m tests.torture.stress_program MOUNT LOCAL SEED NAME FIRST COUNT
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from pathlib import Path
from typing import Final

from tests.torture.stress_operations import ALONE, MAY_HAPPEN, WEIGHTS, Draw, Side, outcome

SHARED: Final = "shared"
SHARE_OF_SHARED: Final = 0.35


class Mismatch(AssertionError):
    """The mount did what a local directory does not."""


def shown(value: object) -> str:
    """Short."""
    return f"{len(value)} bytes {value[:8]!r}" if isinstance(value, bytes) else f"{value!r:.200}"


def run(mount: Path, local: Path, seed: int, name: str, numbers: range, log: deque[str]) -> None:
    """Raises Mismatch."""
    expected, found, shared = Side(local / name), Side(mount / name), Side(mount / SHARED)
    dice = random.Random()
    for number in numbers:
        dice.seed(f"{seed} {name} {number}")
        (operation,) = dice.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        is_shared = dice.random() < SHARE_OF_SHARED and operation not in ALONE
        action = operation(Draw(dice))
        told = f"{number}: {operation.__name__} {_drawn(action)}"
        if is_shared:
            result = outcome(action, shared)
            if isinstance(result, str) and result.startswith("E") and result not in MAY_HAPPEN:
                raise Mismatch(f"{told} among the shared names: {result}")
            continue
        wanted = outcome(action, expected)
        log.append(f"{told}: {shown(wanted)}")
        result = outcome(action, found)
        if result != wanted:
            raise Mismatch(f"{told}: {shown(result)} instead of {shown(wanted)}")
    for side in (expected, found, shared):
        side.close()


def _drawn(action: object) -> str:
    """What it has drawn, out of its closure."""
    names = getattr(getattr(action, "__code__", None), "co_freevars", ())
    cells = getattr(action, "__closure__", None) or ()
    return ", ".join(f"{n}={shown(c.cell_contents)}" for n, c in zip(names, cells, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.stress_program", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("local", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("name")
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    log: deque[str] = deque(maxlen=40)
    numbers = range(arguments.first, arguments.first + arguments.count)
    try:
        run(arguments.mount, arguments.local, arguments.seed, arguments.name, numbers, log)
    except Mismatch as error:
        raise SystemExit("\n".join([*log, str(error)])) from error


if __name__ == "__main__":
    main()

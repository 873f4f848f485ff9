"""Plays all cases below a directory, as a process of its own: it changes users and its working directory.

python -m tests.mounted.conformance.run DIRECTORY OUTPUT [PART]     PART of the names of cases
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from tests.mounted.conformance import (
    bytes_and_streams,
    changing,
    exchanging,
    making,
    opening,
    paths,
    removing,
    renaming,
)
from tests.mounted.conformance.registry import CASES
from tests.mounted.conformance.scene import play

MODULES = (paths, making, changing, opening, renaming, exchanging, removing, bytes_and_streams)


def names() -> list[str]:
    """Of all cases."""
    return list(CASES)


def main(root: Path, output: Path, part: str) -> None:
    """What came of each case, as JSON."""
    found: dict[str, list[str]] = {}
    for number, (name, case) in enumerate(CASES.items()):
        if part in name:
            try:
                found[name] = play(root, f"case-{number}", case)
            except Exception:  # the others are to be heard all the same
                os.chdir(root)
                found[name] = [f"died: {traceback.format_exc()}"]
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "".join(sys.argv[3:]))

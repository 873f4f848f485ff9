"""`python -m tests.programs [NAME...]`: well-known programs do their work on real mounts of an emulated B2.

Each has a mount of its own, once with the defaults and once with --write-back, and a line that tells how
long it took, with what was asked of B2 (calls by price class) and the bytes sent and fetched. Where something
has to be installed first, the line says what; the exit code is 1 when anything failed or was not run.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.processes import show_connections
from tests.programs import backups, building, editors, git, python_files, python_tests, sqlite, trees
from tests.programs.ground import Check, Ground, measured

FAMILIES: Final = (git, building, python_files, sqlite, trees, editors, backups, python_tests)
MODES: Final = {"defaults": (), "--write-back": ("--write-back",)}
MOUNT_WITHIN: Final = 900.0


def checks(names: list[str]) -> list[Check]:
    """All, or those that are called so. Raises SystemExit."""
    every = {check.name: check for family in FAMILIES for check in family.CHECKS}
    unknown = set(names) - set(every)
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(every)}")
    return [check for name, check in every.items() if not names or name in names]


def carried_out(check: Check, options: tuple[str, ...]) -> str:
    """One check on one mount, in words. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="programs-") as name, EmulatorServer(Path(name, "b2")) as server:
        root = Path(name)
        (root / "local").mkdir()
        maker = MountMaker(server, open_account(server.url, server.key_id, server.application_key), root)
        try:
            ground = Ground(maker(*options, limit=MOUNT_WITHIN), root / "local", server.counts)
            cost = measured(check, ground)
            return "  ".join([str(cost), *ground.notes])
        finally:
            maker.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    chosen = checks(parser.parse_args().names)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)  # what killed clients leave behind
    show_connections()
    failures = 0
    for check in chosen:
        for mode, options in MODES.items():
            missing = check.missing()
            try:
                said = f"not run: {missing}" if missing else carried_out(check, options)
            except Exception:
                said, missing = f"FAILED\n{traceback.format_exc()}", "success"
            failures += bool(missing)
            print(f"{check.name:<14} {mode:<13} {said}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.torture.stress --processes P --minutes M [--seed S] [--mode write-back] [--faults]`: many
processes do everything that a file system has, at random, on a real mount.

Each has a directory of its own, in which every outcome must be that of a plain local directory, and all
share one. After each round the mount is unmounted: the next one, on the same cache or an empty one, must
show the same tree, and B2 must hold it and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import random
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket, open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import show_connections
from tests.mounted.trees import look
from tests.torture.fsx import LIFETIME, MODES
from tests.torture.stress_program import SHARED
from tests.torture.trouble import SHARE, troubles

ROUND: Final = 400
"""Operations of each process."""
ROUND_WITHIN: Final = 900.0
SESSION: Final = 8
"""Rounds; then the emulator's disk space is given back."""

Tree = dict[str, tuple[object, ...]]


@attrs.define
class Score:
    """What was done."""

    rounds: int = 0
    operations: int = 0
    names: int = 0
    """In the tree that was compared last."""
    requests: int = 0
    failed_requests: int = 0

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.operations} operations, {self.names} names at the end, "
            f"{self.requests} requests to B2 of which {self.failed_requests} were made to fail"
        )


@attrs.define(eq=False)
class Stress:
    """One session on one bucket; `local` is a directory outside of every mount."""

    maker: MountMaker
    local: Path
    seed: int
    mode: str
    processes: int
    faults: bool
    score: Score = attrs.field(factory=Score)
    mount: Mount = attrs.field(init=False)
    bucket: RemoteBucket = attrs.field(init=False)
    dice: random.Random = attrs.field(init=False)
    _requests: int = 0

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.bucket = self.maker.bucket()
        options = (self.dice.choice(MODES[self.mode]), self.dice.choice(("", "--ttl=1d", "--ttl=1")))
        chosen = (option for option in options if option)
        self.mount = self.maker.prepare(*chosen, bucket=self.bucket, limit=LIFETIME)
        if self.faults:
            self.mount.expect_log("WARNING")

    def run(self, rounds: int, operations: int) -> Score:
        """Raises AssertionError."""
        self.mount.start()
        for name in self._names():
            (self.mount.path / name).mkdir()
            (self.local / name).mkdir()
        (self.mount.path / SHARED).mkdir()
        for number in range(rounds):
            self._round(number * operations, operations)
        self.mount.umount()
        return self.score

    def _names(self) -> list[str]:
        return [f"own-{number}" for number in range(self.processes)]

    def _round(self, first: int, count: int) -> None:
        self._requests = sum(self.maker.server.counts.calls.values())
        if self.faults:
            self.maker.server.faults.replace(troubles(self.dice.randrange(10**6)))
        self._work(first, count)
        before = self._seen()
        self.mount.umount()
        self._count()
        self.maker.server.faults.clear()
        self._check_b2(before)
        self.mount.start(fresh_cache=self.dice.random() < 0.5)
        after = self._seen()
        assert_same(after, before, "the mount after it")
        self.score.names = len(after)
        self.score.rounds += 1
        self.score.operations += count * self.processes

    def _work(self, first: int, count: int) -> None:
        words = [sys.executable, "-m", "tests.torture.stress_program", str(self.mount.path), str(self.local)]
        programs = [
            self.mount.programs.start([*words, str(self.seed), name, str(first), str(count)])
            for name in self._names()
        ]
        ends = [self.mount.programs.finish(program, ROUND_WITHIN) for program in programs]
        for code, output in ends:
            assert code == 0, f"exit {code}\n{output}"
        self.mount.check()

    def _seen(self) -> Tree:
        """The tree in the mount; the directories of single processes must be as they are locally."""
        seen(self.mount.path)  # a directory's own attributes are known once it has been listed
        found = seen(self.mount.path)
        own = {path: what for path, what in found.items() if path.split("/")[0] != SHARED}
        assert_same(own, seen(self.local), "the local directory")
        return found

    def _count(self) -> None:
        server = self.maker.server
        self.score.failed_requests += sum(hits for _, hits in server.faults.report())
        self.score.requests += sum(server.counts.calls.values()) - self._requests

    def _check_b2(self, expected: Tree) -> None:
        """It has an object for each file, link and empty directory, with its owner and mode, and no other."""
        objects = self.bucket.objects()
        above = {path.rpartition("/")[0] for path in expected}
        directories = {path for path, (kind, *_) in expected.items() if kind == stat.S_IFDIR}
        wanted = (expected.keys() - directories) | {f"{path}/.bzEmpty" for path in directories - above}
        allowed = wanted | {f"{path}/.bzEmpty" for path in directories}
        missing, surplus = wanted - objects.keys(), objects.keys() - allowed
        assert not missing | surplus, f"B2 lacks {sorted(missing)}, and has besides {sorted(surplus)}"
        for path, what in expected.items():
            kind, *_, sha1, _xattrs = what
            if kind == stat.S_IFREG:
                assert objects[path].sha1 == sha1, f"B2 has other bytes of {path}"
            stored = objects.get(f"{path}/.bzEmpty" if kind == stat.S_IFDIR else path)
            if stored is not None:
                said, meant = stored.info["posix"].partition(",ns=")[0], owner_and_mode(what)
                assert said == meant, f"B2 has {said} of {path}, not {meant}"


def seen(root: Path) -> Tree:
    """By path: what it looks like, the SHA-1 of its bytes or what it points to, and its attributes."""
    found: Tree = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(directory, name)
            status = path.lstat()
            inside: object = None
            if stat.S_ISREG(status.st_mode):
                inside = hashlib.sha1(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                inside = os.readlink(path)
            names = sorted(n for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user."))
            xattrs = [(n, os.getxattr(path, n, follow_symlinks=False)) for n in names]
            found[str(path.relative_to(root))] = (*look(status), inside, xattrs)
    return found


def owner_and_mode(what: tuple[object, ...]) -> str:
    """As they stand in object info, of what a path looks like."""
    kind, mode, uid, gid = (part for part in what[:4] if isinstance(part, int))
    return f"mode={kind | mode:o},uid={uid},gid={gid}"


def assert_same(found: Tree, expected: Tree, what: str) -> None:
    """Raises AssertionError with what differs."""
    paths = sorted(found.keys() | expected.keys())
    faults = [f"{p}: {found.get(p)}, not {expected.get(p)}" for p in paths if found.get(p) != expected.get(p)]
    assert not faults, f"it is not what {what} has:\n" + "\n".join(faults[:20])


def session(seed: int, mode: str, processes: int, *, faults: bool) -> Score:
    """One emulator, one bucket; as many rounds as fit. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="stress-") as name, EmulatorServer(Path(name, "b2")) as server:
        api = open_account(server.url, server.key_id, server.application_key)
        maker, local = MountMaker(server, api, Path(name)), Path(name, "local")
        local.mkdir()
        try:
            score = Stress(maker, local, seed, mode, processes, faults).run(SESSION, ROUND)
        except BaseException:
            with suppress(AssertionError):  # what came first tells more
                maker.close()
            raise
        maker.close()
        return score


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.stress", description=__doc__)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=5, help="a session begins before they are over")
    parser.add_argument("--seed", type=int, help="of the first session; the others count on from it")
    parser.add_argument("--mode", choices=MODES, default="default")
    parser.add_argument("--faults", action="store_true", help=f"B2 fails in {SHARE:.0%}% of all requests")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)  # what killed clients leave behind
    show_connections()
    end = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < end:
        try:
            score = session(seed, arguments.mode, arguments.processes, faults=arguments.faults)
        except AssertionError as error:
            print(f"--seed {seed} failed: {error}", file=sys.stderr)
            return 1
        print(f"--seed {seed}: {score}", flush=True)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

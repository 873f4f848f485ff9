"""Rounds of verified work on one bucket: each ends with the mount unmounted or killed, and the next one
verifies what it left.

In every round fio writes over its files at random offsets and syncs now and then, a SQLite database
is changed, and a crowd of programs writes; B2 fails in a tenth of all requests. Then the mount goes: in
order, or by SIGKILL in the middle of the work. The next mount, on the same cache or on an empty
one, must show what was acknowledged: fio verifies its last complete pass, SQLite its integrity and
every transaction that it had committed; at the end B2 must hold what the crowd was told.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.mounted.bucket import RemoteBucket
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.torture.crowd import Crowd, seed_bucket
from tests.torture.trouble import LATEST, troubles

LOUD: Final = ("WARNING", "ERROR")
"""A B2 that fails is talked of in the log; what counts here are the bytes."""
PROGRAM_WITHIN: Final = 150.0
ROUND_WITHIN: Final = 400.0
OPTIONS: Final = (("--write-back=0.5",), (), ("--write-back=0",))
BLOCKS: Final = ("4k", "16k", "64k", "256k")
FIO: Final = (
    *("--name=verified", "--numjobs=2", "--rw=randwrite", "--ioengine=psync", "--fallocate=none"),
    *("--verify=pattern", "--verify_fatal=1", "--verify_state_save=0", "--group_reporting", "--minimal"),
)


@attrs.define
class Score:
    """What was done."""

    rounds: int = 0
    kills: int = 0
    fio_passes: int = 0
    transactions: int = 0
    operations: int = 0
    """Of the crowd, that had returned to it."""
    requests: int = 0
    failed_requests: int = 0

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds, {self.kills} kills, {self.fio_passes} passes of fio verified, "
            f"{self.transactions} transactions of SQLite, {self.operations} operations of the crowd, "
            f"{self.requests} requests to B2 of which {self.failed_requests} were made to fail"
        )


@attrs.define(eq=False)
class Torture:
    """See the module. `scratch` is a directory outside of every mount."""

    maker: MountMaker
    scratch: Path
    seed: int
    megabytes: int = 16
    """Size of each of fio's two files."""
    score: Score = attrs.field(factory=Score)
    mount: Mount = attrs.field(init=False)
    bucket: RemoteBucket = attrs.field(init=False)
    dice: random.Random = attrs.field(init=False)
    _complete: tuple[str, ...] | None = None
    """fio's last pass, when that was complete and durable."""

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.bucket = self.maker.bucket()
        self.mount = self.maker.prepare(bucket=self.bucket, limit=ROUND_WITHIN)
        for text in LOUD:
            self.mount.expect_log(text)

    def run(self, seconds: float) -> Score:
        """Rounds until the time is up, three at least. Raises AssertionError when anything is not as it was
        left."""
        for directory in ("fio", "sqlite"):
            self.bucket.put(f"{directory}/.bzEmpty", b"")
        end = time.monotonic() + seconds
        while self.score.rounds < 3 or time.monotonic() < end:
            self._round(kills=self.score.rounds % 3 == 1 or self.dice.random() < 0.3)
        self.mount.start(fresh_cache=True)
        self._verify()
        self.mount.umount()
        return self.score

    def _round(self, *, kills: bool) -> None:
        server, folder = self.maker.server, f"round-{self.score.rounds}"
        seed_bucket(self.bucket, folder)
        self.mount.options = self.dice.choice(OPTIONS)
        is_fresh = self.dice.random() < 0.3  # the one before has sent everything
        self.mount.start(fresh_cache=is_fresh)
        # B2 has no checksum of a part of an object: without TLS, wrong bytes of a big one that this cache
        # has never had are known as such at its end only, too late for a program that reads here and there
        server.faults.replace(troubles(self.dice.randrange(10**6), wrong_bytes=not is_fresh))
        before = sum(server.counts.calls.values())
        self._verify()
        crowd = Crowd.gather(self.mount, self.scratch / folder, self.dice.randrange(10**6), folder=folder)
        try:
            self._work(kills=kills)
            self.score.operations += crowd.stop()
            self.mount.umount()
        finally:
            crowd.destroy()
        self.score.failed_requests += sum(hits for _, hits in server.faults.report())
        self.score.requests += sum(server.counts.calls.values()) - before
        server.faults.clear()
        crowd.check(self.bucket)
        self.score.rounds += 1

    def _work(self, *, kills: bool) -> None:
        seconds = self.dice.uniform(1.5, 4)
        fio = self._fio_command()
        self._complete = None
        programs = {
            "fio": self.mount.programs.start([*fio, "--do_verify=0", "--fsync=16", "--end_fsync=1"]),
            "sqlite": self._sqlite("write", str(self.dice.randrange(10**6)), str(seconds)),
        }
        if kills:
            time.sleep(self.dice.uniform(0, seconds))
            self.mount.kill()
            time.sleep(LATEST)  # B2 may do what the dead one had asked for after what the next one asks for
            self.mount.start()
            self.score.kills += 1
        for name, program in programs.items():
            code, output = self.mount.programs.finish(program, PROGRAM_WITHIN)
            assert kills or (code == 0 and "out of reach" not in output), f"{name} failed: {output}"
            if name == "fio" and code == 0:
                self._complete = fio

    def _verify(self) -> None:
        """What is there now is what was there before."""
        if self._complete is not None:
            output = self.mount.programs.run(*self._complete, "--verify_only", timeout=PROGRAM_WITHIN)
            assert "verify:" not in output, output
            self.score.fio_passes += 1
        code, output = self.mount.programs.finish(self._sqlite("check"), PROGRAM_WITHIN)
        assert code == 0, output
        self.score.transactions = int(output)

    def _fio_command(self) -> tuple[str, ...]:
        """A pass over all blocks in an order of its own: each block tells which pass has written it, and
        where it belongs."""
        block, seed = self.dice.choice(BLOCKS), self.dice.randrange(10**6)
        pattern = f"--verify_pattern=0x{seed:08x}%o"
        place = (f"--directory={self.mount.path / 'fio'}", f"--size={self.megabytes}m")
        return ("fio", *FIO, *place, pattern, f"--bs={block}", f"--randseed={seed}")

    def _sqlite(self, what: str, *words: str) -> subprocess.Popen[str]:
        files = (str(self.mount.path / "sqlite" / "database"), str(self.scratch / "acknowledged"))
        command: Sequence[str] = (sys.executable, "-m", "tests.torture.database", what, *files, *words)
        return self.mount.programs.start(command)

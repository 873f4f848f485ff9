"""Rounds of verified work on one bucket, under every trouble that there is; each ends with a comparison.

Two mounts, each on a machine of its own, write their own names in one bucket and read each other's. On
the first fio writes over its files at random offsets and syncs now and then, and a SQLite database is
changed; on both a crowd of programs does what programs do with files, and a walker reads everything, odd
names too. Meanwhile what tests.torture.plan has drawn for the round befalls them.

Then the programs are told to end. Both mounts are unmounted or flushed, on a B2 of which a share of all
requests still fails; and B2, asked directly, must have every byte of which a program was told that it is
safe, and no name that nobody wrote. What was flushed must be what each mount shows of the other's names
after their time to live; then both are killed. The next round begins with what this one has left, on the
same cache or an empty one: fio verifies its last complete pass, SQLite its integrity and every transaction
that it had committed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import attrs

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket, open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.torture.crowd import EVERYBODY, Crowd, seed_bucket
from tests.torture.damage import Damage
from tests.torture.machine import Machine
from tests.torture.plan import CYCLE, HARMLESS, TTL, Ending, Kind, Round, draw
from tests.torture.through_kernel import stop_sign
from tests.torture.walker import OURS, assert_shown, odd_names, seed_odd_names, tree

LOUD: Final = ("WARNING", "ERROR")
"""A B2 that fails is talked of in the log; what counts here are the bytes."""
WITHIN: Final = 400.0
"""Seconds for whatever must come to an end, on a machine that has a lot else to do."""
ROUND_WITHIN: Final = 1800.0
CROWDS: Final = (EVERYBODY, ("small", "large", "share-1"))
"""On each of the mounts."""
FIO: Final = (
    *("--name=verified", "--numjobs=2", "--rw=randwrite", "--ioengine=psync", "--fallocate=none"),
    *("--verify=pattern", "--verify_fatal=1", "--verify_state_save=0", "--group_reporting", "--minimal"),
)


@attrs.define
class Score:
    """What was done."""

    rounds: int = 0
    events: Counter[Kind] = attrs.field(factory=Counter)
    kills: int = 0
    fio_passes: int = 0
    transactions: int = 0
    operations: int = 0
    """Of the crowds, that had returned to them."""
    walks: int = 0
    compared: int = 0
    """Names that B2 was asked for directly."""
    requests: int = 0
    failed_requests: int = 0

    def __str__(self) -> str:
        events = ", ".join(f"{count} {kind.value}" for kind, count in sorted(self.events.items(), key=str))
        return (
            f"{self.rounds} rounds with {events}; {self.kills} kills, {self.fio_passes} passes of fio "
            f"verified, {self.transactions} transactions of SQLite, {self.operations} operations of the "
            f"crowds, {self.walks} walks, {self.compared} names compared with B2; {self.requests} requests "
            f"to B2, of which {self.failed_requests} were made to fail"
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
    bucket: RemoteBucket = attrs.field(init=False)
    machines: list[Machine] = attrs.field(factory=list)
    _complete: tuple[str, ...] | None = None
    """fio's last pass, when that was complete and durable."""

    def run(self, seconds: float, *, rounds: int = CYCLE) -> Score:
        """Rounds until the time is up, and `rounds` at least: CYCLE of them have every trouble. Raises
        AssertionError when anything is not as it was left."""
        self.bucket = self.maker.bucket()
        for directory in ("fio", "sqlite"):
            self.bucket.put(f"{directory}/.bzEmpty", b"")
        seed_odd_names(self.bucket, self.seed)
        end = time.monotonic() + seconds
        with ExitStack() as stack:
            for _ in range(2):
                mount = self.maker.prepare(bucket=self.bucket, limit=ROUND_WITHIN)
                for text in LOUD:
                    mount.expect_log(text)
                self.machines.append(Machine(mount))
                stack.callback(self.machines[-1].close)
            while self.score.rounds < rounds or time.monotonic() < end:
                self._plan_and_run()
            self._see_the_last()
        return self.score

    def _plan_and_run(self) -> None:
        plan = draw(self.seed, self.score.rounds)
        try:
            self._round(plan)
        except AssertionError as error:
            raise AssertionError(f"{plan}: {error}") from error

    def _see_the_last(self) -> None:
        self._first.start(fresh_cache=True)
        self._verify()
        self._first.umount(within=WITHIN)

    @property
    def _first(self) -> Mount:
        return self.machines[0].mount

    # -- a round -----------------------------------------------------------------------------

    def _round(self, plan: Round) -> None:
        server = self.maker.server
        folders = [f"round-{plan.number}", f"round-{plan.number}-too"]
        before = sum(server.counts.calls.values())
        for folder in folders:
            seed_bucket(self.bucket, folder)
        for machine, options, fresh in zip(
            self.machines, plan.options, (plan.fresh_cache, False), strict=True
        ):
            machine.mount.options = options
            machine.mount.start(fresh_cache=fresh)
            machine.forget_old_caches()
        damage = Damage(server, self.machines, plan)
        with ExitStack() as stack:
            with damage.always():
                self._verify()
                crowds = self._gather(plan, folders, stack)
                self._work(plan, damage)
                self._send(plan, crowds)
            self._compare(plan, crowds)
        self._count(plan, damage)
        self.score.requests += sum(server.counts.calls.values()) - before

    def _gather(self, plan: Round, folders: Sequence[str], stack: ExitStack) -> list[Crowd]:
        crowds = []
        for machine, folder, programs in zip(self.machines, folders, CROWDS, strict=True):
            crowd = Crowd.gather(
                machine.mount, self.scratch / folder, plan.seed, programs=programs, folder=folder
            )
            stack.callback(crowd.destroy)
            words = [machine.mount.path, stop_sign(crowd.ledger.place), self.seed]
            crowd.add("tests.torture.walker", *map(str, words))
            crowds.append(crowd)
        return crowds

    def _work(self, plan: Round, damage: Damage) -> None:
        """The troubles, while fio and SQLite are at work besides."""
        seconds = sum(event.after + event.seconds for event in plan.events)
        fio = self._fio_command(plan)
        self._complete = None
        programs = {
            "fio": self._first.programs.start([*fio, "--do_verify=0", "--fsync=16", "--end_fsync=1"]),
            "sqlite": self._sqlite("write", str(plan.seed), str(seconds)),
        }
        damage.run()
        may_fail = any(event.kind not in HARMLESS for event in plan.events)
        for name, program in programs.items():
            code, output = self._first.programs.finish(program, WITHIN)
            assert may_fail or (code == 0 and "out of reach" not in output), f"{name} failed: {output}"
            if name == "fio" and code == 0:
                self._complete = fio

    # -- the comparison ----------------------------------------------------------------------

    def _send(self, plan: Round, crowds: Sequence[Crowd]) -> None:
        """All that programs have done, to a B2 that still fails now and then."""
        for crowd in crowds:
            self.score.operations += crowd.stop()
        if plan.ending is Ending.FLUSH:
            self._flush()
        else:
            self._look(crowds)
            for machine in self.machines:
                machine.mount.umount(within=WITHIN)

    def _compare(self, plan: Round, crowds: Sequence[Crowd]) -> None:
        """What is in B2 with all that programs were told, and what each mount shows of the other."""
        self._check(crowds)
        if plan.ending is Ending.FLUSH:
            self._look(crowds)
            self._see_each_other(crowds)
            for machine in self.machines:
                machine.mount.kill()
            self._check(crowds)

    def _look(self, crowds: Sequence[Crowd]) -> None:
        for crowd in crowds:
            self.score.walks += crowd.looks()

    def _flush(self) -> None:
        for machine in self.machines:
            code, output = machine.mount.b2mount("flush", machine.mount.path, timeout=WITHIN)
            assert code == 0, f"flush ended with {code}: {output}"

    def _check(self, crowds: Sequence[Crowd]) -> None:
        """B2 itself, asked past every mount."""
        for crowd in crowds:
            self.score.compared += crowd.check(self.bucket)
        keys = (version.file_name for version, _ in self.bucket.bucket.ls(recursive=True))
        others = {key for key in keys if not key.startswith(OURS)}
        assert others == set(odd_names(self.seed)), "B2 has other odd names"

    def _see_each_other(self, crowds: Sequence[Crowd]) -> None:
        """After the time to live."""
        time.sleep(TTL + 0.5)
        for machine, crowd in zip(self.machines, reversed(crowds), strict=True):
            faults = crowd.ledger.faults(tree(machine.mount.path, below=crowd.folder))
            assert not faults, "the other mount shows otherwise:\n" + "\n".join(faults)
            assert_shown(tree(machine.mount.path, skip=OURS), self.seed)

    def _count(self, plan: Round, damage: Damage) -> None:
        self.score.events.update(event.kind for event in plan.events)
        self.score.kills += damage.kills
        self.score.failed_requests += damage.failed_requests
        self.score.rounds += 1

    def _verify(self) -> None:
        """What is there now is what was there before."""
        if self._complete is not None:
            output = self._first.programs.run(*self._complete, "--verify_only", timeout=WITHIN)
            assert "verify:" not in output, output
            self.score.fio_passes += 1
        code, output = self._first.programs.finish(self._sqlite("check"), WITHIN)
        assert code == 0, output
        self.score.transactions = int(output)

    # -- programs ----------------------------------------------------------------------------

    def _fio_command(self, plan: Round) -> tuple[str, ...]:
        """A pass over all blocks in an order of its own: each block tells which pass has written it, and
        where it belongs."""
        seed = random.Random(plan.seed).randrange(10**6)
        pattern = f"--verify_pattern=0x{seed:08x}%o"
        place = (f"--directory={self._first.path / 'fio'}", f"--size={self.megabytes}m")
        return ("fio", *FIO, *place, pattern, f"--bs={plan.fio_block}", f"--randseed={seed}")

    def _sqlite(self, what: str, *words: str) -> subprocess.Popen[str]:
        files = (str(self._first.path / "sqlite" / "database"), str(self.scratch / "acknowledged"))
        command: Sequence[str] = (sys.executable, "-m", "tests.torture.database", what, *files, *words)
        return self._first.programs.start(command)


def session(seed: int, seconds: float, *, rounds: int = CYCLE, megabytes: int = 16) -> Score:
    """One emulator, one bucket. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name, EmulatorServer(Path(name, "b2")) as server:
        api = open_account(server.url, server.key_id, server.application_key)
        maker, scratch = MountMaker(server, api, Path(name)), Path(name, "scratch")
        scratch.mkdir()
        try:
            score = Torture(maker, scratch, seed, megabytes).run(seconds, rounds=rounds)
        except BaseException:
            server.faults.clear()
            with suppress(AssertionError):  # what came first tells more
                maker.close()
            raise
        maker.close()
        return score

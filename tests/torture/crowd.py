"""A crowd of programs on one mount, and the judgement of what they were told."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.crash.claims import Ledger
from tests.crash.load import before_the_load
from tests.mounted.bucket import RemoteBucket
from tests.mounted.harness import Mount
from tests.torture.through_kernel import HOMES, stop_sign

EVERYBODY: Final = (*HOMES, "share-1", "share-2")
END_WITHIN: Final = 90.0


def seed_bucket(bucket: RemoteBucket) -> None:
    """What the programs believe to be there before."""
    for home in HOMES.values():
        for name, data in home.seeded().items():
            bucket.put(name, data)
    bucket.put("shared/.bzEmpty", b"")


@attrs.define(eq=False)
class Crowd:
    """Processes that write until they are told to stop, whatever happens to the mount."""

    mount: Mount
    ledger: Ledger
    _processes: list[subprocess.Popen[str]] = attrs.field(factory=list)

    @classmethod
    def gather(cls, mount: Mount, place: Path, seed: int, programs: Sequence[str] = EVERYBODY) -> Crowd:
        """Start them; the bucket must have been seeded. Their ledger is at `place`."""
        ledger = Ledger(place)
        ledger.open()
        before_the_load(ledger, list(HOMES.values()))
        crowd = cls(mount, ledger)
        for program in programs:
            words = [sys.executable, "-m", "tests.torture.through_kernel", mount.path, place, seed, program]
            crowd._processes.append(mount.programs.start([str(word) for word in words]))
        return crowd

    def stop(self) -> int:
        """Tell them, and wait; returns how many operations have returned to them. Raises AssertionError
        when one did not end well."""
        stop_sign(self.ledger.place).touch()
        done = 0
        for process in self._processes:
            code, output = self.mount.programs.finish(process, END_WITHIN)
            assert code == 0, output
            done += int(output)
        self._processes.clear()
        return done

    def destroy(self) -> None:
        """Nobody stays behind, whatever has happened."""
        for process in self._processes:
            process.kill()
            process.communicate(timeout=END_WITHIN)

    def check(self, bucket: RemoteBucket) -> None:
        """Raises AssertionError unless B2 has all that they were told, and nothing else. Everything must have
        been sent."""
        found = {key: bucket.read(key) for key in bucket.objects() if not key.endswith(".bzEmpty")}
        faults = self.ledger.faults(found)
        assert not faults, "\n".join(faults)
        unfinished = [upload.file_name for upload in bucket.bucket.list_unfinished_large_files()]
        assert not unfinished, f"unfinished in B2: {unfinished}"


def moment(dice: random.Random) -> float:
    """Seconds until the next death."""
    return dice.choice([dice.uniform(0, 0.3), dice.uniform(0.2, 1.2)])

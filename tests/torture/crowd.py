"""A crowd of programs on one mount, and the judgement of what they were told."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.crash.claims import Ledger
from tests.crash.load import before_the_load
from tests.mounted.bucket import RemoteBucket
from tests.mounted.harness import Mount
from tests.torture.through_kernel import HOMES, stop_sign

EVERYBODY: Final = (*HOMES, "share-1", "share-2")
END_WITHIN: Final = 400.0
FOLDER: Final = "crowd"
LESS: Final = re.compile(" INFO b2://")


def seed_bucket(bucket: RemoteBucket, folder: str = FOLDER) -> None:
    """What the programs believe to be there before. While there is no mount, which might know better."""
    for home in HOMES.values():
        for name, data in home.seeded().items():
            bucket.put(f"{folder}/{name}", data)
    bucket.put(f"{folder}/shared/.bzEmpty", b"")


@attrs.define(eq=False)
class Crowd:
    """Processes that write until they are told to stop, whatever happens to the mount."""

    mount: Mount
    ledger: Ledger
    folder: str = FOLDER
    """Its directory in the mount."""
    _processes: list[subprocess.Popen[str]] = attrs.field(factory=list)
    _others: list[subprocess.Popen[str]] = attrs.field(factory=list)

    @classmethod
    def gather(
        cls,
        mount: Mount,
        place: Path,
        seed: int,
        *,
        programs: Sequence[str] = EVERYBODY,
        folder: str = FOLDER,
    ) -> Crowd:
        """Start them; the bucket must have been seeded. Their ledger is at `place`."""
        ledger = Ledger(place)
        ledger.open()
        before_the_load(ledger, list(HOMES.values()))
        ledger.close()
        crowd = cls(mount, ledger, folder)
        for program in programs:
            words = [sys.executable, "-m", "tests.torture.through_kernel"]
            words += [str(word) for word in (mount.path, folder, place, seed, program)]
            crowd._processes.append(mount.programs.start(words))
        return crowd

    def add(self, module: str, *words: str) -> None:
        """Somebody who only watches until the others stop, and says in a number how often it has."""
        self._others.append(self.mount.programs.start([sys.executable, "-m", module, *words]))

    def stop(self) -> int:
        """Tell them, and wait; returns how many operations have returned to them. Raises AssertionError
        when one did not end well."""
        stop_sign(self.ledger.place).touch()
        return self._ended(self._processes)

    def looks(self) -> int:
        """After `stop`: what those who only watched have said. Raises AssertionError as it does."""
        return self._ended(self._others)

    def _ended(self, processes: list[subprocess.Popen[str]]) -> int:
        done = 0
        while processes:
            code, output = self.mount.programs.finish(processes[0], END_WITHIN)
            assert code == 0, output
            done += int(output)
            del processes[0]
        return done

    def destroy(self) -> None:
        """Nobody stays behind, whatever has happened."""
        for process in [*self._processes, *self._others]:
            process.kill()
            process.communicate(timeout=END_WITHIN)

    def check(self, bucket: RemoteBucket) -> int:
        """How many names B2 has. Raises AssertionError unless it has all that they were told, and nothing
        else. Everything must have been sent."""
        prefix = f"{self.folder}/"
        keys = (key for key in bucket.objects(prefix) if not key.endswith(".bzEmpty"))
        found = {key.removeprefix(prefix): bucket.read(key) for key in keys}
        faults = self.ledger.faults(found)
        assert not faults, "\n".join([*faults, *self._stories(bucket, faults)])
        unfinished = [upload.file_name for upload in bucket.bucket.list_unfinished_large_files()]
        assert not unfinished, f"unfinished in B2: {unfinished}"
        return len(found)

    def _stories(self, bucket: RemoteBucket, faults: Sequence[str]) -> Iterator[str]:
        """All that is known of the names that faults begin with."""
        for name in {fault.split(" ")[0] for fault in faults}:
            yield f"what was said of {name}:"
            yield from (f"    {line}" for line in self.ledger.story(name)[-20:])
            yield "what B2 has of it:"
            for version in list(bucket.bucket.list_file_versions(f"{self.folder}/{name}"))[:8]:
                sha1 = str(version.content_sha1)[:8]
                at = version.upload_timestamp / 1000
                yield f"    {at:.3f}: {version.action} {version.size} bytes ({sha1})"
        yield from (line for line in self.mount.log().splitlines()[-300:] if not LESS.search(line))


def moment(dice: random.Random) -> float:
    """Seconds until the next death."""
    return dice.choice([dice.uniform(0, 0.3), dice.uniform(0.2, 1.2)])

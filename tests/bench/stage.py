"""Where a workload plays: one peer, one fresh bucket, an empty cache, and a clock that counts the bill."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.bench.emulator import Emulator
from tests.bench.library import Content, Library, Piece
from tests.bench.measure import Failure, Measurement, Result
from tests.bench.peers import LOG, Mounted, MountFailed, MountPlan, Peer, last_words, mounted
from tests.bench.watchdog import Deadline, TimedOut, limit

ROW_WITHIN: Final = 180.0
"""No row of a peer that works comes near it."""
NOTHING_CAME_FOR: Final = 20.0
"""Four times rclone's --vfs-write-back: what has not been sent by then will not be."""


class WrongAnswer(Exception):
    """A peer was done and had not done what it was asked for."""


@attrs.define(eq=False)
class Stage:
    """One workload of one peer."""

    peer: Peer
    emulator: Emulator
    library: Library
    bucket: str
    folder: Path
    old: frozenset[str] = frozenset()
    """The versions that were in the bucket before."""
    row: str = ""
    """The one that is being measured or checked."""
    results: dict[str, Result] = attrs.field(factory=dict)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Mounted]:
        """A mount of the bucket. A second one finds the cache that the first one left."""
        plan = MountPlan(self.emulator.access(), self.bucket, self.folder)
        with mounted(self.peer, plan) as mount:
            self.emulator.wait_until_quiet()
            yield mount

    @contextlib.contextmanager
    def measure(self, row: str, mount: Mounted) -> Iterator[Deadline]:
        """The block is what the row says. Checks that follow it, up to the next row, are its own."""
        self.row = row
        before, used = self.emulator.activity(), mount.use()
        self.emulator.watch()
        began = time.perf_counter()
        with limit(ROW_WITHIN, mount.destroy) as deadline:
            yield deadline
        seconds = time.perf_counter() - began
        progress = self.emulator.watched()
        self.emulator.wait_until_quiet()
        use = mount.use()
        self.results[row] = Measurement(
            seconds,
            self.emulator.activity().traffic.since(before.traffic),
            use.cpu_seconds - used.cpu_seconds,
            use.peak_memory,
            progress=progress,
        )

    def wait_for(self, files: Mapping[str, Content], deadline: Deadline) -> None:
        """Until the bucket holds files of these names and sizes and no others, all newer than the
        row. Raises WrongAnswer when it does not and nothing more happens."""
        wanted = {name: content.size for name, content in files.items()}
        seen, since = None, time.monotonic()
        there: dict[str, int] = {}
        while True:
            if (now := self.emulator.activity()) != seen:
                seen, since = now, time.monotonic()
                new = {
                    n: s
                    for n, s in self.emulator.listing(self.bucket).items()
                    if s.version_id not in self.old
                }
                there = {name: stored.size for name, stored in new.items()}
                if there == wanted:
                    return
            elif time.monotonic() - since > NOTHING_CAME_FOR:
                raise WrongAnswer(f"the bucket has {difference(there, wanted)}")
            deadline.pause(0.01)

    def check_bucket(self, files: Mapping[str, Content]) -> None:
        """Raises WrongAnswer unless the bucket holds these files, byte by byte, and no others."""
        for name in self.emulator.listing(self.bucket):
            if name not in files:
                raise WrongAnswer(f"{name} should not be in the bucket")
            if self.emulator.sha1(self.bucket, name) != self.library.sha1(files[name]):
                raise WrongAnswer(f"{name} has other bytes in the bucket")


@attrs.frozen
class Workload:
    """Something that people do with files."""

    name: str
    """For the command line."""
    rows: tuple[str, ...]
    """What is measured, in order."""
    files: Mapping[str, Piece]
    """What the bucket holds before."""
    run: Callable[[Stage], None]
    reads_only: bool = False
    """Whether the bucket can serve the next peer as well."""

    def play(self, stage: Stage) -> Mapping[str, Result]:
        """A result for each row: where the peer fails it is the reason, and what would have come
        after that was not reached."""
        stage.row = self.rows[0]
        try:
            self.run(stage)
        except (OSError, subprocess.SubprocessError, MountFailed, TimedOut, WrongAnswer) as error:
            said = last_words(stage.folder / LOG)
            reason = f"{type(error).__name__}: {error}"
            stage.results[stage.row] = Failure(f"{reason} (its log ends: {said})" if said else reason)
        return {row: stage.results.get(row, Failure("not reached")) for row in self.rows}


def difference(there: Mapping[str, int], wanted: Mapping[str, int]) -> str:
    """How what is there differs from what is wanted, in a few words."""
    right = sum(there.get(name) == size for name, size in wanted.items())
    more = sorted(set(there) - set(wanted))
    text = f"{right} of {len(wanted)} files"
    return f"{text} and {len(more)} that nobody wrote, as {more[0]}" if more else text


def output_of(*command: str | Path) -> str:
    """What a program prints. Raises CalledProcessError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise WrongAnswer(f"{command[0]}: exit code {done.returncode}, {lines[0] if lines else 'no message'}")
    return done.stdout

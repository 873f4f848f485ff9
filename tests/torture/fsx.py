"""`python -m tests.torture.fsx --operations N [--seed S] [--mode write-back] [--faults]`: random operations
on one file of a real mount, each compared with a model; the mount is unmounted, killed and
mounted again meanwhile.

Sessions of some ten thousand operations have an emulator, a bucket and a seed of their own; in every fifth
the file is so large that it is sent in parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, Final

import attrs

from b2mount.emulator.faults import Fault
from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket, open_account
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import show_connections
from tests.torture.trouble import LATEST, SHARE, troubles

SMALL_SESSION: Final = 25_000
LARGE_SESSION: Final = 2500
"""Operations; then the emulator's disk space is given back."""
SILENCE: Final = 240.0
"""Seconds after which the program hangs."""
LIFETIME: Final = 1800.0
MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "default": ("",),
    "write-back": ("--write-back=0", "--write-back=0", "--write-back=0.02", "--write-back=0.3"),
}


@attrs.define
class Score:
    """What was done."""

    operations: int = 0
    remounts: int = 0
    kills: int = 0
    requests: int = 0
    failed_requests: int = 0

    def __str__(self) -> str:
        return (
            f"{self.operations} operations, {self.remounts} remounts, {self.kills} kills, {self.requests} "
            f"requests to B2 of which {self.failed_requests} were made to fail"
        )


@attrs.define(eq=False)
class Fsx:
    """One session: the program that works on the file is another process, since a page of a mapping can
    only come when the emulator, which is in this one, runs."""

    maker: MountMaker
    scale: str
    seed: int
    mode: str
    faults: bool
    score: Score = attrs.field(factory=Score)
    mount: Mount = attrs.field(init=False)
    bucket: RemoteBucket = attrs.field(init=False)
    _troubles: tuple[Fault, ...] = ()
    _program: subprocess.Popen[str] = attrs.field(init=False)

    def run(self, operations: int) -> Score:
        """Raises AssertionError."""
        dice, server = random.Random(self.seed), self.maker.server
        before = sum(server.counts.calls.values())
        self.bucket = self.maker.bucket()
        options = [dice.choice(MODES[self.mode]), dice.choice(["", "--cache-size=32M"])]
        self.mount = self.maker.prepare(
            *(option for option in options if option), bucket=self.bucket, limit=LIFETIME
        )
        if self.faults:
            self.mount.expect_log("WARNING")
            # B2 has no checksum of a part of an object: without TLS wrong bytes of a big one are known as
            # such at its end only, and a program that reads here and there has seen them by then
            self._troubles = tuple(troubles(self.seed, wrong_bytes=self.scale == "small"))
        server.faults.replace(self._troubles)
        self.mount.start()
        words = [str(self.mount.path), self.scale, str(self.seed), str(operations)]
        self._start([sys.executable, "-m", "tests.torture.fsx_program", *words])
        try:
            self._serve()
        finally:
            self._end()
        self.score.requests = sum(server.counts.calls.values()) - before
        self.score.operations = operations
        return self.score

    def _start(self, command: list[str]) -> None:
        self._program = subprocess.Popen(
            command,
            env=self.mount.programs.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._program.poll() is None:
            self.mount.programs.abort()
            self._program.kill()
        self._program.communicate(timeout=30)

    def _serve(self) -> None:
        """Do what the program asks for until it ends."""
        for request in self._requests():
            match request:
                case {"what": "remount", "fresh": bool(fresh)}:
                    self.mount.umount()
                    self._check(request)
                    self.mount.start(fresh_cache=fresh)
                    self.score.remounts += 1
                case {"what": "kill"}:
                    self._kill()
                case {"what": "kill soon", "seconds": float(seconds)}:
                    time.sleep(seconds)
                    self.mount.kill()
                    continue
                case {"what": "killed"}:
                    self._after_kill()
                case {"what": "end"}:
                    self.mount.umount()
                    self._check(request)
                case _:
                    continue
            self._answer()
        code = self._program.wait(SILENCE)
        assert code == 0, f"the program ended with {code}; see above"

    def _kill(self) -> None:
        self.mount.kill()
        self._after_kill()

    def _after_kill(self) -> None:
        if self.faults:
            time.sleep(LATEST)  # B2 may do what the dead one had asked for after what the next one asks for
        self.mount.start()
        self.score.kills += 1

    def _requests(self) -> Iterator[Mapping[str, Any]]:
        lines = Queue[str]()
        Thread(target=_read_into, args=(lines, self._program.stdout), daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=SILENCE)
            except Empty:
                raise AssertionError(f"the program hangs: {self.mount.log()[-4000:]}") from None
            if not line:
                return
            yield json.loads(line)

    def _answer(self) -> None:
        assert self._program.stdin is not None
        print("done", file=self._program.stdin, flush=True)

    def _check(self, expected: Mapping[str, Any]) -> None:
        """B2 has the file as it must be, and no other."""
        faults = self.maker.server.faults
        self.score.failed_requests += sum(hits for _, hits in faults.report())
        faults.clear()
        keys = sorted(self.bucket.objects())
        assert keys == [expected["name"]], f"B2 has {keys}, not {expected['name']!r} alone"
        data = self.bucket.read(expected["name"])
        assert (len(data), zlib.crc32(data)) == (expected["size"], expected["crc"]), "B2 has other bytes"
        unfinished = [upload.file_name for upload in self.bucket.bucket.list_unfinished_large_files()]
        assert not unfinished, f"unfinished in B2: {unfinished}"
        self._troubles = tuple(attrs.evolve(fault, seed=fault.seed + 1000) for fault in self._troubles)
        faults.replace(self._troubles)


def _read_into(lines: Queue[str], output: IO[str]) -> None:
    for line in output:
        lines.put(line)
    lines.put("")


def session(scale: str, seed: int, mode: str, operations: int, *, faults: bool) -> Score:
    """One emulator, one bucket. Raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="fsx-") as name, EmulatorServer(Path(name, "b2")) as server:
        api = open_account(server.url, server.key_id, server.application_key)
        maker = MountMaker(server, api, Path(name))
        try:
            score = Fsx(maker, scale, seed, mode, faults).run(operations)
        except BaseException:
            with suppress(AssertionError):  # what came first tells more
                maker.close()
            raise
        maker.close()
        return score


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.fsx", description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, help="of the first session; the others count on from it")
    parser.add_argument("--mode", choices=MODES, default="default")
    parser.add_argument("--scale", choices=("small", "large"), help="only files of this size")
    parser.add_argument("--faults", action="store_true", help=f"B2 fails in {SHARE:.0%}% of all requests")
    arguments = parser.parse_args()
    first = random.randrange(10**6) if arguments.seed is None else arguments.seed
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)  # what killed clients leave behind
    show_connections()
    left, seed = arguments.operations, first
    while left > 0:
        scale = arguments.scale or ("large" if seed % 5 == 4 else "small")
        operations = min(left, SMALL_SESSION if scale == "small" else LARGE_SESSION)
        begun = time.monotonic()
        try:
            score = session(scale, seed, arguments.mode, operations, faults=arguments.faults)
        except AssertionError as error:
            print(f"--scale {scale} --seed {seed} failed: {error}", file=sys.stderr)
            return 1
        seconds = time.monotonic() - begun
        print(f"--scale {scale} --seed {seed}: {score} in {seconds:.0f} s", flush=True)
        left, seed = left - operations, seed + 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The emulator of a run, in a process of its own so that neither side waits for the other's Python."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeVar

import attrs

from b2mount.emulator.server import EmulatorServer
from b2mount.emulator.shaping import Shape
from tests.bench.hub import Access, Activity, Hub, Stored
from tests.bench.library import Piece
from tests.bench.line import USUAL, Line
from tests.bench.sampler import Progress

T = TypeVar("T")

QUIET_FOR: Final = 0.5
QUIET_WITHIN: Final = 30.0
ANSWER_WITHIN: Final = 300.0


class EmulatorGone(Exception):
    """The emulator's process does not answer."""


@attrs.frozen(eq=False)
class Emulator:
    """The hub as another process sees it: each method is one of Hub's, or made of them."""

    _pipe: Connection
    line: Line = USUAL
    """What `shaped` makes of the line."""

    def access(self) -> Access:
        return self._ask(Access, "access")

    def activity(self) -> Activity:
        return self._ask(Activity, "activity")

    def store_library(self, path: Path) -> None:
        self._ask(type(None), "store_library", path)

    def create_bucket(self, name: str, files: Mapping[str, Piece]) -> None:
        self._ask(type(None), "create_bucket", name, files)

    def create_endless(self, name: str, sizes: Mapping[str, int]) -> None:
        self._ask(type(None), "create_endless", name, sizes)

    def watch(self) -> None:
        self._ask(type(None), "watch")

    def watched(self) -> Progress:
        return self._ask(tuple, "watched")

    def seed_bucket(self, name: str, count: int, per_folder: int) -> None:
        self._ask(type(None), "seed_bucket", name, count, per_folder)

    def remove_bucket(self, name: str) -> None:
        self._ask(type(None), "remove_bucket", name)

    def listing(self, bucket: str) -> dict[str, Stored]:
        return self._ask(dict, "listing", bucket)

    def sha1(self, bucket: str, name: str) -> str:
        return self._ask(str, "sha1", bucket, name)

    @contextlib.contextmanager
    def shaped(self) -> Iterator[None]:
        """The line is as slow, and as bad, as `line` says; it has no limits and no faults otherwise."""
        self._ask(type(None), "set_shape", self.line.shape)
        self._ask(type(None), "set_faults", self.line.faults)
        try:
            yield
        finally:
            self._ask(type(None), "set_faults", ())
            self._ask(type(None), "set_shape", Shape())

    def wait_until_quiet(self) -> None:
        """Until nobody has asked for anything for a while, or for ever: some never rest."""
        last, began = self.activity(), time.monotonic()
        since = began
        while (now := time.monotonic()) - since < QUIET_FOR and now - began < QUIET_WITHIN:
            time.sleep(0.02)
            if (activity := self.activity()) != last:
                last, since = activity, time.monotonic()

    def _ask(self, kind: type[T], method: str, *arguments: object) -> T:
        self._pipe.send((method, arguments))
        if not self._pipe.poll(ANSWER_WITHIN):
            raise EmulatorGone(f"no answer to {method}")
        answer: object = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, kind)
        return answer


@contextlib.contextmanager
def emulator(folder: Path, line: Line = USUAL) -> Iterator[Emulator]:
    """An emulator in a process of its own, its data in this folder."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Emulator(ours, line)
    finally:
        ours.close()
        process.join(timeout=30)
        process.kill()


def serve(folder: Path, pipe: Connection) -> None:
    """Run an emulator and answer what comes through the pipe, until its other end is closed."""
    with EmulatorServer(folder) as server, contextlib.suppress(EOFError):
        hub = Hub(server)
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send(getattr(hub, method)(*arguments))
            except (LookupError, ValueError, OSError) as error:
                pipe.send(error)

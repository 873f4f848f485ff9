"""Random operations on one file of a mount, each compared with a model. Started by tests.torture.fsx.

The n-th operation and what it draws are a function of the seed and n alone; only lengths are fitted to
the size that the file has.

python -m tests.torture.fsx_program MOUNT SCALE SEED OPERATIONS
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from b2mount.control.client import find_path
from tests.torture.fsx_descriptors import HANDLES, MARK, SCALES, WEIGHTS, Descriptors, Handle, Mismatch
from tests.torture.fsx_model import File, Look

CLOSING: Final[Mapping[str, float]] = {
    "reopen": 1,
    "open_another": 0.6,
    "close_one": 0.6,
    "rewrite": 0.3,
    "write_after_close": 0.3,
    "rename": 0.25,
    "replace": 0.25,
    "unlink_and_recreate": 0.25,
    "evict": 0.1,
    "remount": 0.02,
    "kill": 0.02,
    "kill_in_the_middle": 0.03,
}
"""In units of Scale.closes."""


def ask(**request: object) -> None:
    """Have the one who has started this do something, and wait for it."""
    print(json.dumps(request), flush=True)
    answer = sys.stdin.readline().strip()
    if answer != "done":
        raise SystemExit(f"instead of an answer to {request}: {answer!r}")


@attrs.define(eq=False)
class Exerciser(Descriptors):
    """One life of one file; the mount may die and come back meanwhile."""

    # -- running -------------------------------------------------------------------------

    def run(self, operations: int) -> None:
        """Raises Mismatch, OSError."""
        actions = self._actions()
        names, weights = list(actions), list(actions.values())
        self.open(os.O_RDWR | os.O_CREAT)
        self.put(self.handles[0], 0, self.news(self.scale.size * 3 // 4))
        for self.number in range(operations):
            self.dice.seed(f"{self.seed} {self.number}")
            (name,) = self.dice.choices(names, weights)
            self.note(name)
            getattr(self, name)()
            self.check_size()
            if self.number % 500 == 0:
                print(json.dumps({"at": self.number}), flush=True)
        self.compare()
        self.close_all()
        ask(what="end", **self.expected())

    def _actions(self) -> dict[str, float]:
        closing = {name: weight * self.scale.closes for name, weight in CLOSING.items()}
        return {**WEIGHTS, **closing, "compare": self.scale.reads_all}

    def expected(self) -> dict[str, object]:
        """What B2 must have; the bytes are too many for a line."""
        return {"name": self.name, "size": self.file.size, "crc": _crc(self.file.data)}

    # -- the whole file ------------------------------------------------------------------

    def compare(self) -> None:
        """The whole file, by its name."""
        self.note(f"compare all of {self.file}")
        if self.dice.random() < 0.3:
            for handle in self.handles:
                os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.same(self.path.read_bytes(), bytes(self.file.data), 0)
        look = self.look()
        if look != self.file.look:
            raise Mismatch(f"it looks like {look}, not like {self.file.look}")

    def look(self) -> Look:
        mark = os.getxattr(self.path, MARK) if MARK in os.listxattr(self.path) else None
        return Look(self.path.stat().st_mode & 0o777, mark)

    def reopen(self) -> None:
        self.close_all()
        self.compare()
        self.open(self.flags())

    # -- names ---------------------------------------------------------------------------

    def other_name(self) -> str:
        return self.dice.choice([name for name in ("file", "b", "c d", "ü") if name != self.name])

    def rename(self) -> None:
        name = self.other_name()
        self.note(f"rename {self.name} to {name}")
        self.path.rename(self.mount / name)
        self.name = name

    def replace(self) -> None:
        """As programs save: a new file, renamed over the old one, which who has it open goes on with."""
        name, size = self.other_name(), self.offset(self.scale.size)
        new, old_name = File(), self.name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        while len(self.handles) >= HANDLES:
            self.close(self.handles[0])
        handle = Handle(os.open(self.mount / name, flags, 0o644), new, flags)
        self.handles.append(handle)
        self.put(handle, 0, self.news(size))
        ending = self.dice.choice(["close", "fsync", ""])
        if ending == "close":
            self.handles.remove(handle)
            os.close(handle.fd)
        elif ending == "fsync":
            os.fsync(handle.fd)
        if ending:
            new.acknowledged()
        else:
            new.replaces = self.file
        self.note(f"rename {name} with {new} over {old_name}, {ending or 'open'}")
        (self.mount / name).rename(self.mount / old_name)
        self.file = new

    def unlink_and_recreate(self) -> None:
        """Who has it open goes on with what it was."""
        if self.dice.random() < 0.5:
            self.close_all()
        self.note(f"unlink {self.name}")
        self.path.unlink()
        if self.path.exists():
            raise Mismatch("it is still there")
        self.file = File()
        handle = self.open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.put(handle, 0, self.news(self.offset(self.scale.size)))

    # -- the mount -----------------------------------------------------------------------

    def evict(self) -> None:
        client, path = find_path(str(self.path))
        client.evict(path)
        for handle in self.handles:
            os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def remount(self) -> None:
        fresh = self.dice.random() < 0.3
        self.close_all()
        ask(what="remount", fresh=fresh, **self.expected())
        self.file.acknowledged()
        self.compare()

    def kill(self) -> None:
        self.note("kill")
        ask(what="kill")
        self.come_back()

    def kill_in_the_middle(self) -> None:
        """Of something that makes it durable; what has returned counts."""
        handle, seconds = self.handle(writes=True), self.dice.choice([0.0, 0.001, 0.01, 0.1])
        self.note(f"kill after {seconds} s")
        print(json.dumps({"what": "kill soon", "seconds": seconds}), flush=True)
        try:
            if self.dice.random() < 0.5:
                self.close(handle)
            else:
                os.fsync(handle.fd)
                self.acknowledge(handle.file)
        except OSError as error:
            self.note(str(error))
        ask(what="killed")
        self.come_back()

    def come_back(self) -> None:
        """The mount has died and another one has taken its place."""
        for handle in self.handles:
            with suppress(OSError):
                os.close(handle.fd)
        self.handles.clear()
        exists = self.path.exists()
        found, look = (self.path.read_bytes(), self.look()) if exists else (None, Look())
        fault = self.file.fault(found, look)
        if fault:
            raise Mismatch(f"after the death of the mount {fault}")
        self.note(f"it has come back: {None if found is None else len(found)} bytes")
        self.file.left_by_death(found, look)
        if found is None:
            self.open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
        names = sorted(os.listdir(self.mount))
        if names != [self.name]:
            raise Mismatch(f"there are {names}, not {self.name} alone")


def _crc(data: bytearray) -> int:
    return zlib.crc32(data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.fsx_program", description=__doc__)
    parser.add_argument("mount", type=Path)
    parser.add_argument("scale", choices=SCALES)
    parser.add_argument("seed", type=int)
    parser.add_argument("operations", type=int)
    arguments = parser.parse_args()
    exerciser = Exerciser(arguments.mount, SCALES[arguments.scale], arguments.seed)
    try:
        exerciser.run(arguments.operations)
    except (Mismatch, OSError) as error:
        history = "\n".join(list(exerciser.log)[-60:])
        raise SystemExit(f"{history}\noperation {exerciser.number}: {error}") from error


if __name__ == "__main__":
    main()

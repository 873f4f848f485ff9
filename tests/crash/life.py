"""One life of a mount under a mixed load, its death at some moment, and what the next mount makes of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
import traceback
from contextlib import suppress
from pathlib import Path

import attrs
import trio
import trio.testing

from b2mount.errors import B2MountError, Unavailable
from tests.crash.claims import Ledger
from tests.crash.files import InProcess
from tests.crash.load import Home, Sharer, Writer, before_the_load
from tests.crash.scenario import (
    DIED,
    MINIMUM_PART,
    MUTATING,
    DeadlyLane,
    DeadlyStore,
    Steps,
    load,
    now_ms,
    save,
    small_parts,
)
from tests.filesystem.world import World, world
from tests.writing.world import InlineLane, at

SMALL, LARGE = (0, 1, 20, 60, 99), (120, 180, 250, 400)
"""Bytes; LARGE ones are sent in parts with the limits of these tests."""
HOMES = (Home("small", SMALL), Home("large", LARGE), Home("mixed", SMALL + LARGE))
SHARERS = 3
OPERATIONS = 9
"""Of each program."""
DELAY = 0.001
LIFETIME = 60
"""Seconds after which a child that neither ends nor dies is a failure."""
FAILING = 0.04
UNHEARD = MUTATING - {"start_multipart"}
"""Requests whose reply may get lost when the work is done. A large file's start is not among them: the
store promises to look for what it has started so (tests/store)."""


@attrs.frozen
class Moment:
    """When and how one life ends, and what it is filled with."""

    seed: int
    waits: bool
    """Closes wait; else they write back."""
    power_cut: bool
    step: int | None
    """Dies at this step; None never."""
    seconds: float | None = None
    """Is killed from outside after so long."""


class FlakyStore(DeadlyStore):
    """B2 that is out of reach now and then, before it has done its work or after it."""

    dice: random.Random

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in MUTATING or self.steps is None:
            return found

        async def verb(*args: object) -> object:
            fails = self.dice.random() < FAILING
            if not fails or (name in UNHEARD and self.dice.random() < 0.5):
                result = await found(*args)  # type: ignore[operator]  # found by its name
            if fails:
                raise Unavailable(f"{name}: out of reach for a moment")
            return result

        return verb


def clock() -> trio.testing.MockClock:
    """Pauses take no time."""
    return trio.testing.MockClock(autojump_threshold=0)


def live(directory: Path, moment: Moment) -> int:
    """Run the load in a child process until its moment has come. Returns how many steps it took, or -1
    when it died. Raises AssertionError when it failed by itself."""
    store = FlakyStore("bucket", minimum_part_size=MINIMUM_PART, now_ms=now_ms)
    store.dice = random.Random(moment.seed)
    for home in HOMES:
        for name, data in home.seeded().items():
            store.seed(at(name), data)
    store.seed(at("shared/.bzEmpty"))
    save(store, directory / "b2")
    ledger = Ledger(directory / "ledger")
    ledger.open()
    before_the_load(ledger, HOMES)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(LIFETIME)
            _child(directory, moment, ledger)
            status = 0
        except BaseException:  # nobody above it would show this
            traceback.print_exc()
        finally:
            os._exit(status)
    ledger.close()
    if moment.seconds is not None:
        time.sleep(moment.seconds)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killed = moment.seconds is not None and code == -signal.SIGKILL
    assert killed or code in (0, DIED), f"{moment}: the load failed: {code}"
    return int((directory / "steps").read_text()) if code == 0 else -1


def _child(directory: Path, moment: Moment, ledger: Ledger) -> None:
    steps = Steps(directory, moment.step)
    store = load(directory / "b2")
    store.steps, store.place = steps, directory / "b2"

    async def main() -> None:
        lane = DeadlyLane("disk", 1, steps)
        delay = 0 if moment.waits else DELAY
        async with world(store, directory, waits=moment.waits, delay=delay, lane=lane) as living:
            await run_load(living, ledger, moment.seed)

    vars(trio._core._run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True  # the same seed, the same turns
    trio._core._run._r.seed(moment.seed)
    with small_parts(), steps.watching_the_disk():
        trio.run(main, clock=clock())
    (directory / "steps").write_text(str(steps.taken))


async def run_load(living: World, ledger: Ledger, seed: int) -> None:
    """All programs, until they are done and everything is in B2."""
    dice, files = random.Random(seed), InProcess(living)
    programs: list[Writer | Sharer] = []
    programs += [Writer(files, ledger, random.Random(dice.random()), home) for home in HOMES]
    programs += [Sharer(files, ledger, random.Random(dice.random()), str(n)) for n in range(SHARERS)]
    async with trio.open_nursery() as nursery:
        for program in programs:
            left = iter(range(OPERATIONS))
            nursery.start_soon(program.run, lambda left=left: next(left, None) is not None)
    with suppress(B2MountError):  # what can't be sent now is left to the next mount
        await living.write_back.flush()


def cut_the_power(directory: Path, dice: random.Random) -> None:
    """What was not synced may be gone, or there, or there in part: names that no fsync of the directory
    saw, bytes that no fdatasync saw."""
    names = directory / "synced" / "names.staging"
    durable = set(names.read_text().split("\n")) if names.exists() else set()
    staging = directory / "staging"
    for path in sorted(staging.iterdir()) if staging.exists() else []:
        copy = directory / "synced" / path.name
        synced = copy.read_bytes() if copy.exists() else b""
        if path.name not in durable and dice.random() < 0.5:
            path.unlink()
        elif (part := dice.random()) < 0.67:
            path.write_bytes(torn(synced, path.read_bytes(), dice) if part < 0.33 else synced)


def torn(synced: bytes, written: bytes, dice: random.Random) -> bytes:
    """What was synced, and some of what was written since."""
    data, step = bytearray(synced.ljust(len(written), b"\0")), 16
    for offset in range(0, len(written), step):
        if dice.random() < 0.5:
            data[offset : offset + step] = written[offset : offset + step]
    return bytes(data)


async def next_mount(directory: Path) -> dict[str, bytes]:
    """What is in B2 when the next mount has drained. It leaves nothing behind, here or there."""
    store = load(directory / "b2")
    async with world(store, directory, lane=InlineLane("disk", 1)) as living:
        await living.write_back.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert living.write_back.pending() == []
    left = [path.name for path in (directory / "staging").iterdir()]
    assert not left, f"staging files stay: {left}"
    with sqlite3.connect(directory / "journal.sqlite3") as journal:
        for table in ("files", "moves", "exchanges"):
            assert not journal.execute(f"SELECT * FROM {table}").fetchall()
    journal.close()
    unfinished = await store.list_unfinished("bucket", "")
    assert not unfinished, f"unfinished in B2: {[str(upload.path) for upload in unfinished]}"
    return {key: data for key, data in store.contents().items() if not key.endswith(".bzEmpty")}


def check(directory: Path, moment: Moment) -> None:
    """Raises AssertionError when anything that had been acknowledged is not in B2."""
    if moment.power_cut:
        cut_the_power(directory, random.Random(moment.seed))
    try:
        with small_parts():
            found = trio.run(next_mount, directory, clock=clock())
    except AssertionError as error:
        raise AssertionError(f"{moment}: {error}") from error
    ledger = Ledger(directory / "ledger")
    faults = ledger.faults(found)
    assert not faults, f"{moment}:\n" + "\n".join(faults)


def play(root: Path, moment: Moment) -> int:
    """One life and what comes after it; returns its steps."""
    directory = root / "life"
    directory.mkdir()
    try:
        steps = live(directory, moment)
        check(directory, moment)
    finally:
        shutil.rmtree(directory)
    return steps

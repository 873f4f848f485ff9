"""The process dies at 300 random moments of a mixed load; nothing that any program was told is untrue
when the next mount has drained.

The load is several programs at once: small files, files that go up in parts, edits in place, logs that are
synced line by line, renames of files and directories, removals, and names that several programs write at
once, in the file system as a mount has it, on a B2 that is out of reach now and then. It dies by its
own hand at a step (before and after every fsync, every change of the journal, every request that
changes something in B2), or is killed from outside after some time, anywhere.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.claims import Claims, Ledger, Mix, SharedWrite, Word, digest
from tests.crash.life import Moment, play

MOMENTS = 45
"""Of each of the four kinds."""
FROM_OUTSIDE = 4
"""Every fourth is killed from outside."""


@pytest.fixture
def root() -> Iterator[Path]:
    """In memory where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Uploads that fail now and then are what is wanted here."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("waits", [True, False], ids=["close waits", "write-back"])
@pytest.mark.parametrize("power_cut", [False, True], ids=["SIGKILL", "power cut"])
def test_death_at_random_moments(root: Path, waits: bool, power_cut: bool) -> None:
    first = 10_000 * (2 * waits + power_cut)
    begun = time.monotonic()
    steps = play(root, Moment(first, waits, power_cut, None))
    seconds = time.monotonic() - begun
    assert steps > 200, "the load is not what it should be"
    died = 0
    for seed in range(first + 1, first + 1 + MOMENTS):
        dice = random.Random(seed)
        if seed % FROM_OUTSIDE:
            moment = Moment(seed, waits, power_cut, dice.randint(1, steps))
        else:
            moment = Moment(seed, waits, power_cut, None, dice.uniform(0, seconds))
        died += play(root, moment) < 0
    assert died > MOMENTS * 0.6


def test_what_is_told_of_a_loss() -> None:
    """The judge itself: each kind of loss is seen."""
    old, new, x = digest(b"old"), digest(b"new"), digest(b"x")
    assert x is not None
    claims = Claims({"a": [new], "b": [old, new], "gone": [None]})
    assert list(claims.faults({"a": b"new", "b": b"old"})) == []
    assert len(list(claims.faults({"b": b"mix", "gone": b"back"}))) == 3
    moved = Claims({"a": [x, None], "b": [None, x]}, somewhere=[(("a", "b"), x)])
    assert list(moved.faults({"b": b"x"})) == []
    assert len(list(moved.faults({}))) == 1


@pytest.mark.parametrize(
    ("data", "right"),
    [
        (b"abcdef", True),
        (b"aXYdef", True),
        (b"aXcdef", True),
        (b"aXcdefg", False),
        (b"aXcDef", False),
        (b"abcdefZ", False),
        (b"abcdef\0Z", True),
        (b"abcdef\0\0", True),
        (b"abcdef\1Z", False),
    ],
)
def test_bytes_of_a_file_that_was_written_over_in_place(data: bytes, right: bool) -> None:
    assert Mix(b"abcdef", [(1, b"XY"), (7, b"Z")], frozenset({6, 8})).allows(data) is right


def test_what_is_told_of_names_that_many_write(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.open()
    for data, word in [(b"1", Word.BEGUN), (b"1", Word.RETURNED), (b"2", Word.BEGUN), (b"3", Word.BEGUN)]:
        ledger.note(SharedWrite("name", data, word, in_place=False))
    assert [ledger.faults({"name": data}) for data in (b"1", b"2", b"3")] == [[], [], []]
    assert len(ledger.faults({})) == 1
    assert len(ledger.faults({"name": b"", "other": b""})) == 2
    ledger.note(SharedWrite("name", b"3", Word.RETURNED, in_place=False))
    assert len(ledger.faults({"name": b"1"})) == 1
    assert ledger.faults({"name": b"2"}) == []

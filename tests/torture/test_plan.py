"""What a seed says of the rounds, and that clocks of other processes can be set."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.torture.machine import CLOCKS
from tests.torture.plan import CYCLE, HARMLESS, Kind, draw

TELL = "import time as t; print(t.time(), t.time_ns(), t.clock_gettime(t.CLOCK_BOOTTIME), t.monotonic())"


@pytest.mark.parametrize("seed", range(5))
def test_every_cycle_has_every_kind_and_a_round_that_programs_do_not_notice(seed: int) -> None:
    for cycle in range(3):
        rounds = [draw(seed, cycle * CYCLE + number) for number in range(CYCLE)]
        assert {event.kind for each in rounds for event in each.events} == set(Kind)
        assert any(all(event.kind in HARMLESS for event in each.events) for each in rounds)


def test_a_seed_and_a_number_say_all() -> None:
    assert draw(7, 3) == draw(7, 3)
    assert len({draw(7, number).events for number in range(6)}) == 6
    assert draw(7, 3) != draw(8, 3)


def test_clocks_are_off_by_what_the_file_says(tmp_path: Path) -> None:
    clocks = tmp_path / "clocks"
    clocks.write_bytes(struct.pack("dd", -7200.0, 500.0))
    environment = {**os.environ, "PYTHONPATH": str(CLOCKS), "B2MOUNT_TESTS_CLOCK": str(clocks)}
    before = (time.time(), time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())
    command = [sys.executable, "-c", TELL]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    wall, wall_ns, boot, monotonic = map(float, told.stdout.split())
    after = (time.time(), time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())
    found = (wall + 7200, wall_ns / 1e9 + 7200, boot - 500, monotonic)
    assert all(least <= each <= most for least, each, most in zip(before, found, after, strict=True))

"""What a mount does to its process, in processes of its own."""

from __future__ import annotations

import subprocess
import sys

HOLES = """
import trio, trio.testing
from b2mount import process

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

async def play():
    with trio.move_on_after(1.5 * process.LOOK * process.LOOKS):
        await process.give_back_memory()

process.tune()
blocks = [(bytes(100_000), bytes(2_000)) for _ in range(500)]
stay = [small for _, small in blocks]
del blocks
before = resident()
trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
print(before - resident())
"""


def test_holes_between_what_stays_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLES], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) > 20_000_000


SOON = HOLES.replace("1.5 * process.LOOK * process.LOOKS", "1.5 * process.LOOK").replace(
    "process.tune()", "process.tune()\nprocess.MUCH = 1"
)


def test_much_memory_is_given_back_soon() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOON], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) > 20_000_000

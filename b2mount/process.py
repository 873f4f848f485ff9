"""What a mount does to the process that it is alone in. Must not know: mounts."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Final

import trio

ENDING_TIME: Final = 3
"""Seconds that requests to B2 have for ending at the very end, when all that matters is durable."""

LOOK: Final = 2.0
"""Seconds between two looks at how much memory there is."""
LOOKS: Final = 15
"""After so many looks memory is given back, and after each while it is much."""
MUCH: Final = 240 << 20
"""Bytes of memory: more than a mount needs that reads at its fastest."""
M_ARENA_MAX: Final = -8
"""malloc.h of the GNU C library."""


def tune() -> None:
    """Make the interpreter answer soon and use no more memory than it must, and the system give as many
    descriptors as it may. Before there are threads."""
    # a thread that holds the interpreter for its whole default slice of 5 ms multiplies the
    # latency of a stat by 80
    sys.setswitchinterval(0.0005)
    # the same goes for a collection of garbage: what is loaded by now is none and need not be gone
    # through each time, and a page of names makes little that has to be looked for
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # blocks are made in many threads: an arena for each would leave half as much memory again unused
    # between them (a cold read of 512 MiB: 250 MB at most instead of 175)
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    # every file that is being written takes a descriptor, and 1024 are soon used up
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # a core dump would have the key and other people's files in it; 1 keeps the kernel from handing one to
    # a program, too, which 0 does not (core(5), fs/coredump.c)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (1 if most else 0, most))


async def give_back_memory() -> None:
    """Now and then, until cancelled. Blocks leave holes between what stays, which the C library fills again
    but gives back only at the end of its heap: after 24 GB that were read in order 75 of 215 MB, in 8 ms."""
    with suppress(AttributeError):  # another C library
        trim = ctypes.CDLL(None).malloc_trim
        for look in itertools.count(1):
            await trio.sleep(LOOK)
            if look % LOOKS == 0 or _resident() > MUCH:
                trim(0)


def _resident() -> int:
    """Bytes of memory that the process has (proc(5)); 0 when the system doesn't say."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # all descriptors may be taken
        return 0


def end_soon(code: int) -> None:
    """Don't wait for threads that are deep in a request to an unreachable B2: their time-outs are
    longer than anybody's patience, and the journal has whatever they were sending."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
    signal.alarm(ENDING_TIME)


def ends_by_itself() -> None:
    """All threads have come back."""
    signal.alarm(0)

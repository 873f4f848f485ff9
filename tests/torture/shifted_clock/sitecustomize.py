"""For processes that have this directory in PYTHONPATH: the clocks of a machine of which somebody sets the
wall clock, and which sleeps. How far they are off is in the file that B2MOUNT_TESTS_CLOCK names, and may
change at any time: two doubles, the seconds that the wall clock is ahead, and the seconds of sleep."""

import mmap
import os
import struct
import time
from typing import Final

REAL_TIME: Final = time.time
REAL_TIME_NS: Final = time.time_ns
REAL_GETTIME: Final = time.clock_gettime
REAL_GETTIME_NS: Final = time.clock_gettime_ns


def shift(file: str) -> None:
    """Have Python's functions tell the shifted time; what a kernel or C code dates is not touched."""
    descriptor = os.open(file, os.O_RDONLY)
    offsets = mmap.mmap(descriptor, 16, access=mmap.ACCESS_READ)
    os.close(descriptor)

    def ahead(clock: int) -> float:
        wall, asleep = struct.unpack_from("dd", offsets)
        by_clock: dict[int, float] = {time.CLOCK_REALTIME: wall, time.CLOCK_BOOTTIME: asleep}
        return by_clock.get(clock, 0.0)

    def gettime(clock: int) -> float:
        return REAL_GETTIME(clock) + ahead(clock)

    def gettime_ns(clock: int) -> int:
        return REAL_GETTIME_NS(clock) + int(ahead(clock) * 1e9)

    vars(time).update(
        time=lambda: REAL_TIME() + ahead(time.CLOCK_REALTIME),
        time_ns=lambda: REAL_TIME_NS() + int(ahead(time.CLOCK_REALTIME) * 1e9),
        clock_gettime=gettime,
        clock_gettime_ns=gettime_ns,
    )


if "B2MOUNT_TESTS_CLOCK" in os.environ:
    shift(os.environ["B2MOUNT_TESTS_CLOCK"])

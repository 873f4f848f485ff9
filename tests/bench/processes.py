"""What the kernel says of a mount's processes and of its FUSE connection.

A program that waits for a mount which no longer answers can't be killed, only released: by aborting
the connection, or by the end of the process that serves it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import attrs

CONNECTIONS = Path("/sys/fs/fuse/connections")
TICK = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class ProcessUse:
    """What a process and its descendants have used."""

    cpu_seconds: float
    peak_memory: int


def use_of(pid: int) -> ProcessUse:
    """User and system time so far and the sum of the largest resident sizes; ended children of a
    process count towards its time. A process that is gone counts nothing."""
    cpu, memory = 0, 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(") ")[2].split()
            cpu += sum(int(field) for field in fields[11:15])
            memory += _peak_memory(member)
    return ProcessUse(cpu / TICK, memory)


def busy_seconds() -> float:
    """CPU time that all cores of the machine have worked since it started, in its kernel too (proc(5))."""
    user, nice, system, _idle, _waiting, hard, soft, stolen = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    )
    return (user + nice + system + hard + soft + stolen) / TICK


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    members = [pid]
    for member in members:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                members += [int(child) for child in (task / "children").read_text().split()]
    return members


def _peak_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def device_of(mountpoint: Path) -> int | None:
    """The minor device number of what is mounted there, which names its FUSE connection; None if
    nothing is. Asks the mount table only, so it never waits for the mount."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] == str(mountpoint):
            return int(fields[2].partition(":")[2])
    return None


def abort(mountpoint: Path) -> None:
    """Release every program that waits for this mount. Fine when nothing is mounted there."""
    device = device_of(mountpoint)
    if device is None:
        return
    if not any(CONNECTIONS.iterdir()):
        subprocess.run(["mount", "-t", "fusectl", "none", CONNECTIONS], check=False, timeout=10)
    with contextlib.suppress(OSError):
        (CONNECTIONS / str(device) / "abort").write_text("1")


def detach(mountpoint: Path) -> None:
    """Take the mount out of the tree, dead or alive. Fine when nothing is mounted there."""
    if device_of(mountpoint) is not None:
        subprocess.run(["umount", "--lazy", mountpoint], capture_output=True, check=False, timeout=20)

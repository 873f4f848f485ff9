"""Other programs: run with a time limit, and never left behind.

A program that is stuck in a FUSE request can't be killed: only a reply, an abort of the connection
or the end of the server frees it. So a time limit that is reached aborts the connection first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

CONNECTIONS = Path("/sys/fs/fuse/connections")


class Stuck(AssertionError):
    """A program or a condition did not come to an end in its time."""


@attrs.frozen
class MountEntry:
    """One line of the kernel's mount table."""

    path: str
    device: int
    kind: str
    source: str

    @property
    def connection(self) -> Path:
        """The kernel's control directory for this FUSE connection."""
        return CONNECTIONS / str(os.minor(self.device))


def mount_entry(path: Path) -> MountEntry | None:
    """What is mounted at `path`, topmost first; reading the table never touches the mount itself."""
    found = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        fields, (kind, source, *_) = left.split(), right.split()
        if fields[4] == str(path):
            major, _, minor = fields[2].partition(":")
            found = MountEntry(fields[4], os.makedev(int(major), int(minor)), kind, source)
    return found


def show_connections() -> None:
    """Makes sure that the kernel's control directory is there."""
    if not os.path.ismount(CONNECTIONS):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", CONNECTIONS], check=True, timeout=10)


def abort_connection(path: Path) -> None:
    """Everybody who waits for an answer of the mount at `path` gets an error at once."""
    entry = mount_entry(path)
    if entry is not None and (entry.connection / "abort").exists():
        (entry.connection / "abort").write_text("1")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 30) -> None:
    """Returns when `condition` holds; looks every 10 ms."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise Stuck(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Ends a process and everything it started (each got a session of its own)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@attrs.define
class Programs:
    """Runs programs in one environment, with a way out for when they hang."""

    environment: dict[str, str]
    abort: Callable[[], None]

    def start(self, command: Sequence[str | Path], *, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a program, its output kept for `finish`."""
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str]:
        """Exit code and output. Raises Stuck, with everything ended, when it takes too long."""
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.abort()
            kill_group(process)
            output, _ = process.communicate(timeout=10)
            raise Stuck(f"{process.args!r} did not end within {timeout:g} s; it said: {output}") from None
        return process.returncode, output

    def attempt(
        self, command: Sequence[str | Path], *, timeout: float = 60, cwd: Path | None = None
    ) -> tuple[int, str]:
        """Exit code and output of a program that may fail."""
        return self.finish(self.start(command, cwd=cwd), timeout)

    def run(self, *command: str | Path, timeout: float = 60, cwd: Path | None = None) -> str:
        """Output of a program that must succeed."""
        code, output = self.attempt(command, timeout=timeout, cwd=cwd)
        assert code == 0, f"{' '.join(str(word) for word in command)}: exit {code}\n{output}"
        return output


GUARDIAN = """
read -t "$1" -r line && exit
{ [ -e "$2/abort" ] && echo 1 > "$2/abort"; kill -9 -- "-$3"; umount -l "$4"; } 2> /dev/null
"""


@attrs.define
class Guardian:
    """A process of its own that ends a mount when a test takes too long, or when the tests themselves
    are gone: the tests do their file operations in their own process, which may be stuck in one."""

    _process: subprocess.Popen[str]

    @classmethod
    def watch(cls, entry: MountEntry, daemon: subprocess.Popen[str], seconds: float) -> Guardian:
        """From now on `entry` is aborted, and `daemon` killed, after `seconds`."""
        arguments = [str(round(seconds)), str(entry.connection), str(daemon.pid), entry.path]
        command = ["bash", "-c", GUARDIAN, "guardian", *arguments]
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True))

    def dismiss(self) -> bool:
        """Ends it. False when it had to act."""
        acted = self._process.poll() is not None
        if not acted:
            self._process.communicate("done\n", timeout=20)
        elif self._process.stdin is not None:
            self._process.stdin.close()
        return not acted

"""A forked child is a copy of the test run, so each case runs in a Python of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

FRAME = """
import os, sys, signal, logging, time
from b2mount.cli.background import run_in_background
from b2mount.errors import B2MountError, NotAuthorized, Unavailable
from pathlib import Path
here = Path({here!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background has it ignored

def work(on_ready):
    logging.basicConfig(filename=here / "log", format="%(levelname)s %(message)s")
{body}

try:
    run_in_background(work)
except B2MountError as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(9)
print("parent done")
"""


def run(here: Path, body: str) -> subprocess.CompletedProcess[str]:
    source = FRAME.format(here=str(here), body=textwrap.indent(textwrap.dedent(body), "    "))
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )


def wait_for(path: Path) -> str:
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_the_parent_ends_when_the_child_is_ready_and_the_child_goes_on(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        facts = [os.getcwd(), str(os.getpgid(0) == os.getpgid(os.getppid()))]  # where autofs lets us in
        on_ready()
        while not (here / "go").exists(): pass
        facts += [str(os.getsid(0) == os.getpid())]
        facts += [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)]
        (here / "part").write_text(",".join(facts))
        (here / "part").rename(here / "facts")
        return 0
        """,
    )
    # the parent has ended, and its output with it, although the child lives: that is the point
    assert (done.returncode, done.stdout, done.stderr) == (0, "parent done\n", "")
    (tmp_path / "go").touch()
    assert wait_for(tmp_path / "facts") == "/,True,True,/dev/null,/dev/null,/dev/null"


def test_what_the_child_says_before_it_is_ready_is_seen(tmp_path: Path) -> None:
    done = run(
        tmp_path, "print('a warning', file=sys.stderr); on_ready(); print('x', file=sys.stderr); return 0"
    )
    assert done.stderr == "a warning\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise NotAuthorized('wrong key')", "NotAuthorized wrong key"),
        ("raise Unavailable('no network')", "Unavailable no network"),
        ("open('/nonexistent/file')", "B2MountError /nonexistent/file: No such file or directory"),
        ("raise KeyError('x')", "B2MountError a fault of b2mount itself, please report it: KeyError: 'x'"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended before it was ready (signal 9)"),
        ("return 3", "ended before it was ready (exit code 3)"),
    ],
)
def test_failures_before_it_is_ready_reach_the_parent(tmp_path: Path, body: str, message: str) -> None:
    done = run(tmp_path, body)
    assert done.returncode == 9
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_failure_after_it_is_ready_is_logged(tmp_path: Path) -> None:
    done = run(tmp_path, "on_ready(); raise Unavailable('lost it')")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CRITICAL the mount has ended: lost it" in wait_for(tmp_path / "log")


def test_descriptors_of_the_caller_are_closed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    source = FRAME.format(
        here=str(tmp_path), body="    on_ready()\n    while not (here / 'go').exists(): pass\n    return 0"
    )
    subprocess.run(
        [sys.executable, "-c", source], pass_fds=[writing], timeout=60, check=True, capture_output=True
    )
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == b""  # would hang if the child held the other end
    (tmp_path / "go").touch()


def test_an_interrupt_while_waiting_ends_the_child(tmp_path: Path) -> None:
    body = """
    signal.signal(signal.SIGTERM, lambda *_: ((here / "told").write_text("yes"), os._exit(0)))
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
    """
    done = run(tmp_path, body)
    assert done.returncode != 0
    assert wait_for(tmp_path / "told") == "yes"

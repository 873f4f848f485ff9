"""Running something in the background once it is ready.

The fork comes before any thread, event loop or SQLite handle. The parent waits on a pipe and ends
when the child is ready or has failed; a failure travels through the pipe as its exception.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable

from b2mount.control.messages import decode_reply, encode_error, encode_reply
from b2mount.errors import B2MountError

log = logging.getLogger(__name__)

Work = Callable[[Callable[[], None]], int]
"""Does everything; calls the function that it is given once, when it is ready."""


def run_in_background(work: Work) -> None:
    """Start `work` in a process, which gets a session of its own when it is ready, and return then.

    Raises what it raised before that, or B2MountError if its process ended without a word.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until somebody can end the child
    child = os.fork()
    if child == 0:
        _be_the_child(work, writing, mask)
    os.close(writing)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with open(reading, "rb") as pipe:
            report = pipe.readline()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        raise
    if not report:
        _, status = os.waitpid(child, 0)
        raise B2MountError(f"the mount's process ended before it was ready ({_ending(status)})")
    decode_reply(report)


def _be_the_child(work: Work, writing: int, mask: set[int | signal.Signals]) -> None:
    """Never returns: ends the process, without the parent's exit handlers."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.chdir("/")
        _close_inherited(keep=writing)
        _to_null(0)
        code = _report(work, writing)
    finally:
        logging.shutdown()
        os._exit(code)


def _report(work: Work, writing: int) -> int:
    ready = False

    def on_ready() -> None:
        nonlocal ready
        ready = True
        os.setsid()  # not before: autofs lets nobody but its own process group see a place that it mounts on
        _to_null(1, 2)
        os.write(writing, encode_reply(None))
        os.close(writing)

    try:
        return work(on_ready)
    except BaseException as error:
        known = isinstance(error, B2MountError)
        if ready or not known:
            log.critical("the mount has ended: %s", error, exc_info=not known)
        if not ready:
            told = error if isinstance(error, B2MountError) else _unexpected(error)
            os.write(writing, encode_error(told))
        return 1


def _unexpected(error: BaseException) -> B2MountError:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return B2MountError(f"{where}{error.strerror or error}")
    return B2MountError(f"a fault of b2mount itself, please report it: {type(error).__name__}: {error}")


def _close_inherited(keep: int) -> None:
    """A caller that waits for the end of one of its pipes must not wait for the mount."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2 and number != keep:
            try:
                os.close(number)
            except OSError:  # the listing's own
                continue


def _to_null(*numbers: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        os.dup2(null, number)
    os.close(null)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""Where the log of a mount goes: one line an event.

In the foreground to stderr, and if that is systemd's journal, in its form. In the background to a
file; until the mount is ready its warnings go to the terminal too, where somebody still looks.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Final

from b2mount.control.places import socket_name
from b2mount.errors import UsageError
from b2mount.options import MountOptions
from b2mount.plain_text import plain
from b2mount.private_directory import private_directory

KEPT: Final = 8 << 20
"""Bytes of a log file before it is turned over to FILE.1, which replaces the one before."""


PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Of syslog(3), for each level from there on."""


class OneLine(logging.Formatter):
    """An event with everything that belongs to it, a traceback too, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        lines = (line.strip() for line in super().format(record).splitlines())
        return plain(" | ".join(line for line in lines if line))


class Journal(OneLine):
    """A line for systemd's journal, which knows the time and the process itself, and takes the priority of
    each line from its beginning (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        return priority_prefix(record.levelno) + super().format(record)


def log_to_stderr(options: MountOptions) -> None:
    """The log of a mount in the foreground."""
    handler = _terminal("%(asctime)s %(levelname)s %(message)s")
    if priority_prefix(logging.INFO):
        handler.setFormatter(Journal("%(message)s"))
    _attach(handler, options)


def priority_prefix(level: int) -> str:
    """What a line on stderr begins with for systemd's journal; empty where stderr is something else than
    what systemd put into JOURNAL_STREAM, by device and inode (systemd.exec(5))."""
    try:
        status = os.fstat(2)
    except OSError:
        return ""
    if os.environ.get("JOURNAL_STREAM") != f"{status.st_dev}:{status.st_ino}":
        return ""
    return f"<{next((number for least, number in PRIORITIES if level >= least), 7)}>"


def log_to_file(options: MountOptions) -> logging.Handler:
    """The log of a mount in the background. Returns the handler that shows warnings on stderr,
    to be given to `leave_terminal` when the terminal is left. Raises UsageError."""
    path = options.log_file or log_path(options)
    try:
        if options.log_file is None:
            private_directory(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _file_handler(path, options)
    except OSError as error:
        raise UsageError(f"can't write the log file {path}: {error.strerror}") from error
    file.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    _attach(file, options)
    terminal = _terminal("b2mount: %(message)s")
    terminal.setLevel(logging.WARNING)
    logging.getLogger().addHandler(terminal)
    return terminal


def leave_terminal(terminal: logging.Handler) -> None:
    """Nothing goes to the terminal from now on."""
    logging.getLogger().removeHandler(terminal)


def log_path(options: MountOptions) -> Path:
    """The log file of a mount whose options name none."""
    return options.cache_dir / "log" / f"{socket_name(options.mountpoint)}.log"


def _file_handler(path: Path, options: MountOptions) -> logging.Handler:
    if options.log_file is not None:  # somebody's logrotate may take care of it
        return logging.handlers.WatchedFileHandler(path)
    return logging.handlers.RotatingFileHandler(path, maxBytes=KEPT, backupCount=1)


def _terminal(form: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(form))
    return handler


def _attach(handler: logging.Handler, options: MountOptions) -> None:
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk is no reason for tracebacks on the terminal
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # libraries at debug would log headers, and with them tokens
    logging.getLogger("b2mount").setLevel(options.log_level.upper())

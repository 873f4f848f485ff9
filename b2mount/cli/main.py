"""The programs `b2mount` and `mount.b2`: parse, dispatch, and say what went wrong on one line.

Invariants: whatever happens, stderr gets one line and the caller an exit code of exit_codes.py;
no traceback, no secret.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from b2mount.cli.config_file import read_config
from b2mount.cli.exit_codes import DONE, OTHER, exit_code
from b2mount.cli.log_setup import priority_prefix
from b2mount.cli.packages import fuse_missing
from b2mount.cli.parser import parse, parse_helper
from b2mount.errors import B2MountError, UsageError
from b2mount.options import mount_options, parse_words, split_words
from b2mount.plain_text import plain

MODULES: Final = {
    "mount": "b2mount.cli.mount_command",
    "umount": "b2mount.cli.umount_command",
    "status": "b2mount.cli.status_command",
    "flush": "b2mount.cli.flush_command",
    "warm": "b2mount.cli.warm_command",
    "evict": "b2mount.cli.evict_command",
    "refresh": "b2mount.cli.refresh_command",
    "versions": "b2mount.cli.versions_command",
    "restore": "b2mount.cli.versions_command",
    "undelete": "b2mount.cli.versions_command",
    "cp": "b2mount.cli.cp_command",
    "url": "b2mount.cli.url_command",
    "doctor": "b2mount.cli.doctor_command",
    "unit": "b2mount.cli.unit_command",
    "dashboard": "b2mount.cli.dashboard_command",
    "completion": "b2mount.cli.completion_command",
    "man": "b2mount.cli.man_command",
    "emulator": "b2mount.cli.emulator_command",
}
"""Each has `execute(arguments) -> exit code`. Only the one that was asked for is loaded: b2sdk and
pyfuse3 alone take most of a second, which `status` need not wait for."""


def run() -> NoReturn:
    """The program `b2mount`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's locale can't spell
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))


def run_mount_helper() -> NoReturn:
    """The program `mount.b2`, as mount(8) and fstab call it."""
    sys.exit(main_mount_helper(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; returns the exit code."""
    return _guarded(lambda: _dispatch(_complete(parse(arguments))))


def main_mount_helper(arguments: Sequence[str]) -> int:
    """Carry out a call by mount(8); returns the exit code."""
    return _guarded(lambda: _help_mount(parse_helper(arguments)))


def _help_mount(parsed: Namespace) -> int:
    settings = [pair for words in parsed.words for pair in _words(words, sloppy=parsed.sloppy)]
    asked = _complete(
        Namespace(command="mount", source=parsed.source, mountpoint=parsed.mountpoint, settings=settings)
    )
    mount_options(asked.source, asked.mountpoint, asked.settings)
    return DONE if parsed.fake else _dispatch(asked)


def _complete(parsed: Namespace) -> Namespace:
    """With what the configuration file says, where that is about mounts."""
    return read_config().complete(parsed) if parsed.command in ("mount", "doctor") else parsed


def _words(text: str, *, sloppy: bool) -> list[tuple[str, object]]:
    if not sloppy:
        return list(parse_words(text).items())
    found: list[tuple[str, object]] = []
    for name, value in split_words(text):
        word = name if value is None else f"{name}={value}"
        try:
            found += parse_words(word.replace(",", "\\,")).items()
        except UsageError:
            continue
    return found


def _dispatch(parsed: Namespace) -> int:
    try:
        module = importlib.import_module(MODULES[parsed.command])
    except ImportError as error:
        if (missing := fuse_missing(error)) is None:
            raise
        raise missing from error
    execute: Callable[[Namespace], int] = module.execute
    return execute(parsed)


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except B2MountError as error:
        return _fail(str(error), exit_code(error))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone; nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", OTHER)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return _fail(f"a fault of b2mount itself, please report it: {type(error).__name__} at {where}", OTHER)


def _fail(message: str, code: int) -> int:
    line = plain(f"b2mount: {' '.join(message.split())}")
    print(priority_prefix(logging.ERROR) + line, file=sys.stderr)
    return code

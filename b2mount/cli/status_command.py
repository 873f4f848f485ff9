"""b2mount status: what is mounted, what is unsent, cache, calls and cost."""

from __future__ import annotations

import json
import shutil
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from rich.console import Console
from rich.text import Text

from b2mount.cli.status_text import SHOWN, Pace, describe
from b2mount.control.client import client_at, find_mount, reachable_mounts, remove_dead_sockets
from b2mount.control.messages import status_to_json
from b2mount.control.places import mount_table
from b2mount.errors import B2MountError
from b2mount.filesystem.status import MountStatus
from b2mount.plain_text import plain

WATCH_EVERY: Final = 1.0
"""Seconds between two looks of --watch."""
CLEAR: Final = "\x1b[H\x1b[2J"
"""Makes a terminal empty, and goes on at its top."""
OTHER_LINES: Final = 14
"""Of a mount, beside its unsent files."""

Paces = defaultdict[str, Pace]


def execute(arguments: Namespace) -> int:
    """Print the state of one mount, or of all; with --watch again and again, until interrupted."""
    if not arguments.watch:
        _print(arguments, indent=2, paces=None)
        return 0
    paces: Paces = defaultdict(Pace)
    try:
        while True:
            _print(arguments, indent=None, paces=paces)
            time.sleep(WATCH_EVERY)
    except KeyboardInterrupt:
        return 0


def _print(arguments: Namespace, *, indent: int | None, paces: Paces | None) -> None:
    """On a terminal in colours (but for NO_COLOR); when it is watched, as much as it has room for."""
    if arguments.json:
        print(_json(arguments, indent), flush=True)
        return
    console = Console(highlight=False)
    is_live = console.is_terminal and not console.is_dumb_terminal and paces is not None
    shown = max(1, shutil.get_terminal_size().lines - OTHER_LINES) if is_live else SHOWN
    text = _text(arguments, paces, min(shown, SHOWN))
    if is_live:
        print(CLEAR, end="")
    for line in text.splitlines():
        styled = Text(line, style="" if console.no_color else _style(line))
        if is_live:
            console.print(styled, no_wrap=True, overflow="ellipsis")
        else:
            console.print(styled, soft_wrap=True)
    if paces is not None and not is_live:
        print()
    console.file.flush()


def _style(line: str) -> str:
    if not line.startswith(" "):
        return "bold"
    return "red" if " failed: " in line or line.startswith("  lately") else ""


def _json(arguments: Namespace, indent: int | None) -> str:
    if arguments.mountpoint is not None:
        return json.dumps(status_to_json(find_mount(arguments.mountpoint)[0].status()), indent=indent)
    return json.dumps([status_to_json(status) for status in _all()], indent=indent)


def _text(arguments: Namespace, paces: Paces | None, shown: int) -> str:
    if arguments.mountpoint is not None:
        found, silent = [find_mount(arguments.mountpoint)[0].status()], []
    else:
        found, silent = _all(), list(_silent())
    texts = [describe(each, paces[each.mountpoint] if paces is not None else None, shown) for each in found]
    return "\n\n".join(texts + silent) or "nothing is mounted"


def _all() -> list[MountStatus]:
    remove_dead_sockets()
    found = []
    for client in reachable_mounts():
        with suppress(B2MountError):  # of another version, or it has ended meanwhile
            found.append(client.status())
    return found


def _silent() -> Iterator[str]:
    """Mounts in the mount table that do not answer, or not in a way that we understand."""
    for entry in mount_table():
        if entry.is_ours:
            try:
                client_at(entry.mountpoint).status()
            except B2MountError as error:
                yield plain(f"{entry.source} on {entry.mountpoint}: {error}")

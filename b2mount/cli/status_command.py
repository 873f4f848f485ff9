"""b2mount status: what is mounted, what is unsent, cache, calls and cost."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress

from b2mount.cli import wording
from b2mount.control.client import client_at, find_mount, reachable_mounts, remove_dead_sockets
from b2mount.control.messages import status_to_json
from b2mount.control.places import mount_table
from b2mount.errors import B2MountError
from b2mount.filesystem.status import BudgetStatus, CallCounts, MountStatus
from b2mount.plain_text import plain

SHOWN = 20
"""Unsent files that are listed; --json has all."""
WATCH_EVERY = 1.0
"""Seconds between two looks of --watch."""
CLEAR = "\x1b[H\x1b[2J"
"""Makes a terminal empty, and goes on at its top."""


def execute(arguments: Namespace) -> int:
    """Print the state of one mount, or of all; with --watch again and again, until interrupted."""
    if not arguments.watch:
        print(_text(arguments, indent=2))
        return 0
    clear = CLEAR if sys.stdout.isatty() and not arguments.json else ""
    try:
        while True:
            print(clear + _text(arguments, indent=None), flush=True)
            time.sleep(WATCH_EVERY)
    except KeyboardInterrupt:
        return 0


def _text(arguments: Namespace, *, indent: int | None) -> str:
    if arguments.mountpoint is not None:
        client, _ = find_mount(arguments.mountpoint)
        status = client.status()
        return json.dumps(status_to_json(status), indent=indent) if arguments.json else describe(status)
    remove_dead_sockets()
    found = []
    for client in reachable_mounts():
        with suppress(B2MountError):  # of another version, or it has ended meanwhile
            found.append(client.status())
    if arguments.json:
        return json.dumps([status_to_json(status) for status in found], indent=indent)
    silent = list(_silent())
    return "\n\n".join([describe(status) for status in found] + silent) or "nothing is mounted"


def describe(status: MountStatus) -> str:
    """The state of a mount as a person reads it."""
    return "\n".join(plain(line) for line in _lines(status))


def _lines(status: MountStatus) -> Iterator[str]:
    mode = " (read-only)" if status.read_only else ""
    mode = f" as of {status.moment}{mode}" if status.moment else mode
    since = wording.span(time.time() - status.started)
    yield f"{status.source} on {status.mountpoint}{mode}, for {since}, process {status.pid}"
    if status.missing_capabilities:
        yield f"  key       lacks {', '.join(status.missing_capabilities)}"
    if status.pending:
        total = sum(file.size for file in status.pending)
        sent = sum(min(file.sent, file.size) for file in status.pending)
        begun = f", {wording.size(sent)} of it sent" if sent else ""
        yield f"  unsent    {wording.files(len(status.pending))}, {wording.size(total)}{begun}"
    else:
        yield "  unsent    nothing"
    for file in wording.most_urgent_first(status.pending)[:SHOWN]:
        so_far = f"{wording.size(file.sent)} of " if file.sent else ""
        yield f"            {file.path}  {so_far}{wording.size(file.size)}  {file.words}"
    if len(status.pending) > SHOWN:
        yield f"            and {len(status.pending) - SHOWN} more"
    looks = status.cache_hits + status.cache_misses
    rate = f", {100 * status.cache_hits // looks} % hits" if looks else ""
    yield f"  cache     {wording.size(status.cache_bytes)} of {wording.size(status.cache_capacity)}{rate}"
    yield f"  today     {_counts(status.today)}"
    yield f"  mounted   {_counts(status.since_mount)}"
    if status.free_calls_left:
        free = " and ".join(f"{left:,} {name}" for name, left in sorted(status.free_calls_left.items()))
        yield f"  free      {free} calls are left today"
    if status.budget is not None:
        yield f"  budget    {_budget(status.budget)}"
    yield f"  open      {wording.files(status.open_files)}"
    if status.odd_names:
        yield f"  unseen    {status.odd_names} objects whose names no path can spell"


def _counts(counts: CallCounts) -> str:
    calls = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.by_class.items()))
    moved = f"{wording.size(counts.bytes_down)} down, {wording.size(counts.bytes_up)} up"
    return f"{f'calls by class: {calls}' if calls else 'no calls'}; {moved}; ${counts.cost:.4f}"


def _budget(budget: BudgetStatus) -> str:
    saving = ": names are believed longer, nothing is fetched ahead" if budget.is_saving else ""
    return f"${budget.spent:.4f} of {budget.text}, {100 * budget.spent / budget.dollars:.0f} %{saving}"


def _silent() -> Iterator[str]:
    """Mounts in the mount table that do not answer, or not in a way that we understand."""
    for entry in mount_table():
        if entry.is_ours:
            try:
                client_at(entry.mountpoint).status()
            except B2MountError as error:
                yield plain(f"{entry.source} on {entry.mountpoint}: {error}")

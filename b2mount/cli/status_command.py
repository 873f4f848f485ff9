"""b2mount status: what is mounted, what is unsent, cache, calls and cost."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator

from b2mount.cli import wording
from b2mount.control.client import NotAnswering, client_at, find_mount, reachable_mounts
from b2mount.control.messages import status_to_json
from b2mount.control.places import mount_table
from b2mount.filesystem.status import CallCounts, MountStatus

SHOWN = 20
"""Unsent files that are listed; --json has all."""


def execute(arguments: Namespace) -> int:
    """Print the state of one mount, or of all."""
    if arguments.mountpoint is not None:
        client, _ = find_mount(arguments.mountpoint)
        status = client.status()
        print(json.dumps(status_to_json(status), indent=2) if arguments.json else describe(status))
        return 0
    found = [client.status() for client in reachable_mounts()]
    if arguments.json:
        print(json.dumps([status_to_json(status) for status in found], indent=2))
        return 0
    silent = list(_silent())
    print("\n\n".join([describe(status) for status in found] + silent) or "nothing is mounted")
    return 0


def describe(status: MountStatus) -> str:
    """The state of a mount as a person reads it."""
    return "\n".join(_lines(status))


def _lines(status: MountStatus) -> Iterator[str]:
    mode = " (read-only)" if status.read_only else ""
    since = wording.span(time.time() - status.started)
    yield f"{status.source} on {status.mountpoint}{mode}, for {since}, process {status.pid}"
    if status.missing_capabilities:
        yield f"  key       lacks {', '.join(status.missing_capabilities)}"
    if status.pending:
        total = sum(file.size for file in status.pending)
        yield f"  unsent    {wording.files(len(status.pending))}, {wording.size(total)}"
    else:
        yield "  unsent    nothing"
    for file in status.pending[:SHOWN]:
        yield f"            {file.path}  {wording.size(file.size)}  {file.words}"
    if len(status.pending) > SHOWN:
        yield f"            and {len(status.pending) - SHOWN} more"
    looks = status.cache_hits + status.cache_misses
    rate = f", {100 * status.cache_hits // looks} % hits" if looks else ""
    yield f"  cache     {wording.size(status.cache_bytes)} of {wording.size(status.cache_capacity)}{rate}"
    yield f"  today     {_counts(status.today)}"
    yield f"  mounted   {_counts(status.since_mount)}"
    yield f"  open      {wording.files(status.open_files)}"
    if status.odd_names:
        yield f"  unseen    {status.odd_names} objects whose names no path can spell"


def _counts(counts: CallCounts) -> str:
    calls = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.by_class.items()))
    moved = f"{wording.size(counts.bytes_down)} down, {wording.size(counts.bytes_up)} up"
    return f"{f'calls by class: {calls}' if calls else 'no calls'}; {moved}; ${counts.cost:.4f}"


def _silent() -> Iterator[str]:
    """Mounts in the mount table that do not answer."""
    for entry in mount_table():
        if entry.is_ours:
            try:
                client_at(entry.mountpoint).status()
            except NotAnswering as error:
                yield f"{entry.source} on {entry.mountpoint}: {error}"

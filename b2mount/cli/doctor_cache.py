"""What `b2mount doctor` looks at in the cache directory: its disk, and what earlier mounts left unsent in it.
Nothing is changed, and nothing that a mount works with is touched."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from b2mount.cli import wording
from b2mount.cli.finding import Finding, ok, trouble, warning
from b2mount.control.places import mount_holding
from b2mount.options import MountOptions
from b2mount.writing.leftovers import LeftFile, Leftovers, leftovers

FLEETING: Final = frozenset({"tmpfs", "ramfs"})
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre"})
NAMED: Final = 3


def look_at_cache(options: MountOptions) -> tuple[list[Finding], frozenset[str]]:
    """What was found, and the ids of large files in B2 that mounts with this cache directory have started."""
    findings = [look_at_disk(options.cache_dir, options.cache_size)]
    try:
        left = leftovers(options.cache_dir)
    except OSError:
        left = []  # said of the disk
    findings += look_at_leftovers(left, time.time())
    return findings, frozenset(upload for each in left for upload in each.uploads)


def look_at_disk(directory: Path, cache_size: int) -> Finding:
    """Whether it can be written to, on what kind of disk it is and how much that has room for."""
    there = _nearest(directory)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        room = os.statvfs(there)
    except OSError as error:
        found = OSError(error.errno, f"can't be written to ({error.strerror})", str(directory))
        return trouble("cache", found, "mend its permissions, or choose another --cache-dir")
    entry = mount_holding(os.path.realpath(there))
    return judge_disk(directory, entry.type if entry else "?", room.f_bavail * room.f_frsize, cache_size)


def _nearest(directory: Path) -> Path:
    """The directory itself, or the nearest one above it that is there: a mount makes the rest."""
    return next((path for path in (directory, *directory.parents) if path.exists()), directory)


def judge_disk(directory: Path, kind: str, free: int, cache_size: int) -> Finding:
    """What is to be said of a disk of this kind with so many bytes free."""
    text = f"{directory} is on {kind} with {wording.size(free)} free"
    if kind in FLEETING:
        mend = "what is unsent is lost when the machine stops; choose a --cache-dir on a disk"
        return warning("cache", text, mend)
    if kind in REMOTE:
        mend = "what is unsent is only as safe as that; choose a --cache-dir on a local disk"
        return warning("cache", text, mend)
    if free < cache_size:
        mend = "it will be smaller, and write() fails when the disk is full"
        return warning("cache", f"{text}, less than --cache-size {wording.size(cache_size)}", mend)
    return ok("cache", text)


def look_at_leftovers(found: Iterable[Leftovers], now: float) -> Iterator[Finding]:
    """What is unsent, of which source, how old, and whether a mount is at it."""
    for each in found:
        finding = judge_leftovers(each, now)
        if finding is not None:
            yield finding


def judge_leftovers(left: Leftovers, now: float) -> Finding | None:
    """What is to be said of one state directory; None when nothing is."""
    if left.trouble is not None:
        return warning("unsent", f"{left.directory}/journal.sqlite3 can't be read: {left.trouble}")
    if not (left.files or left.renames or left.unreadable):
        return None
    things = [_files_in_words(left.files, now)] if left.files else []
    things += [f"{left.renames} unfinished renames"] if left.renames else []
    things += [f"{left.unreadable} records of another version of b2mount"] if left.unreadable else []
    text = f"{', '.join(things)} in {left.directory}"
    if left.process is not None:
        return ok("unsent", f"{text}; process {left.process} is at it")
    return warning("unsent", text, "mount the same source with the same --cache-dir, which sends it")


def _files_in_words(files: tuple[LeftFile, ...], now: float) -> str:
    total = wording.size(sum(file.size for file in files))
    oldest = wording.span(now - min(file.since for file in files))
    named = ", ".join(str(file.path) for file in files[:NAMED])
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{wording.files(len(files))} ({total}, the oldest {oldest} old: {named}{more})"

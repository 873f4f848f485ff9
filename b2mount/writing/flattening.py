"""A generation that stands on many others gets the bytes that it reads from them for its own.

A program that goes on editing a file while its uploads keep failing leaves a new generation at
every try; each journal record holds all that it stands on.

Invariants: afterwards the generation reads as before, from its own local file and from the object
version at the bottom; what it stood on is kept until it has been recorded so.

Must not know: the journal, the queue.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from b2mount.errors import CorruptData
from b2mount.model import ByteRange
from b2mount.writing.extents import Run, Source
from b2mount.writing.local_bytes import is_full
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile, Staging

DEEP: Final = 32
_STEP: Final = 1024 * 1024


async def flatten(staged: StagedFile, staging: Staging) -> None:
    """Make `staged` stand on a version, or nothing, when it stands on more than DEEP generations.
    Nobody may write to it meanwhile. Say `StagedFile.recorded` once the new record is durable. It is
    as before when the disk has no room for that, and after OSError and CorruptData."""
    base = staged.base
    if not isinstance(base, SealedFile) or _depth(base) < DEEP:
        return
    inherited = [
        run
        for extent in staged.extents.all()
        if extent.source is Source.BASE
        for run in base.runs(extent.span)
        if run.source is Source.STAGED
    ]
    below = [run.span.stop for run in base.runs(ByteRange(0, base.size)) if run.source is Source.BASE]
    if await _copied(inherited, staged, staging):
        staged.stand_on(base.base_version, max(below, default=0), [run.span for run in inherited])


async def _copied(runs: Sequence[Run], staged: StagedFile, staging: Staging) -> bool:
    while True:
        try:
            await staging.lane.run_uncancelled(_copy, runs, staged.path)
        except OSError as error:
            if not await staging.make_room(error):
                if is_full(error):
                    return False
                raise
        else:
            return True


def _depth(sealed: SealedFile) -> int:
    depth, below = 1, sealed.base
    while isinstance(below, SealedFile):
        depth, below = depth + 1, below.base
    return depth


def _copy(runs: Sequence[Run], path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for run in runs:
            source = os.open(run.file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _copy_run(source, target, run.span)
            finally:
                os.close(source)
    finally:
        os.close(target)


def _copy_run(source: int, target: int, span: ByteRange) -> None:
    position = span.start
    while position < span.stop:
        data = os.pread(source, min(_STEP, span.stop - position), position)
        if not data:
            raise CorruptData("a staging file is shorter than what was written to it")
        done = 0
        while done < len(data):
            done += os.pwrite(target, memoryview(data)[done:], position + done)
        position += len(data)

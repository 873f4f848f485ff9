"""Change: what goes into the journal in one piece, and what that makes of the records that stand on others.

A record says what its generation stands on: once that one is in B2, its version. So whoever drops the
record of what B2 has writes those anew that stand on it, and has to know which records there are: those of
which the writing has succeeded, in the order of the transactions.

Must not know: SQLite, when anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from b2mount.writing.records import sealed_to_json
from b2mount.writing.sealed_file import Fate, SealedFile

Statement = tuple[str, tuple[str | int | None, ...]]
Stacked = dict[str, SealedFile]
"""Recorded generations that stand on one that was not in B2, by staging id."""


def stacking(recorded: Iterable[SealedFile]) -> dict[str, SealedFile | None]:
    """What records that are made now say: by staging id, the generation if it stands on one that is not in
    B2, else None."""
    return {s.staging_id: s if isinstance(s.base, SealedFile) else None for s in recorded}


@attrs.define(eq=False)
class Change:
    """Some statements, of which `recorded` is what the records say that they make, and `gone` the generations
    whose records they drop."""

    statements: Sequence[Statement]
    _recorded: Mapping[str, SealedFile | None]
    _gone: Sequence[SealedFile]
    done: bool = False
    error: Exception | None = None

    def made_on(self, stacked: Stacked) -> list[Statement]:
        """All that has to be carried out where `stacked` is on record, and makes that what is then."""
        for sealed in self._gone:
            stacked.pop(sealed.staging_id, None)
        _take(stacked, self._recorded)
        landed = {sealed.fate for sealed in self._gone if sealed.fate.version is not None}
        above = [s for s in stacked.values() if landed and _fates_below(s) & landed]
        _take(stacked, stacking(above))
        return [*self.statements, *map(_rewriting, above)]


def _take(stacked: Stacked, recorded: Mapping[str, SealedFile | None]) -> None:
    for staging_id, sealed in recorded.items():
        if sealed is not None:
            stacked[staging_id] = sealed
        else:
            stacked.pop(staging_id, None)


def _rewriting(sealed: SealedFile) -> Statement:
    return "UPDATE files SET record = ? WHERE staging_id = ?", (sealed_to_json(sealed), sealed.staging_id)


def _fates_below(sealed: SealedFile) -> set[Fate]:
    found = set()
    below = sealed.made_from
    while isinstance(below, SealedFile):
        found.add(below.fate)
        below = below.made_from
    return found

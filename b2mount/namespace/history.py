"""What B2's list of versions says of a name at another time, or of what was removed. Pure.

The rows of b2_list_file_versions come by name, the newest of a name first; a rule says which of them
is the one to show. Unfinished large files are in the list too, and are nothing yet: once finished they
are dated from when they were started.

Invariants: of a name at most one version is shown; a name's rows may come in any number of pages.

Must not know: the store, directories.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import attrs

from b2mount.model import Action, ObjectPath, ObjectVersion


class Verdict(enum.Enum):
    """What a row decides of its name."""

    SHOWN = "shown"
    NOTHING = "nothing"
    OPEN = "open"
    """An older row will tell."""


Rule = Callable[[ObjectVersion, ObjectVersion | None], Verdict]
"""Judges an upload or hide marker, given the next newer one of the same name, None for the newest."""


def as_of(moment_ms: int) -> Rule:
    """The version that was current at a moment: the newest that is not younger, unless that hides."""

    def rule(version: ObjectVersion, _newer: ObjectVersion | None) -> Verdict:
        if version.uploaded_ms > moment_ms:
            return Verdict.OPEN
        return Verdict.SHOWN if version.action is Action.UPLOAD else Verdict.NOTHING

    return rule


def trashed(version: ObjectVersion, newer: ObjectVersion | None) -> Verdict:
    """Of a name that is hidden now, the version that it had before."""
    if version.action is Action.HIDE:
        return Verdict.OPEN
    return Verdict.NOTHING if newer is None else Verdict.SHOWN


@attrs.define
class Reading:
    """Goes through the list of versions from any name on."""

    _rule: Rule
    _path: ObjectPath | None = None
    _newer: ObjectVersion | None = None
    _is_decided: bool = False

    def take(self, rows: Iterable[ObjectVersion]) -> list[ObjectVersion]:
        """What the next rows decide to be shown, in their order."""
        shown = []
        for version in rows:
            if version.path != self._path:
                self._path, self._newer, self._is_decided = version.path, None, False
            if self._is_decided or version.action is Action.START:
                continue
            verdict = self._rule(version, self._newer)
            self._newer, self._is_decided = version, verdict is not Verdict.OPEN
            if verdict is Verdict.SHOWN:
                shown.append(version)
        return shown

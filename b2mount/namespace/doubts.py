"""Doubts: up to when what an index of names says of a directory is not to be believed. No I/O.

Questions to the store and changes of this mount have one order. A listing is true of a directory when
it was asked for after the last thing that this mount did there, and after the newest other listing
that anybody here has seen the beginning of.

Invariants: of two listings of a directory, one older and one younger than a change in it, only the
younger is believed; a doubt is forgotten only when the file has no older listing, and none is to come.

Must not know: what is stored, files.
"""

from __future__ import annotations

from typing import Final

import attrs

from b2mount.model import ObjectPath
from b2mount.namespace.change_log import Change

_MANY: Final = 100_000


def key_of(directory: ObjectPath) -> str:
    """What a directory is called in the index."""
    return f"{directory.bucket}/{directory.key}"


@attrs.define(eq=False)
class Doubts:
    """See the module."""

    sequence: int
    """The last that was given to a question or a change."""
    _own: dict[ObjectPath, int] = attrs.field(factory=dict)
    _below: dict[ObjectPath, int] = attrs.field(factory=dict)
    _floor: int = 0
    """Nothing that was asked for up to here is still to be stored."""
    _fresh: dict[tuple[ObjectPath, bool], Change] = attrs.field(factory=dict)
    """Those that the file does not know yet."""
    _absent: set[ObjectPath] = attrs.field(factory=set)
    """Directories of which nothing is in the file but what is in doubt there already."""

    def next(self) -> int:
        """The place of a question that is asked now."""
        self.sequence += 1
        return self.sequence

    def changed(self, directory: ObjectPath) -> Change | None:
        """Something in it is different from now on. The change is to be recorded, if there is one:
        there may be a listing to which it matters."""
        return self.superseded(directory, self.next() + 1)

    def superseded(self, directory: ObjectPath, sequence: int) -> Change | None:
        """As `changed`, of listings that were asked for before `sequence`."""
        upto = self._own[directory] = max(sequence - 1, self._own.get(directory, 0))
        if directory in self._absent and (directory, False) not in self._fresh:
            return None
        change = Change(key_of(directory), upto, is_below=False)
        is_recorded = directory in self._absent
        self._fresh[directory, False] = change
        self._absent.add(directory)
        return None if is_recorded else change

    def changed_below(self, directory: ObjectPath) -> Change:
        """As `changed`, of a directory and of all below it."""
        upto = self._below[directory] = self.next()
        change = self._fresh[directory, True] = Change(key_of(directory), upto, is_below=True)
        return change

    def believes(self, directory: ObjectPath, sequence: int) -> bool:
        """Whether a listing that was asked for then may be true still."""
        if sequence <= self._own.get(directory, 0):
            return False
        above = directory
        while self._below:
            if sequence <= self._below.get(above, 0):
                return False
            if above == above.parent:
                break
            above = above.parent
        return True

    def may_store(self, directory: ObjectPath, sequence: int) -> bool:
        """Whether a listing that was asked for then may be stored now."""
        return sequence > self._floor and self.believes(directory, sequence)

    def stored(self, directory: ObjectPath) -> None:
        """A listing of it goes to the file."""
        self._absent.discard(directory)

    def is_absent(self, directory: ObjectPath) -> bool:
        """Whether it is known that the file has nothing of it that can be believed."""
        return directory in self._absent

    def take(self) -> list[Change]:
        """What the file has to be told."""
        fresh, self._fresh = self._fresh, {}
        return list(fresh.values())

    @property
    def left(self) -> list[Change]:
        """What the file has not been told yet."""
        return list(self._fresh.values())

    def tidy(self, oldest: int) -> bool:
        """When there are many, forget those that concern nothing which is asked for from `oldest` on,
        and which the file knows. Returns whether it did."""
        if len(self._own) + len(self._below) + len(self._absent) < _MANY:
            return False
        self._floor = max(self._floor, oldest - 1)
        for known, is_below in ((self._own, False), (self._below, True)):
            for path in [
                p for p, upto in known.items() if upto < oldest and (p, is_below) not in self._fresh
            ]:
                del known[path]
        self._absent = {directory for directory, is_below in self._fresh if not is_below}
        return True

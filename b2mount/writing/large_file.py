"""LargeFile: one large file, while it is being sent, and what B2 has of it.

Must not know: requests to B2, journal records but its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import attrs
import trio

from b2mount.model import Action, ObjectVersion
from b2mount.store.interface import MultipartUpload, PartRecord
from b2mount.writing.fingerprint import Fingerprint
from b2mount.writing.upload_log import UploadRecord


class NotWanted(Exception):
    """Its file was removed while it was being sent."""


@attrs.define(eq=False)
class LargeFile:
    """One large file, while it is being sent."""

    record: UploadRecord
    starts: list[int] = attrs.field(factory=list)
    """Where each part begins: what `touched` needs to know."""
    records: dict[int, PartRecord] = attrs.field(factory=dict)
    """The parts that B2 has, and whose bytes are right."""
    flying: set[int] = attrs.field(factory=set)
    stale: set[int] = attrs.field(factory=set)
    """Parts that were written to while they were being sent."""
    fingerprint: Fingerprint | None = None
    """Of the first bytes, where somebody has taken it."""
    hashed_to: int = 0
    """How far it reaches, or will in a moment."""
    is_asked_for: bool = False
    """B2 was asked to finish it: it may have, whatever we were told."""
    is_finished: bool = False
    is_recorded: bool = True
    is_base_doubted: bool = False
    """Base bytes may come damaged without anybody noticing."""
    slots: trio.Semaphore | None = None
    """Where its parts wait for their turn; None for where all do that are uploaded."""
    is_unchecked: bool = False
    """What B2 has of it has to be asked for, and compared."""
    is_wanted: Callable[[], bool] = lambda: True
    """Asked before each part, and before B2 is asked to finish it."""

    @property
    def upload(self) -> MultipartUpload:
        """What B2 calls it."""
        return self.record.upload

    @property
    def sent(self) -> int:
        """Bytes that B2 has."""
        return sum(record.size for record in self.records.values())

    @property
    def is_given_up(self) -> bool:
        """Whether nobody wants it, and B2 can't have it: it was never asked to finish it."""
        return not (self.is_asked_for or self.is_wanted())

    def may_become(self, contents: str) -> bool:
        """Whether B2 can't have made other bytes of it already."""
        return not self.is_asked_for or self.record.contents == contents

    def touched(self, start: int, stop: int) -> None:
        """These bytes were written to: what was sent of them does not count any more."""
        if start < self.hashed_to:
            self.fingerprint = None
        first = max(1, bisect_right(self.starts, start))
        for number in range(first, bisect_right(self.starts, max(start, stop - 1)) + 1):
            self.records.pop(number, None)
            if number in self.flying:
                self.stale.add(number)


def provisional(upload: MultipartUpload) -> ObjectVersion:
    """The version that a large file becomes: it has the same id (b2_finish_large_file)."""
    return ObjectVersion(upload.path, upload.upload_id, 0, 0, "", None, {}, Action.UPLOAD)

"""Reserve: disk space that is held back for the journal.

Whoever fills the disk with what is to be sent must still be able to close it, and what B2 has must
still be struck off the list, since only then its local bytes may go and make room.

Invariants: the space is really allocated, or there is none; nothing but its size is of any use.
Its functions are for a thread.

Must not know: what the space is for.
"""

from __future__ import annotations

import os
from typing import Final

import attrs

SIZE: Final = 1024 * 1024
"""A transaction takes some 20 KiB, also of a disk where nothing was free."""


@attrs.define(eq=False)
class Reserve:
    """See the module."""

    _path: str
    is_held: bool = attrs.field(default=False, init=False)

    def hold(self) -> None:
        """Take the space, unless it is held; on a disk that is full too there is none for now."""
        if self.is_held:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            finally:
                os.close(descriptor)
        except OSError:
            self._remove()
        else:
            self.is_held = True

    def give_up(self) -> bool:
        """Let go of the space, also of what an earlier process held. False when there was none."""
        self.is_held = False
        return self._remove()

    def _remove(self) -> bool:
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

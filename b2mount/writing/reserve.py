"""Reserve: disk space that is held back for the journal.

Whoever fills the disk with what is to be sent must still be able to close it, and what B2 has must
still be struck off the list, since only then its local bytes may go and make room.

Invariants: the space is really allocated, or there is none; nothing but its size is of any use.
Its functions are for a thread.

Must not know: what the space is for.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

import attrs

from b2mount.writing.local_bytes import is_full, make_durable, write_at

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

    def check_room(self) -> None:
        """Try to write as much again, for who does not know why something could not be written. Raises the
        OSError of a full disk or quota; fine when something else is wrong."""
        probe = f"{self._path}.probe"
        try:
            write_at(probe, 0, os.urandom(SIZE))  # nothing that could be stored as less
            make_durable(probe, os.path.dirname(probe))
        except OSError as error:
            if is_full(error):
                raise
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)

    def _remove(self) -> bool:
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

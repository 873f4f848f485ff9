"""The end of a mount's uploads: what is dirty is sealed, and sent while there is time.

Invariants: it ends DRAIN_TIME after `begin` at the latest, but for the sealing; what is left is in the
journal, and named in the log.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.filesystem.filesystem import FileSystem
from b2mount.writing.write_back import WriteBack

log = logging.getLogger(__name__)

DRAIN_TIME: Final = 75.0
"""Seconds that an unmount which nobody announced may take to send the rest: under systemd's 90."""
NAMED: Final = 20
"""Unsent files that the log names at the end."""


@attrs.define(eq=False)
class Draining:
    """Runs once, when nothing comes from the kernel any more."""

    _filesystem: FileSystem
    _write_back: WriteBack
    _sending: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Around what sends the rest."""

    def begin(self) -> None:
        """The time runs from now on, or from an earlier call."""
        self._sending.deadline = min(self._sending.deadline, trio.current_time() + DRAIN_TIME)

    def leave(self) -> None:
        """Send nothing more: it is left to the next mount."""
        self._sending.cancel()

    def status(self) -> str:
        """How far it is, for people."""
        waiting = self._write_back.pending()
        unsent = sum(max(0, upload.size - upload.sent) for upload in waiting)
        return f"unmounting: {_files(len(waiting))}, {unsent / (1 << 20):.1f} MiB, still to be sent"

    async def run(self) -> int:
        """Seal what is dirty and send what there is time for; returns how many files are left."""
        with suppress(B2MountError, OSError):  # said in the log
            await self._filesystem.seal_everything()
        try:
            self.begin()
            if waiting := len(self._write_back.pending()):
                log.info("%s still to be sent, in at most %.0f s", _files(waiting), DRAIN_TIME)
            with self._sending:
                await self._write_back.flush()
                if self._write_back.pruner is not None:
                    await self._write_back.pruner.settle()
        except (B2MountError, OSError) as error:
            log.warning("not everything could be sent: %s", error)
        left = self._write_back.pending()
        for upload in left[:NAMED]:
            log.warning("%s is left to the next mount: %s", upload.path, upload.reason or upload.state.value)
        if len(left) > NAMED:
            log.warning("and so are %d more", len(left) - NAMED)
        return len(left)


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"

"""Echoes: what B2 heard of a name after it had hidden it.

When a file is removed while it is being sent, the end of the upload is waited for, and B2 hides the name.
When the upload has brought no version, B2 may hear it all the same afterwards: the name shows again. So B2
is asked, and what was sent is removed when it is there; as often as it takes, as long as the mount lives.

Invariants: what others have made of the name since stays, and so does what this mount has.

Must not know: how a name is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.gate import PathGate
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.copying import newest
from b2mount.writing.object_info import plain
from b2mount.writing.sealed_file import SealedFile

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds between two tries."""
SLACK_MS: Final = 3000
"""By so much B2's clock may be ahead of what this machine takes it for."""


@attrs.frozen(eq=False)
class Echo:
    """What a name may show again."""

    path: ObjectPath
    size: int
    info: Mapping[str, str]
    until_ms: int
    """When the upload had ended, by B2's clock."""
    remove: Callable[[], Awaitable[None]]

    def may_be(self, version: ObjectVersion) -> bool:
        """Whether it is this. Of the info some may have found no room."""
        is_early = version.uploaded_ms <= self.until_ms
        return is_early and version.size == self.size and plain(version.info).items() <= self.info.items()


@attrs.define(eq=False)
class Echoes:
    """See the module. What B2 does not do at once is done only while `run` runs."""

    _store: ObjectStore
    _committer: Committer
    _gate: PathGate
    _owed: list[Echo] = attrs.field(factory=list, init=False)
    _owes: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def silence(self, sent: SealedFile, remove: Callable[[], Awaitable[None]]) -> None:
        """The upload of `sent` has ended without a version, and `remove` is how its name goes. For who is at
        the gate, while nothing begins to be sent to the name. Never raises."""
        until_ms = self._store.now_ms + SLACK_MS
        echo = Echo(sent.path, sent.size, plain(sent.metadata.info), until_ms, remove)
        try:
            await self._silence(echo)
        except B2MountError as error:
            log.warning(
                "%s was removed while it was being sent, and may be back for now: %s", sent.path, error
            )
            self._owed.append(echo)
            self._owes.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._owes.wait()
            pause = FIRST_PAUSE
            while self._owed:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                for echo in list(self._owed):
                    await self._pay(echo)
            self._owes = trio.Event()

    async def _pay(self, echo: Echo) -> None:
        async with self._gate.using(lambda: echo.path):
            with self._committer.holding(echo.path):
                try:
                    await self._silence(echo)
                except B2MountError as error:
                    log.debug("%s may still be back: %s", echo.path, error)
                else:
                    self._owed.remove(echo)

    async def _silence(self, echo: Echo) -> None:
        found = await newest(self._store, echo.path)
        if found is not None and echo.may_be(found):
            log.info("%s has been sent after it was removed: it is removed again", echo.path)
            await echo.remove()

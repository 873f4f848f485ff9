"""Prefetch: fetches what the walks of programs want next, behind the readers' backs.

Invariants: nothing is listed for it, and no read waits for it or fails because of it; what it asks
for goes to the fetcher's queue for readahead, where those who wait go first; a walk that is over
owns nothing there.

Must not know: how walks are told from chance.
"""

from __future__ import annotations

import logging
import math
from collections import deque

import attrs
import trio

from b2mount.errors import B2MountError
from b2mount.filesystem.siblings import Order, Visit, Walk, Walks, Wanted
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.fetcher import BlockFetcher
from b2mount.reading.integrity import Witness

log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Prefetch:
    """See the module. Nothing happens until `run` runs."""

    _fetcher: BlockFetcher
    _order: Order
    walks: Walks = attrs.field(init=False)
    _begun: deque[Visit] = attrs.field(factory=deque, init=False)
    _woken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _is_running: bool = False
    is_off: bool = attrs.field(default=False, init=False)
    """What it costs is to be saved."""

    def __attrs_post_init__(self) -> None:
        self.walks = Walks(self._order, self._is_big)

    def _is_big(self, version: ObjectVersion) -> bool:
        return not self._fetcher.takes_whole(version)

    def begun(self, path: ObjectPath, version: ObjectVersion) -> Visit:
        """A program has begun to read a file; it is to tell the visit how far it reads."""
        visit = Visit(path, version)
        if self._is_running and not self.is_off:
            self._begun.append(visit)
            self._woken.set()
        return visit

    async def run(self) -> None:
        """Fetch ahead, until cancelled."""
        self._is_running = True
        try:
            while True:
                await self._woken.wait()  # the reader's own request is on its way by now
                self._woken = trio.Event()
                while self._begun:
                    await self._go_on_quietly(self._begun.popleft())
        finally:
            self._is_running = False

    async def _go_on_quietly(self, visit: Visit) -> None:
        try:
            await self._go_on(visit)
        except B2MountError as error:
            log.debug("nothing is fetched ahead after %s: %s", visit.path, error)
        except Exception:
            log.exception("a bug in fetching ahead after %s", visit.path)

    async def _go_on(self, visit: Visit) -> None:
        walk = self.walks.read(visit)
        while self.walks.ended:
            self._fetcher.release(self.walks.ended.pop())
        for wanted in self.walks.wanted(walk):
            blocks = range(math.ceil(wanted.size / BLOCK_SIZE))
            if self._fetcher.lost(wanted.version, blocks) is None:
                self.walks.give_back(walk, wanted)
            elif self.is_off or not await self._fetch(wanted, blocks, walk):
                self.walks.give_back(walk, wanted)
                return

    async def _fetch(self, wanted: Wanted, blocks: range, walk: Walk) -> bool:
        """Whether there was room for it."""
        await self._fetcher.begin(wanted.version, Witness())  # so that what comes is checked
        return self._fetcher.want(wanted.version, blocks, walk) == blocks.stop

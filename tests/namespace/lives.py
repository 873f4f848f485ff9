"""Mounts of one bucket that follow each other on one index of names, in a time that tests make."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.wall_clock import Moment
from b2mount.threads import ThreadLane
from tests.namespace.world import WatchedStore, inodes_in, names_of, path

DAY = 86_400.0
HOUR = 3_600.0


@attrs.define(eq=False)
class Machine:
    """Its clocks. The wall clock goes with trio's, unless somebody sets it."""

    boot: str = "first"
    set_by: float = 0.0

    def now(self) -> Moment:
        up_ns = int(trio.current_time() * 1e9)
        ahead_ns = 1_700_000_000_000_000_000 + int(self.set_by * 1e9)
        return Moment(self.boot, up_ns + ahead_ns, ahead_ns)


@attrs.define(eq=False)
class Lives:
    """`mount` begins the next one; `index` and `names` are those of the present one."""

    directory: Path
    store: WatchedStore
    machine: Machine = attrs.field(factory=Machine)
    index: NameIndex = attrs.field(init=False)
    names: Namespace = attrs.field(init=False)

    async def mount(
        self,
        *,
        ttl: float = DAY,
        identity: str = "",
        root: str = "",
        max_names: int = 100_000,
    ) -> None:
        lane = ThreadLane("disk", 4)
        self.index = NameIndex(self.directory, identity, path(root), ttl, lane, self.machine.now)
        await self.index.open()
        self.names = names_of(self.store, ttl=ttl, root=root, max_names=max_names, index=self.index)

    async def remount(self, **options: float) -> None:
        """After a clean end."""
        await self.index.close()
        await self.mount(**options)  # type: ignore[arg-type]  # each fits its field

    async def killed(self) -> None:
        """The process ends as it is, and the next one begins."""
        await self.mount()

    async def walk(self) -> list[str]:
        """All keys, as programs see them, without the root's."""
        found: list[str] = []
        waiting = [self.names.root]
        while waiting:
            for inode in await inodes_in(self.names, waiting.pop()):
                found.append(inode.path.key)
                if inode.is_directory:
                    waiting.append(inode)
        return sorted(found)

    async def walk_costs(self) -> int:
        """The calls of a walk."""
        before = len(self.store.calls)
        await self.walk()
        return len(self.store.calls) - before

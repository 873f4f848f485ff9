"""Random changes by this mount and by others, with a day to live, and mounts that end in all ways: what a
mount did is seen by all that follow, unless others have touched it since."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from b2mount.errors import NotFound
from b2mount.model import PLACEHOLDER, ObjectPath
from b2mount.namespace.inode import Inode
from tests.namespace.lives import DAY, Lives
from tests.namespace.world import WatchedStore, a_directory, a_file, path

T = TypeVar("T")

directories = st.sampled_from(["", "d/", "e/", "d/d/"])
files = st.builds(str.__add__, directories, st.sampled_from(["a", "b"]))


class RandomLives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = trio.testing.MockClock()
        self.root = tempfile.TemporaryDirectory()
        self.lives = Lives(Path(self.root.name), WatchedStore(page_rows=3))
        self.mine: dict[str, str | None] = {}
        """By key: the version that this mount has put there, None for one that it has taken away."""
        self.run(self.lives.mount)

    def teardown(self) -> None:
        self.run(self.lives.index.close)
        self.root.cleanup()

    def run(self, act: Callable[..., Awaitable[T]], *args: object) -> T:
        return trio.run(act, *args, clock=self.clock)

    # -- others ------------------------------------------------------------------------------

    @rule(key=files)
    def others_write(self, key: str) -> None:
        self.lives.store.add(key)
        self._touched(key)

    @rule(key=files)
    def others_remove(self, key: str) -> None:
        if key in self.lives.store.contents():
            self.run(self.lives.store.remove, key)
            self._touched(key)

    def _touched(self, key: str) -> None:
        self.mine.pop(key, None)

    # -- this mount --------------------------------------------------------------------------

    @rule(key=files)
    def write(self, key: str) -> None:
        self.run(self._write, key)

    async def _write(self, key: str) -> None:
        directory = await self._make(key.rpartition("/")[0])
        inode = await self._find(key)
        if inode is None:
            self.lives.names.created(directory, key[-1], a_file(), None)
        else:
            self.lives.names.published(inode, a_file(1))
        version = self.lives.store.add(key)
        self.lives.names.adopted(path(key), version)
        self.mine[key] = version.version_id

    async def _make(self, name: str) -> Inode:
        found = await self._find(name)
        if found is None:
            above, _, own = name.rpartition("/")
            parent = await self._make(above)
            version = self.lives.store.add(f"{name}/{PLACEHOLDER}")
            found = self.lives.names.created(parent, own, a_directory(), version)
        return found

    @rule(key=files)
    def unlink(self, key: str) -> None:
        self.run(self._unlink, key)

    async def _unlink(self, key: str) -> None:
        inode = await self._find(key)
        if inode is not None:
            self.lives.names.changing(path(key))
            if key in self.lives.store.contents():
                await self.lives.store.remove(key)
            self.lives.names.removed(inode)
            self.mine[key] = None

    @rule(old=st.sampled_from(["d/", "e/", "d/d/"]), new=st.sampled_from(["e/", "d/d/", "d/"]))
    def rename_directory(self, old: str, new: str) -> None:
        self.run(self._rename_directory, old, new)

    async def _rename_directory(self, old: str, new: str) -> None:
        names, store = self.lives.names, self.lives.store
        inode, target = await self._find(old[:-1]), await self._find(new[:-1])
        above, _, name = new[:-1].rpartition("/")
        parent = await self._find(above)
        if inode is None or target is not None or parent is None or new.startswith(old):
            return
        moved = []
        for version in await names.subtree(inode):
            key = new + version.path.key.removeprefix(old)
            moved.append(store.add(key))
            await store.hide(version.path)
            self.mine |= {version.path.key: None}
        names.moved(inode, parent, name)
        for version in moved:
            names.adopted(version.path, version)
        self.mine |= {v.path.key: v.version_id for v in moved if not v.path.key.endswith(PLACEHOLDER)}

    @rule(where=st.sampled_from([None, "", "d/", "d/a", "d/d"]))
    def refresh(self, where: str | None) -> None:
        self.run(self._refresh, path(where) if where is not None else None)

    async def _refresh(self, where: ObjectPath | None) -> None:
        self.lives.names.forget_listing(where)

    # -- looking, time, ends -----------------------------------------------------------------

    @rule()
    def walk(self) -> None:
        self.run(self.lives.walk)

    @rule(seconds=st.sampled_from([1, DAY / 3, DAY]))
    def wait(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule(seconds=st.sampled_from([-DAY, -100, 0.5, DAY / 2]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.lives.machine.set_by += seconds

    @rule()
    def store_what_is_known(self) -> None:
        self.run(self.lives.index.store)

    @rule()
    def remount(self) -> None:
        self.run(self.lives.remount)

    @rule()
    def killed(self) -> None:
        self.run(self.lives.killed)

    @rule(is_clean=st.booleans())
    def machine_starts_again(self, is_clean: bool) -> None:
        if is_clean:
            self.run(self.lives.index.close)
        self.lives.machine.boot += "'"
        self.run(self.lives.mount)

    @rule()
    def after_a_day_all_is_seen(self) -> None:
        self.clock.jump(DAY)
        seen = self.run(self.lives.walk)
        objects = {key for key in self.lives.store.contents() if not key.endswith(PLACEHOLDER)}
        assert {key for key in seen if not key.endswith("/")} == objects

    @invariant()
    def what_this_mount_did_is_seen(self) -> None:
        self.run(self._check)

    async def _check(self) -> None:
        for key, version_id in self.mine.items():
            inode = await self._find(key)
            found = inode.version.version_id if inode is not None and inode.version is not None else None
            assert found == version_id, key

    async def _find(self, key: str) -> Inode | None:
        inode = self.lives.names.root
        try:
            for name in filter(None, key.split("/")):
                inode = await self.lives.names.lookup(inode, name)
        except NotFound:
            return None
        return inode


TestRandomLives = RandomLives.TestCase
TestRandomLives.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

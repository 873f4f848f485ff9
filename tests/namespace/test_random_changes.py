"""Random changes here and in B2, with listings that lag and times that run out, against plain dicts.

Files are called a and b, directories d and e, so that no file hides behind a directory of its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from b2mount.errors import NotFound
from b2mount.model import PLACEHOLDER, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectPage
from tests.namespace.world import TTL, WatchedStore, a_directory, a_file, inodes_in, names_of, path

T = TypeVar("T")
LONGEST_LAG = TTL / 2

directories = st.sampled_from(["", "d/", "e/", "d/d/"])
files = st.builds(str.__add__, directories, st.sampled_from(["a", "b"]))


class LateStore(WatchedStore):
    """Its listings show the bucket as it was `lag` seconds ago."""

    def __init__(self, clock: trio.testing.MockClock, page_rows: int) -> None:
        super().__init__(page_rows)
        self.clock = clock
        self.lag = 0.0
        self.history: list[tuple[float, dict[str, ObjectVersion]]] = [(float("-inf"), {})]

    def note(self) -> None:
        """The bucket has changed."""
        rows = {key: self._buckets["bucket"].current(key) for key in self.contents()}
        now = self.clock.current_time()
        self.history.append((now, {key: row.version for key, row in rows.items() if row is not None}))

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        if not delimiter:  # a subtree is for moving it: this one never lags
            return await super().list_objects(bucket, prefix, start=start, limit=limit)
        moment = self.clock.current_time() - self.lag
        shown = [rows for time, rows in self.history if time <= moment][-1]
        then = WatchedStore(self.page_rows)
        for version in shown.values():
            then._add(attrs.evolve(self._row(version.version_id), version=version))
        return await then.list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)


class RandomChanges(RuleBasedStateMachine):
    """One mount, and others that change the bucket behind its back."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = trio.testing.MockClock()
        self.store = LateStore(self.clock, page_rows=3)
        self.mine: dict[str, Inode | None] = {}
        """What this mount did last to a path that nobody else has touched since."""
        self.pending: dict[str, Inode] = {}
        self.kept: set[str] = set()
        """Directories that this mount made or took something out of."""
        self.told: dict[int, int] = {}
        """How often the kernel was told of a number."""
        self.names = self.run(self._mount)

    async def _mount(self) -> Namespace:
        return names_of(self.store, ttl=TTL, max_names=40)

    def run(self, act: Callable[..., Awaitable[T]], *args: object) -> T:
        return trio.run(act, *args, clock=self.clock)

    @initialize(lag=st.sampled_from([0, LONGEST_LAG]))
    def begin(self, lag: float) -> None:
        self.store.lag = lag

    # -- others ------------------------------------------------------------------------------

    @rule(key=files)
    def others_write(self, key: str) -> None:
        self.store.add(key)
        self._touched(key)

    @rule(data=st.data())
    def others_remove(self, data: st.DataObject) -> None:
        if objects := self.store.contents():
            key = data.draw(st.sampled_from(sorted(objects)))
            self.run(self.store.remove, key)
            self._touched(key)

    def _touched(self, key: str) -> None:
        self.store.note()
        self.mine.pop(key, None)
        while "/" in key:
            key = key.rpartition("/")[0]
            self.mine.pop(key, None)
            self.mine.pop(key + "/", None)

    # -- this mount --------------------------------------------------------------------------

    @rule(key=files)
    def create(self, key: str) -> None:
        self.run(self._create, key)

    async def _create(self, key: str) -> None:
        above = key.rpartition("/")[0]
        if above and await self._find(above) is None:
            await self._mkdir(above + "/", False)
        directory = await self._find(above)
        if directory is not None and await self._find(key) is None:
            inode = self.names.created(directory, key[-1], a_file(), None)
            self.mine[key] = self.pending[key] = inode

    @rule(key=files)
    def write_through(self, key: str) -> None:
        self.run(self._create, key)
        if key in self.pending:
            self.run(self._upload, key)

    @rule(data=st.data())
    def upload(self, data: st.DataObject) -> None:
        if self.pending:
            key = data.draw(st.sampled_from(sorted(self.pending)))
            self.run(self._upload, key)

    async def _upload(self, key: str) -> None:
        del self.pending[key]
        version = self.store.add(key)
        self.store.note()
        self.names.adopted(path(key), version)

    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        if key := self._some_file(data):
            self.run(self._unlink, key)

    def _some_file(self, data: st.DataObject) -> str | None:
        keys = {key for key in self.store.contents() if not key.endswith(PLACEHOLDER)} | set(self.pending)
        return data.draw(st.sampled_from(sorted(keys))) if keys else None

    async def _unlink(self, key: str) -> None:
        inode = await self._find(key)
        if inode is not None:
            await self._hide(key)
            self.names.removed(inode)
            self.pending.pop(key, None)
            self.mine[key] = None
            self.kept.add(key.rpartition("/")[0])

    @rule(key=directories.filter(bool), with_placeholder=st.booleans())
    def mkdir(self, key: str, with_placeholder: bool) -> None:
        self.run(self._mkdir, key, with_placeholder)

    async def _mkdir(self, key: str, with_placeholder: bool) -> None:
        parent, _, name = key[:-1].rpartition("/")
        if parent and await self._find(parent) is None:
            await self._mkdir(parent + "/", with_placeholder)
        directory = await self._find(parent)
        if directory is not None and await self._find(key[:-1]) is None:
            version = self.store.add(key + PLACEHOLDER) if with_placeholder else None
            self.store.note()
            self.mine[key] = self.names.created(directory, name, a_directory(), version)
            self.kept.add(key[:-1])

    @rule(key=directories.filter(bool))
    def rmdir(self, key: str) -> None:
        self.run(self._rmdir, key)

    async def _rmdir(self, key: str) -> None:
        inode = await self._find(key[:-1])
        if inode is not None and await self.names.is_empty(inode):
            await self._hide(key + PLACEHOLDER)
            self.names.removed(inode)
            self.kept.discard(key[:-1])
            self.kept.add(key[:-1].rpartition("/")[0])
            unseen = [other for other in self.store.contents() if other.startswith(key)]
            self.mine[key] = None
            for other in unseen:  # what others put there and we could not see yet comes up again
                self._touched(other)

    @rule(data=st.data(), new=files)
    def rename(self, data: st.DataObject, new: str) -> None:
        if old := self._some_file(data):
            self.run(self._rename, old, new)

    async def _rename(self, old: str, new: str) -> None:
        inode, directory = await self._find(old), await self._find(new.rpartition("/")[0])
        target = await self._find(new)
        if inode is None or directory is None or inode is target:
            return
        if target is not None:
            await self._hide(new)
            self.names.removed(target)
        version = self.store.add(new) if old not in self.pending else None
        await self._hide(old)
        self.names.moved(inode, directory, new[-1])
        self.pending.pop(new, None)
        if version is not None:
            self.names.adopted(path(new), version)
        else:
            self.pending[new] = self.pending.pop(old)
        self.mine |= {old: None, new: inode}
        self.kept.add(old.rpartition("/")[0])

    @rule(old=st.sampled_from(["d/", "e/", "d/d/"]), new=st.sampled_from(["e/", "d/d/", "d/"]))
    def rename_directory(self, old: str, new: str) -> None:
        self.run(self._rename_directory, old, new)

    async def _rename_directory(self, old: str, new: str) -> None:
        parent, _, name = new[:-1].rpartition("/")
        inode, directory = await self._find(old[:-1]), await self._find(parent)
        if inode is None or directory is None or new.startswith(old):
            return
        if await self._find(new[:-1]) is not None or any(k.startswith(new) for k in self.store.contents()):
            return
        versions = []
        for version in await self.names.subtree(inode):
            versions.append(self.store.add(new + version.path.key.removeprefix(old)))
            await self.store.hide(version.path)
        self.store.note()
        self.names.moved(inode, directory, name)
        for version in versions:
            self.names.adopted(version.path, version)
        self._carry(old, new)
        self.mine |= {old: None, new: inode}

    def _carry(self, old: str, new: str) -> None:
        def there(key: str) -> str:
            return new + key.removeprefix(old) if key.startswith(old) else key

        self.mine = {there(key): inode for key, inode in self.mine.items() if not key.startswith(new)}
        self.pending = {there(key): inode for key, inode in self.pending.items()}
        self.kept = {there(key + "/").removesuffix("/") for key in self.kept} | {
            old[:-1].rpartition("/")[0],
            new[:-1],
        }

    async def _hide(self, key: str) -> None:
        if key in self.store.contents():
            await self.store.remove(key)
            self.store.note()

    # -- the kernel ----------------------------------------------------------------------------

    @rule()
    def the_kernel_lists_everything(self) -> None:
        self.run(self._tell, self.names.root)

    async def _tell(self, directory: Inode) -> None:
        for inode in await inodes_in(self.names, directory):
            self.names.looked_up(inode)
            self.told[inode.number] = self.told.get(inode.number, 0) + 1
            if inode.is_directory:
                await self._tell(inode)

    @rule(data=st.data())
    def the_kernel_forgets(self, data: st.DataObject) -> None:
        if self.told:
            for number in data.draw(st.sets(st.sampled_from(sorted(self.told)), min_size=1)):
                self.names.forget(number, self.told.pop(number))

    # -- time --------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 10, TTL - 1, TTL, 2 * TTL]))
    def wait(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule(lag=st.sampled_from([0, 5, LONGEST_LAG]))
    def listings_lag(self, lag: float) -> None:
        self.store.lag = lag

    @rule()
    def others_need_the_cache(self) -> None:
        self.run(self._lose_cache)

    async def _lose_cache(self) -> None:
        self.names._cache.forget(None)

    @rule()
    def read_everything(self) -> None:
        self.run(self._walk, self.names.root)

    @rule()
    def after_a_while_all_agree(self) -> None:
        self.store.lag = 0
        self.clock.jump(3 * TTL)
        seen = self.run(self._walk, self.names.root)
        self.clock.jump(3 * TTL)
        again = self.run(self._walk, self.names.root)
        assert again == seen
        objects = self.store.contents()
        keys = {key for key in objects if not key.endswith(PLACEHOLDER)} | set(self.pending)
        assert {key for key in seen if not key.endswith("/")} == keys
        parents = _directories_of(keys | set(objects))
        shown = {key for key in seen if key.endswith("/")}
        assert parents <= shown
        assert shown - parents <= _directories_of({key + "/" for key in self.kept})

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def what_this_mount_did_is_seen(self) -> None:
        self.run(self._check_mine)

    async def _check_mine(self) -> None:
        for key, inode in self.mine.items():
            found = await self._find(key.removesuffix("/"))
            assert found is inode, f"{key}: {inode} expected, {found} found"

    @invariant()
    def what_the_kernel_knows_is_there(self) -> None:
        self.run(self._check_told)

    async def _check_told(self) -> None:
        for number, count in self.told.items():
            inode = self.names.inode(number)
            assert (inode.number, inode.lookups) == (number, count)
            assert inode.removed or self.names._inodes.at(inode.path) is inode

    @invariant()
    def lookups_and_listings_agree(self) -> None:
        self.run(self._check_agreement, self.names.root)

    async def _check_agreement(self, directory: Inode) -> None:
        children = {inode.path.name: inode for inode in await inodes_in(self.names, directory)}
        for name in "abde":
            try:
                found: Inode | None = await self.names.lookup(directory, name)
            except NotFound:
                found = None
            assert found is children.get(name), name
        for inode in children.values():
            assert self.names._inodes.at(inode.path) is inode
            if inode.is_directory:
                await self._check_agreement(inode)

    async def _find(self, key: str) -> Inode | None:
        inode = self.names.root
        try:
            for name in filter(None, key.split("/")):
                inode = await self.names.lookup(inode, name)
        except NotFound:
            return None
        return inode

    async def _walk(self, directory: Inode) -> set[str]:
        found: set[str] = set()
        for inode in await inodes_in(self.names, directory):
            found.add(inode.path.key)
            if inode.is_directory:
                found |= await self._walk(inode)
        return found


def _directories_of(keys: set[str]) -> set[str]:
    """All directories above (or, with a slash at the end, at) these keys."""
    return {key[: n + 1] for key in keys for n, sign in enumerate(key) if sign == "/"}


TestRandomChanges = RandomChanges.TestCase
TestRandomChanges.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

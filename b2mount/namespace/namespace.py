"""Namespace: what exists, under which name and number.

Invariants: a name resolves the same way in `lookup` and in `children`. What this mount did is seen
here at once and is not undone by a listing from before (see overlay). An inode keeps its number as
long as it is the same version, or the same directory; a file that was replaced in B2 is a new inode,
and the old one lives on for its handles. The methods that change something are plain functions: they
happen at one moment, and are called when it is true here.

Must not know: bytes, uploads, FUSE, errno; which Tree it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs
import trio
from cachetools import LRUCache

from b2mount.errors import NotADirectory, NotFound
from b2mount.model import Attributes, Entry, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.namespace.children import ChildStream
from b2mount.namespace.directory_cache import Answer, DirectoryCache
from b2mount.namespace.inode import ROOT_NUMBER, Inode
from b2mount.namespace.lifetime import Lifetime
from b2mount.namespace.lister import Lister
from b2mount.namespace.listing import empty_listing
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.names import can_be_spelled, check_looked_up_name
from b2mount.namespace.order import WalkOrder
from b2mount.namespace.overlay import Overlay, Record
from b2mount.namespace.posix_info import AttributeDefaults, attributes_of, kind_of, with_times_of
from b2mount.namespace.resolver import Resolver
from b2mount.namespace.tree import Tree

__all__ = ["ChildStream", "Namespace"]

_CHANGED_DIRECTORIES: Final = 4096
"""Directories whose times are remembered after the kernel has forgotten them."""


class Namespace:
    """The names of one mount: B2's, with what this mount did on top."""

    def __init__(
        self,
        tree: Tree,
        root: ObjectPath,
        *,
        defaults: AttributeDefaults,
        ttl: float,
        max_names: int,
        index: NameIndex | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        root_number: int = ROOT_NUMBER,
    ) -> None:
        """`index` may know names from before, and learns those of now."""
        self._tree = tree
        self._defaults = defaults
        self.lifetime: Final = Lifetime(ttl)
        self._now_ns = now_ns
        self._index = index or NameIndex.nowhere()
        self._overlay = Overlay(self.lifetime, lambda *change: self._lister.changed(*change))
        self._cache = DirectoryCache(max_names, lambda directory: self._inodes.table(directory))
        self._resolver = Resolver(root, self._overlay, self._cache, defaults, now_ns(), root_number)
        self._inodes = self._resolver.inodes
        self._lister = Lister(
            tree, self._cache, self._overlay, self._index, self.lifetime, self._resolver.learn
        )
        self._changed: LRUCache[int, Inode] = LRUCache(maxsize=_CHANGED_DIRECTORIES)
        self.root: Final = self._inodes.root
        self.order: Final = WalkOrder(self._cache, self._overlay)

    async def run(self) -> None:
        """Fetch the pages of listings ahead of their readers, until cancelled. Optional."""
        await self._lister.run()

    @property
    def odd_names(self) -> int:
        """How many keys were seen that no path can spell."""
        return len(self._lister.odd)

    # -- questions --------------------------------------------------------------------------

    def inode(self, number: int) -> Inode:
        """The inode of a number, removed or not. Raises NotFound."""
        return self._inodes.get(number)

    async def lookup(self, directory: Inode, name: str) -> Inode:
        """What `name` in `directory` is; `.` and `..` work. Raises NotFound, NotADirectory,
        NameTooLong, and what the store raises."""
        check_looked_up_name(name)
        while True:
            self._check_directory(directory)
            if name in (".", ".."):
                return directory if name == "." else self._resolver.parent(directory)
            if not can_be_spelled(name):
                raise NotFound(name)
            path = directory.path
            drops, answer = self._cache.drops, self._known(directory, name)
            if answer is None:
                answer = await self._lister.entry(directory, name)
            if path != directory.path or directory.removed or drops != self._cache.drops:
                continue
            inode = self._resolver.resolve(directory, name, answer)
            if inode is None:
                raise NotFound(f"{path}{name}")
            return inode

    def valid_for(self, inode: Inode) -> float:
        """Seconds for which the kernel may keep name and attributes: what is left of the ttl."""
        now = trio.current_time()
        if inode is self.root or inode.removed:
            return 0.0 if inode.removed else self.lifetime.ttl
        record = self._record(inode.path) if inode.origin is None else None  # of a row there is none
        if record is None or record.inode is not inode:
            return max(0.0, inode.fresh_until - now)
        return self.lifetime.ttl if record.is_pending else max(0.0, record.until - now)

    def absent_for(self, directory: Inode, name: str) -> float:
        """Seconds for which the kernel may take it that there is no such name; 0 for unknown."""
        record = self._overlay.get(directory.path, name)
        answer = self._known(directory, name)
        exists = answer is None or answer.entry is not None or (record is not None and not record.is_gone)
        return 0.0 if exists or answer is None else max(0.0, answer.expires - trio.current_time())

    def looked_up(self, inode: Inode, count: int = 1) -> None:
        """The kernel has been told of the inode. Never raises."""
        self._inodes.looked_up(inode, count)

    def forget(self, number: int, count: int) -> None:
        """The kernel has dropped what it was told. Never raises."""
        self._inodes.forget(number, count)

    def children(self, directory: Inode) -> ChildStream:
        """The entries of a directory as of now. Raises NotADirectory, NotFound."""
        self._check_directory(directory)
        here: dict[str, Inode] = {}
        for name, record in self._overlay.records(directory.path).items():
            inode = self._resolver.resolve(directory, name, Answer(record.entry, record.until))
            if inode is not None:
                here[name] = inode
        listing = self._cache.growing(directory.path)
        self._lister.walked(directory.path)
        return ChildStream(directory, listing, here, self._lister, self._resolver)

    async def is_empty(self, directory: Inode) -> bool:
        """Whether the directory has no entries; its placeholder is none. Raises NotADirectory,
        NotFound, and what the store raises."""
        return await self.children(directory).get(0) is None

    def needs_placeholder(self, directory: Inode) -> bool | None:
        """Whether B2 is about to lose the directory, as nothing is left in it; None when nothing is known
        to be in it, and not all of it is known."""
        if directory is self.root or directory.path.is_bucket or directory.removed:
            return False
        listing = self._cache.listing(directory.path)
        if not self._overlay.is_all_gone(directory.path, listing.names if listing is not None else ()):
            return False
        return not listing.keepers if listing is not None and listing.is_complete else None

    def keepers(self, directory: Inode) -> list[ObjectVersion]:
        """The objects that keep a directory alive when it is empty, as far as they are known: its
        placeholder, and a marker as S3 tools write it."""
        found = listing.keepers if (listing := self._cache.listing(directory.path)) else []
        if directory.version is not None and directory.version.path not in {one.path for one in found}:
            found.append(directory.version)
        return found

    async def learn(self, directory: Inode) -> None:
        """Before its attributes are changed: what they are in B2. Raises what the store raises."""
        await self._lister.own(directory)

    async def subtree(self, directory: Inode) -> list[ObjectVersion]:
        """Every object at or below a directory, placeholders too, straight from B2."""
        return await self._tree.subtree(directory.path)

    # -- what this mount did ----------------------------------------------------------------

    def moves_by(self, is_open: Callable[[ObjectPath], bool]) -> None:
        """Who knows where objects stand for moves that are not done."""
        self._resolver.is_open = is_open

    def changing(self, path: ObjectPath) -> None:
        """B2 is being asked to change what is at a path, or at and below a directory's. Should this mount
        die before it can say so, the next one asks again."""
        self._index.changed(path.parent)
        if path.is_directory:
            self._index.changed_below(path)
            self._cache.changing(path)

    def created(
        self, directory: Inode, name: str, attributes: Attributes, version: ObjectVersion | None
    ) -> Inode:
        """A new name is there. `version` is what B2 has of it (a directory's placeholder), None when
        that is still to come and `adopted` will say so, and for a bucket, which needs none."""
        is_directory = attributes.kind is Kind.DIRECTORY
        path = directory.path.directory(name) if is_directory else directory.path.file(name)
        inode = self._inodes.add(path, attributes, version)
        if is_directory:
            now = trio.current_time()
            self._lister.emptied(path)
            listing = empty_listing(now, now + self.lifetime.ttl)
            listing.placeholder = version
            self._cache.put(path, listing)
        if version is None and not path.is_bucket:
            self._overlay.pending(directory.path, name, inode)
            self._keep(directory)
        else:
            self._settle(path, inode, Entry(name, attributes.kind, version))
        self._entries_changed(directory)
        return inode

    def recovered(
        self,
        path: ObjectPath,
        attributes: Attributes,
        version: ObjectVersion | None,
        metadata: ObjectMetadata | None = None,
    ) -> Inode | None:
        """An earlier mount left a file unsent: it is there, and so are the directories above it, whatever B2
        shows. It was made from `version`, and is to carry `metadata`. None outside of this mount."""
        path = path.of_placeholder
        if path == self.root.path or not self.root.path.holds(path) or not can_be_spelled(path.name):
            return None
        inode = self._inodes.at(path)
        if inode is None or inode.is_directory != path.is_directory:
            inode = self._inodes.add(path, attributes, version)
        inode.covers = not path.is_directory and (version is None or version.path != path)
        inode.carried = metadata
        self.published(inode, attributes)
        return inode

    def removed(self, inode: Inode) -> None:
        """The name is gone, here and in B2 (call it when B2 has hidden it). The inode lives on for
        its handles; its directory stays until it is removed itself, even when it is empty now."""
        path, parent, current = inode.path, self._resolver.parent(inode), self._inodes.at(inode.path)
        if inode is self.root or (inode.removed and self._record(path) is not None):
            return
        for gone in (inode, current):
            if gone is not None:
                self._overlay.settled(path.parent, path.name, None, None, gone.version)
                self._inodes.detach(gone)
                gone.unlinked = True
        inode.attributes = attrs.evolve(inode.attributes, changed_ns=self._now_ns())
        if inode.is_directory:
            self._lister.emptied(path)
        self._keep(parent)
        self._entries_changed(parent)

    def replaced(self, inode: Inode) -> None:
        """Others have given its name to something else, or to nothing: whoever looks next asks B2."""
        self._overlay.settled(inode.path.parent, inode.path.name, None, None)
        self._inodes.detach(inode)
        self.forget_listing(inode.path)

    def moved(self, inode: Inode, directory: Inode, name: str) -> None:
        """The inode has another name now; the target must be gone. Everything known below a directory
        comes along. `adopted` says, before or after, when B2 has an object under its new name."""
        if inode.unlinked:
            return
        old, parent = inode.path, self._resolver.parent(inode)
        new = directory.path.directory(name) if inode.is_directory else directory.path.file(name)
        there = self._record(new)
        self._overlay.settled(old.parent, old.name, None, None, inode.version)
        self._inodes.move(inode, new)
        if inode.is_directory:
            self._cache.moved(old, new)
            self._overlay.moved(old, new)
            self._lister.directory_moved(old, new)
        early = there.entry if there and not there.is_pending and not inode.is_directory else None
        if early is not None and early.version is not None:
            inode.version = early.version
            self._settle(new, inode, early)
        else:
            self._overlay.pending(new.parent, name, inode)
            self._keep(directory)
        inode.attributes = attrs.evolve(inode.attributes, changed_ns=self._now_ns())
        self._keep(parent)
        self._entries_changed(parent)
        self._entries_changed(directory)

    def published(self, inode: Inode, attributes: Attributes) -> None:
        """Programs of this machine see these attributes now; `adopted` will say when B2 has them.
        A file that others have replaced or removed since it was opened gets its name back: the last
        close wins."""
        inode.attributes = attributes
        inode.entries_changed_ns = 0
        if inode.unlinked or inode is self.root:
            return
        if inode.removed:
            self._inodes.reattach(inode)
        if (record := self._record(inode.path)) is None or not record.is_pending or record.inode is not inode:
            self._overlay.pending(inode.path.parent, inode.path.name, inode)
            self._keep(self._resolver.parent(inode))

    def adopted(self, path: ObjectPath, version: ObjectVersion) -> None:
        """B2 has `version` under `path` (a file, a directory or its placeholder), and nothing newer
        is pending here. The inode keeps its number and its times."""
        if (path := path.of_placeholder).is_directory:
            self._adopted_placeholder(path, version)
            return
        record = self._record(path)
        is_gone = record is not None and record.is_gone
        inode = None if is_gone else (record.inode if record else None) or self._inodes.at(path)
        if inode is not None and inode.kind is not kind_of(version):
            self._inodes.detach(inode)
            inode = None
        replaced = inode.version if inode else None
        if inode is not None:
            stored, is_ours = attributes_of(version, self._defaults), record is not None and record.is_pending
            inode.attributes = with_times_of(inode.attributes, stored, is_ours=is_ours)
            inode.version, inode.covers, inode.carried = version, False, None
        self._settle(path, inode, Entry(path.name, kind_of(version), version), replaced)

    def rebased(self, path: ObjectPath, version: ObjectVersion) -> None:
        """B2 has `version` under `path`, while a newer state of the file or directory is pending here."""
        if path != path.of_placeholder:
            self._has_placeholder(path.parent, version)
            return
        record = self._record(path)
        if record is None or not record.is_pending or record.inode is None:
            self.adopted(path, version)
            return
        record.inode.version, record.inode.covers = version, False
        self._overlay.rebased(path.parent, path.name, Entry(path.name, kind_of(version), version))

    def forget_listing(self, path: ObjectPath | None) -> None:
        """Ask B2 again for a path and all below it (None: for everything). What is pending stays."""
        self._cache.forget(path)
        self._overlay.forget(path)
        self._lister.forget(path)
        self._inodes.expire(path)

    def told(self, where: ObjectPath) -> dict[int, list[str]]:
        """The names at and below a directory's path (whatever is there) that the kernel knows, by the
        number of the directory that they stand in."""
        return self._inodes.told(where)

    # -- inside -----------------------------------------------------------------------------

    def _check_directory(self, directory: Inode) -> None:
        if not directory.is_directory:
            raise NotADirectory(str(directory.path))
        if directory.removed:
            raise NotFound(f"{directory.path} is gone")

    def _record(self, path: ObjectPath) -> Record | None:
        return self._overlay.get(path.parent, path.name)

    def _known(self, directory: Inode, name: str) -> Answer | None:
        """What is known without asking: this mount's own deeds first."""
        record = self._overlay.get(directory.path, name)
        return Answer(record.entry, record.until) if record else self._lister.known(directory.path, name)

    def _entries_changed(self, directory: Inode) -> None:
        now = self._now_ns()
        directory.entries_changed_ns = now
        directory.attributes = attrs.evolve(directory.attributes, modified_ns=now, changed_ns=now)
        self._changed[directory.number] = directory

    def _keep(self, directory: Inode) -> None:
        """The directory exists, whatever B2 shows: something in it is known here only, or what kept
        it in B2 may just have gone. So do those above it."""
        while directory is not self.root:
            path = directory.path
            record = self._record(path)
            self._overlay.pending(path.parent, path.name, directory)
            if record is not None and record.is_pending:
                return
            directory = self._resolver.parent(directory)

    def _settle(
        self, path: ObjectPath, inode: Inode | None, entry: Entry, replaced: ObjectVersion | None = None
    ) -> None:
        """B2 has it; so B2 has the directories above it as well."""
        self._overlay.settled(path.parent, path.name, inode, entry, replaced)
        above = path.parent
        while above != self.root.path and not self._overlay.has_pending(above):
            record = self._record(above)
            if record is None or not record.is_pending or record.inode is None:
                return
            own = Entry(above.name, Kind.DIRECTORY, record.inode.version)
            self._overlay.settled(above.parent, above.name, record.inode, own)
            above = above.parent

    def _has_placeholder(self, path: ObjectPath, version: ObjectVersion) -> Inode | None:
        self._index.changed(path)  # its own listing shows the placeholder
        if (listing := self._cache.listing(path)) is not None:
            listing.placeholder = version
        return self._resolver.keeps(self._inodes.at(path), version)

    def _adopted_placeholder(self, path: ObjectPath, version: ObjectVersion) -> None:
        if (inode := self._has_placeholder(path, version)) is not None:
            inode.carried = None
        if inode is not self.root and not self._overlay.has_pending(path):
            self._settle(path, inode, Entry(path.name, Kind.DIRECTORY, version))

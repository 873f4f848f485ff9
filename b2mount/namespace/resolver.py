"""Resolver: entries -> inodes, so that a name is the same inode whoever asks for it.

Invariants: an inode keeps its number as long as it is the same version, or the same directory; when
B2 shows something else under a name, that is a new inode, and the old one lives on for its handles.
What this mount did (the overlay) goes before what an entry says. A directory's attributes go with it
through every rename: what B2 shows under its name while one is under way may be another directory's.

Must not know: how entries are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from b2mount.model import Entry, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.directory_cache import Answer, DirectoryCache
from b2mount.namespace.inode import ROOT_NUMBER, Inode, InodeTable
from b2mount.namespace.listing import GIVEN_UP, Listing
from b2mount.namespace.overlay import Overlay
from b2mount.namespace.posix_info import (
    AttributeDefaults,
    attributes_of,
    bare_directory,
    placeholder_attributes,
)


class Resolver:
    """The inodes of a mount, and which entry is which."""

    def __init__(
        self,
        root: ObjectPath,
        overlay: Overlay,
        cache: DirectoryCache,
        defaults: AttributeDefaults,
        started_ns: int,
        root_number: int = ROOT_NUMBER,
    ) -> None:
        """Directories without a placeholder are as old as the mount: `started_ns`."""
        self._overlay = overlay
        self._cache = cache
        self._defaults = defaults
        self._bare: Final = bare_directory(defaults, started_ns)
        self.is_open: Callable[[ObjectPath], bool] = lambda _placeholder: False
        """Whether the placeholder that B2 shows under a name may be there for a move that is not done."""
        self.inodes: Final = InodeTable(root, self._bare, defaults, root_number)

    def resolve(self, directory: Inode, name: str, answer: Answer) -> Inode | None:
        """Who has the name now, `answer` being what the store says; None for nobody."""
        record = self._overlay.get(directory.path, name)
        if record is not None and record.inode is not None:
            return record.inode
        entry = answer.entry if record is None else record.entry
        expires = answer.expires if record is None else record.until
        inode = self.inodes.at(directory.path.file(name))
        if entry is None:
            self.inodes.detach(inode)
            return None
        if inode is None or not inode.stands_for(entry):
            self.inodes.detach(inode)
            inode = self._new_inode(directory.path, entry, expires)
        inode.fresh_until = max(inode.fresh_until, expires)
        return inode

    def child(self, directory: Inode, name: str) -> Inode | None:
        """Whoever has the name here, as far as anybody knows."""
        return self.inodes.at(directory.path.file(name))

    def listed(self, directory: Inode, listing: Listing, place: int) -> Inode | None:
        """Who has the name that stands at a place of a listing."""
        (chunk, row), path = listing.row(place), directory.path
        if not chunk.is_directory(row) and self._overlay.get(path, chunk.names[row]) is None:
            inode = self.inodes.listed(path, listing.table, chunk, row, listing.expires)
            if inode is not None:
                return inode
        entry = chunk.entry(row)
        return self.resolve(directory, entry.name, Answer(entry, listing.expires))

    def parent(self, inode: Inode) -> Inode:
        """The directory that an inode stands in; the root's is itself."""
        if inode is self.inodes.root:
            return inode
        path = inode.path.parent
        parent = self.inodes.at(path)
        return parent if parent is not None and parent.is_directory else self._new_directory(path)

    def learn(self, path: ObjectPath, listing: Listing) -> None:
        """A directory's own attributes stand on its placeholder, which only its own listing shows; not one
        that was given up while its page was on its way."""
        version, directory = listing.placeholder or listing.marker, self.inodes.at(path)
        if listing.expires == GIVEN_UP or (version is not None and self.is_open(version.path)):
            return
        if version is None or directory is None or not directory.is_directory:
            return
        known = directory.version
        if directory.carried is not None:
            return  # what this mount has said of it is still to come
        if known is not None and (known == version or known.uploaded_ms > version.uploaded_ms):
            return
        self._take_attributes(directory, version)

    def keeps(self, inode: Inode | None, version: ObjectVersion) -> Inode | None:
        """This mount has put a placeholder of a directory; the directory. If nothing was known of it yet,
        something is now: it may have been moved there from where nobody has listed it."""
        if inode is None or not inode.is_directory:
            return None
        if inode.version is None and inode.carried is None:
            self._take_attributes(inode, version)
        inode.version = version
        return inode

    def _take_attributes(self, directory: Inode, version: ObjectVersion) -> None:
        attributes = placeholder_attributes(version, self._defaults)
        changed = max(attributes.modified_ns, directory.entries_changed_ns)
        directory.attributes = attrs.evolve(attributes, modified_ns=changed)
        directory.version = version

    def _new_inode(self, directory: ObjectPath, entry: Entry, expires: float) -> Inode:
        if entry.kind is Kind.DIRECTORY or entry.version is None:
            return self._new_directory(directory.directory(entry.name))
        inode = self.inodes.found(directory, entry, expires)
        if inode is not None:
            return inode
        attributes = attributes_of(entry.version, self._defaults)
        return self.inodes.add(directory.file(entry.name), attributes, entry.version)

    def _new_directory(self, path: ObjectPath) -> Inode:
        inode = self.inodes.add(path, self._bare, None)
        listing = self._cache.listing(path)
        if listing is not None:
            self.learn(path, listing)
        return inode

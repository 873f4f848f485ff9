"""A namespace over an in-memory bucket, with every request counted, and pages that can be held up."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from b2mount.model import Attributes, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.namespace.inode import Inode
from b2mount.namespace.name_index import NameIndex
from b2mount.namespace.namespace import Namespace
from b2mount.namespace.posix_info import AttributeDefaults
from b2mount.store.interface import ObjectPage
from tests.fakes.memory_store import MemoryStore

TTL = 60.0
DEFAULTS = AttributeDefaults(uid=1000, gid=1000, umask=0o022)
STARTED_NS = 1_700_000_000_000_000_000


@attrs.define(eq=False)
class Calls:
    """The list requests that reached the store, as (prefix, start)."""

    seen: list[tuple[str, str]] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self.seen)


class WatchedStore(MemoryStore):
    """Counts list calls. `page_rows` makes pages short; `before_page` runs before each is answered,
    `after_page` once its rows are fixed and before they are handed over."""

    def __init__(self, page_rows: int = 1000) -> None:
        super().__init__("bucket")
        self.calls = Calls()
        self.page_rows = page_rows
        self.before_page: Callable[[str, str], object] | None = None
        self.gate: trio.Event | None = None
        """While it is not set, a page that has been asked for does not arrive."""

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        self.calls.seen.append((prefix, start))
        if self.before_page is not None:
            self.before_page(prefix, start)
        rows = min(limit, self.page_rows)
        page = await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=rows)
        if self.gate is not None:
            await self.gate.wait()
        return page

    def add(self, key: str, data: bytes = b"", **info: str) -> ObjectVersion:
        return self.seed(path(key), data, info)

    async def remove(self, key: str) -> None:
        await self.hide(path(key))


def path(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


def names_of(
    store: WatchedStore,
    *,
    ttl: float = TTL,
    root: str = "",
    max_names: int = 100_000,
    index: NameIndex | None = None,
) -> Namespace:
    return Namespace(
        BucketTree(store),
        path(root),
        defaults=DEFAULTS,
        ttl=ttl,
        max_names=max_names,
        index=index,
        now_ns=lambda: STARTED_NS + int(trio.current_time()),
    )


async def listed(names: Namespace, directory: Inode) -> list[str]:
    """All names of a directory, in the order in which they come."""
    return [inode.path.name for inode in await inodes_in(names, directory)]


async def inodes_in(names: Namespace, directory: Inode) -> list[Inode]:
    stream = names.children(directory)
    found: list[Inode] = []
    while (inode := await stream.get(len(found))) is not None:
        found.append(inode)
    return found


def a_file(size: int = 0, modified_ns: int = 5_000_000_001) -> Attributes:
    return Attributes(
        Kind.FILE,
        0o640,
        7,
        8,
        size=size,
        modified_ns=modified_ns,
        changed_ns=STARTED_NS,
        accessed_ns=STARTED_NS,
    )


def a_directory() -> Attributes:
    return attrs.evolve(a_file(), kind=Kind.DIRECTORY, mode=0o755)

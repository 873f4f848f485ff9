"""What renames and exchanges of objects have in common: copies inside B2, known again after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from b2mount.errors import (
    AccessDenied,
    B2MountError,
    KeyMissing,
    NotAuthorized,
    NotFound,
    OverQuota,
    Unavailable,
)
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.object_info import same_info

T = TypeVar("T")


def is_copy(version: ObjectVersion | None, source: ObjectVersion) -> bool:
    """Whether it is what a copy of `source` would be. Our copy is known by its size, SHA-1, content type
    and info (the mtime to the nanosecond included): were it somebody else's, the bytes would be the same.
    A large file has no SHA-1 of B2's, and its copy may have one."""
    return (
        version is not None
        and (version.size, version.content_type) == (source.size, source.content_type)
        and (version.sha1 == source.sha1 or None in (version.sha1, source.sha1))
        and same_info(version.info, source.info)
    )


async def newest(store: ObjectStore, path: ObjectPath) -> ObjectVersion | None:
    """What has the name now; None for nothing. Raises what the store raises."""
    try:
        return await store.stat(path)
    except NotFound:
        return None


def may_pass(error: B2MountError, store: ObjectStore) -> bool:
    """Whether B2 may remove a version later that it does not remove now, or say what a name shows: it is
    reached again, a cap is lifted, the key gets its rights back. Also a cap may show as AccessDenied: the
    reply to a HEAD says no more than 403."""
    if isinstance(error, AccessDenied) and not isinstance(error, KeyMissing):
        return "deleteFiles" in store.account.capabilities
    return isinstance(error, Unavailable | OverQuota | NotAuthorized)


async def in_parallel(width: int, work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    """Do `work` for every item, at most `width` at once. `work` must not raise."""
    todo = iter(items)

    async def some() -> None:
        for item in todo:
            await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(min(width, len(items))):
            nursery.start_soon(some)

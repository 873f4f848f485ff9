"""ObjectCopies: copies of whole objects inside B2, of any size.

Invariants: at most so many requests run at once as there are places, with those for huge objects apart, which
go by parts that take long; of a copy by parts that failed nothing is left in B2, or it is recorded for the
next mount.

Must not know: what a copy is for.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from b2mount.model import ByteRange, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.extents import Run, Source
from b2mount.writing.large_files import LargeFiles
from b2mount.writing.upload_plan import COPY_LIMIT, Parts, plan_upload

AT_ONCE: Final = 16


@attrs.define(eq=False)
class ObjectCopies:
    """See the module."""

    _store: ObjectStore
    _larges: LargeFiles
    _places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(AT_ONCE))
    _for_parts: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(AT_ONCE))

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        """Copy a version, with its metadata or with `metadata`. Raises what the store raises."""
        if version.size < COPY_LIMIT:
            async with self._places:
                return await self._store.copy(version, path, metadata)
        metadata = metadata or ObjectMetadata(version.content_type, version.info)
        await self._larges.abort_stale(path, metadata)
        plan = plan_upload([Run(ByteRange(0, version.size), Source.BASE)], version.size)
        assert isinstance(plan, Parts)
        large = await self._larges.begin(None, path, metadata, "")
        large.slots = self._for_parts
        try:
            copy = await self._larges.send(large, plan.parts, version, "", lambda sent: None, "")
        except Exception:
            await self._larges.end(large)
            raise
        await self._larges.end(large, copy)
        return copy

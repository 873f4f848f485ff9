"""A change of attributes alone is a copy inside B2 of the version that was known here. It gives way to what
others have made of the name since: their bytes are not covered by older ones.

One HEAD (class B) for each such copy. Between that and the copy others may still come: for as long as one
request takes.

Must not know: the queue, inodes.
"""

from __future__ import annotations

from b2mount.errors import AccessDenied, NotFound, Replaced
from b2mount.model import ObjectMetadata, ObjectVersion
from b2mount.store.interface import ObjectStore
from b2mount.writing.object_info import MODIFIED, same_info
from b2mount.writing.sealed_file import SealedFile


async def made_before(
    store: ObjectStore, sealed: SealedFile, base: ObjectVersion, metadata: ObjectMetadata
) -> ObjectVersion | None:
    """What the name has, when that is the copy already: the reply to an earlier try was lost. None when the
    copy is to be made. Raises Replaced, and what the store raises."""
    try:
        newest = await store.stat(sealed.path)
    except AccessDenied:
        return None
    except NotFound:
        raise Replaced(f"{sealed.path} has been removed by others") from None
    if newest.version_id == base.version_id:
        return None
    if not _has_same_bytes(newest, base):
        raise Replaced(f"{sealed.path} has version {newest.version_id} of others")
    is_made = newest.content_type == metadata.content_type and same_info(newest.info, metadata.info)
    return newest if is_made else None


def _has_same_bytes(one: ObjectVersion, other: ObjectVersion) -> bool:
    """So it is with what an earlier try has made, maybe of other attributes. Where nobody knows the SHA-1 of
    large files, their modification time has to tell."""
    if one.size != other.size or one.sha1 != other.sha1:
        return False
    return one.sha1 is not None or one.info.get(MODIFIED) == other.info.get(MODIFIED)


def base_of_change(sealed: SealedFile) -> ObjectVersion | None:
    """The version that had the name, where nothing but attributes was changed; else None."""
    base = sealed.base
    if not sealed.keeps_bytes or not isinstance(base, ObjectVersion) or base.path != sealed.path:
        return None
    return None if sealed.extents.staged_stop or sealed.size != base.size else base

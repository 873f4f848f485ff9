"""check_keys: whether B2 lets this mount copy objects, asked before many are, so that none is left half way.

Must not know: what they are copied for.
"""

from __future__ import annotations

from collections.abc import Sequence

from b2mount.model import Encryption, ObjectVersion
from b2mount.store.interface import ObjectStore


async def check_keys(store: ObjectStore, versions: Sequence[ObjectVersion]) -> None:
    """Raises KeyMissing when one of them is known to have another key. Of those that are encrypted with a
    key of their own B2 is asked for one: what stands together has one key nearly always."""
    for version in versions:
        store.check_key(version)
    for version in versions:
        if version.encryption is Encryption.SSE_C and version.size:
            await store.try_key(version)
            return

"""Which object info goes up with a file, within what B2 takes beside an object. Pure.

B2 takes ten pairs; name, keys and values together may have 7,000 bytes, or 2,048 in a bucket with
encryption or Object Lock. What others have written stays; what we add gives way where there is no
room for it, the least important first: a file that loses its mode is better than one that can't be
changed.

Must not know: the store, where the info comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from b2mount.model import ObjectMetadata, ObjectPath

LARGE_FILE_SHA1: Final = "large_file_sha1"
"""Where all tools look for the SHA-1 of a large file."""
GIVING_WAY: Final = (LARGE_FILE_SHA1, "posix", "src_last_modified_millis")
MAXIMUM_PAIRS: Final = 10
MAXIMUM_BYTES: Final = 7000
MAXIMUM_BYTES_LOCKED: Final = 2048


def plain(info: Mapping[str, str]) -> dict[str, str]:
    """Without the SHA-1, which speaks of certain bytes."""
    return {key: value for key, value in info.items() if key != LARGE_FILE_SHA1}


def same_info(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two objects carry the same info, but for the SHA-1."""
    return plain(one) == plain(other)


def fitting(path: ObjectPath, metadata: ObjectMetadata, sha1: str | None = None) -> ObjectMetadata:
    """`metadata` with this SHA-1 and no other, as far as B2 takes it beside an object at `path`."""
    info = plain(metadata.info)
    if sha1 is not None:
        info[LARGE_FILE_SHA1] = sha1
    foreign = {key: value for key, value in info.items() if key not in GIVING_WAY}
    # nobody tells us which limit holds here: what is there already tells whether the lower one can
    is_low = _size(path, foreign) <= MAXIMUM_BYTES_LOCKED
    limit = MAXIMUM_BYTES_LOCKED if is_low else MAXIMUM_BYTES
    for key in GIVING_WAY:
        if len(info) > MAXIMUM_PAIRS or _size(path, info) > limit:
            info.pop(key, None)
    return attrs.evolve(metadata, info=info)


def _size(path: ObjectPath, info: Mapping[str, str]) -> int:
    texts = (path.key, *info.keys(), *info.values())
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

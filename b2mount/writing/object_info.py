"""Which object info and content type go up with a file: what B2 takes beside an object. Pure.

B2 takes ten pairs; name, keys and values together may have 7,000 bytes, or 2,048 in a bucket with
encryption or Object Lock. What others have written stays; what we add gives way where there is no
room for it, the least important first: a file that loses its mode is better than one that can't be
changed.

Must not know: the store, where the info comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import attrs

from b2mount.errors import InvalidArgument, NoRoom
from b2mount.model import ObjectMetadata, ObjectPath

LARGE_FILE_SHA1: Final = "large_file_sha1"
"""Where all tools look for the SHA-1 of a large file."""
MODIFIED: Final = "src_last_modified_millis"
"""Where all tools look for the modification time."""
GIVING_WAY: Final = (LARGE_FILE_SHA1, "posix", MODIFIED)
MAXIMUM_PAIRS: Final = 10
MAXIMUM_BYTES: Final = 7000
MAXIMUM_BYTES_LOCKED: Final = 2048
STANDARD_HEADERS: Final = (
    "b2-content-disposition",
    "b2-content-language",
    "b2-expires",
    "b2-cache-control",
    "b2-content-encoding",
)
"""The only info keys with B2's own prefix; downloads show them as plain headers."""

_KEY = re.compile(r"[a-z0-9_.`~!#$%^&*'|+-]{1,50}")
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_CONTENT_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}( *; *[ -~]{{1,200}})?")


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


def check_pair(key: str, value: str) -> None:
    """Whether B2 takes this pair of object info; keys are lower case. Raises InvalidArgument."""
    if not _KEY.fullmatch(key):
        raise InvalidArgument("a key of object info has 1 to 50 letters, digits and -_.`~!#$%^&*'|+")
    if key.startswith("b2-"):
        if key not in STANDARD_HEADERS:
            raise InvalidArgument(f"B2 keeps keys with b2- for itself, but for {', '.join(STANDARD_HEADERS)}")
        if not (value.isascii() and value.isprintable()):
            raise InvalidArgument(f"{key} travels as a plain header: only ASCII will do")
    if not value or "\0" in value:
        raise InvalidArgument("a value of object info is a text that is not empty")


def check_content_type(text: str) -> None:
    """Raises InvalidArgument for what no header `Content-Type` can say."""
    if not _CONTENT_TYPE.fullmatch(text) or text.startswith("b2/"):
        raise InvalidArgument("a content type is written like text/plain or text/html; charset=utf-8")


def check_room(path: ObjectPath, before: ObjectMetadata, after: ObjectMetadata) -> None:
    """Whether B2 takes `after`, where it has taken `before`, with nothing giving way, room for the
    SHA-1 of a large file included. Counts as B2 does in the worst case: the lower limit, unless
    `before` is past it, and percent-encoded. Raises NoRoom."""
    old, new = _encoded_size(path, before.info), _encoded_size(path, after.info)
    limit = MAXIMUM_BYTES_LOCKED if old <= MAXIMUM_BYTES_LOCKED else MAXIMUM_BYTES
    if len(plain(after.info)) >= MAXIMUM_PAIRS and len(after.info) > len(before.info):
        raise NoRoom(f"B2 keeps {MAXIMUM_PAIRS} pairs of object info at most")
    if new > limit and new > old:
        raise NoRoom(f"B2 keeps {limit} bytes of name and object info at most")


def _encoded_size(path: ObjectPath, info: Mapping[str, str]) -> int:
    with_sha1 = {**info, LARGE_FILE_SHA1: "0" * 40}
    texts = (path.key, *with_sha1.keys(), *with_sha1.values())
    return sum(len(quote(text, errors="surrogatepass")) for text in texts)


def _size(path: ObjectPath, info: Mapping[str, str]) -> int:
    texts = (path.key, *info.keys(), *info.values())
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

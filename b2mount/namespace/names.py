"""Names and keys: which keys a path can spell, and which new names B2 would take. Pure.

Invariants: on the names that can be spelled, name <-> key is a bijection; all others are invisible,
and counted. A directory's placeholder is never a name.

Must not know: the store, inodes, time.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import attrs

from b2mount.errors import BadName, IllegalCharacters, NameTooLong
from b2mount.model import DELIMITER, PLACEHOLDER, ObjectPath

MAX_NAME_BYTES: Final = 255
"""What Linux can show (NAME_MAX)."""
MAX_SEGMENT_BYTES: Final = 250
"""What B2 takes as one component of a name: the NAME_MAX of a mount."""
MAX_KEY_BYTES: Final = 1000
"""What the B2 library sends. The service documents 1024 today, 1000 earlier."""
MIN_BUCKET_NAME: Final = 6
MAX_BUCKET_NAME: Final = 63
_BUCKET_NAME: Final = re.compile("[A-Za-z0-9-]{6,}")
MAX_TARGET_BYTES: Final = 4095
"""What Linux can show (PATH_MAX)."""
MAX_ENCODED_TARGET: Final = 5500
"""Percent-encoded: a target shares B2's limit for name and object info, 7,000 bytes, with a key of 1,000
and what we add."""
SAFE_TARGET_BYTES: Final = 1024
"""A longer one may be too much where the limit is 2,048 bytes: with encryption or Object Lock."""
_ODD_KEYS_REMEMBERED: Final = 10_000


def can_be_spelled(name: str) -> bool:
    """Whether a component of a key can be a name in a directory."""
    if name in ("", ".", "..", PLACEHOLDER) or DELIMITER in name or "\0" in name:
        return False
    size = encoded_size(name)
    return size is not None and size <= MAX_NAME_BYTES


def encoded_size(text: str) -> int | None:
    """Length in UTF-8, None for what is not Unicode (bytes of a path that are no UTF-8)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def check_looked_up_name(name: str) -> None:
    """Raises NameTooLong for what no Linux file system has. The kernel leaves that to us."""
    if len(name.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
        raise NameTooLong(f"a name of more than {MAX_NAME_BYTES} bytes")


def check_absent_name(name: str) -> None:
    """Raises NameTooLong for what is not there and could never be made. One that other software has
    made is there, so it is not asked about here."""
    if len(name.encode(errors="surrogateescape")) > MAX_SEGMENT_BYTES:
        raise NameTooLong(f"a name of more than {MAX_SEGMENT_BYTES} bytes")


def check_new_name(directory: ObjectPath, name: str) -> None:
    """Whether B2 would take an object of this name. Raises NameTooLong, BadName, IllegalCharacters."""
    _check(directory.key + name, name)


def check_new_directory_name(directory: ObjectPath, name: str) -> None:
    """The same for a directory, whose placeholder has to fit as well."""
    _check(directory.key + name + DELIMITER + PLACEHOLDER, name)


def check_moved(old: ObjectPath, new: ObjectPath) -> None:
    """Whether B2 would take what is below a directory under its new name. What others have given a longer
    name than that may keep its length. Raises NameTooLong."""
    size = encoded_size(new.key) or 0
    if size > max(MAX_KEY_BYTES, encoded_size(old.key) or 0):
        raise NameTooLong(f"a path in it would have {size} bytes in the bucket; B2 takes {MAX_KEY_BYTES}")


def check_new_bucket_name(name: str) -> None:
    """Whether B2 would take a bucket of this name. Raises NameTooLong, BadName."""
    if len(name) > MAX_BUCKET_NAME:
        raise NameTooLong(f"a bucket's name has at most {MAX_BUCKET_NAME} characters")
    if not _BUCKET_NAME.fullmatch(name):
        raise BadName(f"a bucket's name has {MIN_BUCKET_NAME} to {MAX_BUCKET_NAME} of a-z, A-Z, 0-9 and -")
    if name.lower().startswith("b2-"):
        raise BadName("names of buckets that begin with b2- are Backblaze's own")


def check_new_target(target: str) -> None:
    """Whether a symlink can point there. Raises NameTooLong, BadName, IllegalCharacters."""
    size = encoded_size(target)
    if size is None or "\0" in target:
        raise IllegalCharacters("B2 keeps symlink targets as UTF-8 text only")
    if not target:
        raise BadName("a symlink needs a target")
    if size > MAX_TARGET_BYTES or len(quote(target)) > MAX_ENCODED_TARGET:
        raise NameTooLong(f"a symlink target of {size} bytes; B2 has room for {MAX_ENCODED_TARGET} encoded")


def _check(key: str, name: str) -> None:
    size = encoded_size(name)
    if size is None:
        raise IllegalCharacters("B2 takes names in UTF-8 only")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
        raise IllegalCharacters(f"B2 takes no control characters in names: {name!r}")
    if size > MAX_SEGMENT_BYTES:
        raise NameTooLong(f"a name of {size} bytes; B2 takes {MAX_SEGMENT_BYTES}")
    if "\\" in name:
        raise BadName(f"B2 takes no backslash in names: {name!r}")
    if not can_be_spelled(name):
        raise BadName(f"not a name for a file: {name!r}")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise NameTooLong(f"a path of more than {MAX_KEY_BYTES} bytes in the bucket")


@attrs.define
class OddNames:
    """The keys seen that no path can spell. Exact up to ten thousand, then it stops counting."""

    _keys: set[str] = attrs.field(factory=set, init=False)

    def saw(self, keys: tuple[str, ...]) -> None:
        """Remember them; a key counts once, however often it is listed."""
        if keys and len(self._keys) < _ODD_KEYS_REMEMBERED:
            self._keys.update(keys)

    def __len__(self) -> int:
        return len(self._keys)

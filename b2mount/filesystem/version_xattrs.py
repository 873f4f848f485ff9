"""What can be read of a version as extended attributes, whatever name it is seen under. Pure.

Must not know: which version a name stands for now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from b2mount.errors import NoAttribute
from b2mount.model import ObjectVersion
from b2mount.moments import moment_name
from b2mount.namespace.posix_info import MODIFIED, POSIX, SYMLINK, WHOLE_FILE_SHA1
from b2mount.namespace.stored_xattrs import XATTR, stored_in

USER: Final = b"user."
OURS: Final = b"user.b2."
INFO: Final = b"user.b2.info."
URL: Final = b"user.b2.url"
OWN_KEYS: Final = frozenset({MODIFIED, POSIX, SYMLINK, WHOLE_FILE_SHA1, XATTR})
"""Object info that is a file's mode, times and so on: to be read, and changed by their own calls."""
LONGEST_NAME: Final = 255
"""Bytes of an attribute's name that Linux takes."""


def _uploaded(version: ObjectVersion) -> str:
    text = moment_name(version.uploaded_ms, digits=True)
    if text.isdecimal():
        raise NoAttribute("B2 gave no time that a calendar has")
    return text


FACTS: Final[Mapping[bytes, Callable[[ObjectVersion], str]]] = {
    b"user.b2.file_id": lambda version: version.version_id,
    b"user.b2.uploaded": _uploaded,
    b"user.b2.encryption": lambda version: version.encryption.value,
    b"user.b2.action": lambda version: version.action.value,
    b"user.b2.name": lambda version: version.path.key,
}
"""What is to be said of a version in B2, whatever waits to replace it."""

_ALWAYS: Final[Mapping[bytes, Callable[[ObjectVersion], str | None]]] = {
    **FACTS,
    b"user.b2.sha1": lambda version: version.sha1,
    b"user.b2.content_type": lambda version: version.content_type,
    b"user.b2.state": lambda _: "clean",
}


def attribute_of(version: ObjectVersion | None, name: bytes) -> bytes:
    """The value of an attribute in `user.`. Raises NoAttribute."""
    value: bytes | str | None = None
    if version is not None and name.startswith(INFO):
        value = version.info.get(info_key(name))
    elif version is not None and name.startswith(OURS):
        value = _ALWAYS[name](version) if name in _ALWAYS else None
    elif version is not None:
        value = stored_in(version.info).get(name.removeprefix(USER))
    if value is None:
        raise NoAttribute(name.decode(errors="backslashreplace"))
    return value.encode(errors="surrogatepass") if isinstance(value, str) else value


def listed_attributes(info: Mapping[str, str]) -> list[bytes]:
    """The names of what belongs to a file with this object info: its own attributes, and others' info."""
    own = [USER + name for name in stored_in(info)]
    keys = [INFO + key.encode(errors="surrogatepass") for key in info if key not in OWN_KEYS]
    listed = {name for name in own if not name.startswith(OURS)}
    listed |= {name for name in keys if b"\0" not in name and len(INFO) < len(name) <= LONGEST_NAME}
    return sorted(listed)


def info_key(name: bytes) -> str:
    """The key of object info that an attribute stands for. B2 makes all keys lower case."""
    return name.removeprefix(INFO).decode(errors="replace").lower()

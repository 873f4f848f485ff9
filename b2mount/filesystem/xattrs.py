"""Xattrs: extended attributes of files and directories, all in the namespace `user`.

Three kinds: what b2mount and B2 know of a file (`user.b2.state` and the like: there to be read,
and not listed, so that `cp -a` and `rsync -X` carry what belongs to the file and nothing else);
object info as `user.b2.info.KEY`; all others of `user.*`, stored in one pair of object info.

Invariants: reading asks nobody; every name that is listed can be read; a change is one of metadata
alone, on the same way as a chmod: with the bytes that are on their way, else a copy inside B2.
Other namespaces are NotSupported before anything is looked at: the kernel and `ls -l` ask for them
again and again.

Flags of setxattr(2) do not come here: pyfuse3 asks `get` before `set` for XATTR_CREATE and
XATTR_REPLACE, so of two programs that create one name at a time both may succeed; the kernel holds
the inode meanwhile, which leaves only programs on other machines. User attributes of symlinks are
refused by the kernel itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import attrs

from b2mount.errors import FixedAttribute, InvalidArgument, NoAttribute, NotSupported
from b2mount.filesystem.changing import Changer
from b2mount.filesystem.committer import Committer
from b2mount.filesystem.protecting import ASKED_FOR, Protector, told
from b2mount.filesystem.version_xattrs import (
    FACTS,
    INFO,
    OURS,
    OWN_KEYS,
    URL,
    USER,
    info_key,
    listed_attributes,
)
from b2mount.model import AUTOMATIC, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.namespace.inode import Inode
from b2mount.namespace.posix_info import metadata_of
from b2mount.namespace.stored_xattrs import stored_in, with_stored
from b2mount.store.interface import ObjectStore
from b2mount.writing.object_info import check_content_type, check_pair, check_room

T = TypeVar("T")

CONTENT_TYPE: Final = b"user.b2.content_type"
STATE: Final = b"user.b2.state"
SHA1: Final = b"user.b2.sha1"

FIXED: Final = frozenset({*FACTS, STATE, SHA1, URL})


@attrs.define(eq=False)
class Xattrs:
    """getxattr(2) and its like; names are bytes with their namespace."""

    _store: ObjectStore
    _committer: Committer
    _changer: Changer
    _is_past: bool
    """Whether files may have newer versions than those that are shown."""
    _protector: Protector = attrs.field(init=False)

    @_protector.default
    def _make_protector(self) -> Protector:
        return Protector(self._store, self._committer)

    async def get(self, inode: Inode, name: bytes) -> bytes:
        """The value. Raises NoAttribute."""
        if name in ASKED_FOR:
            return await told(self._store, _version_of(inode), name)
        if name.startswith(INFO):
            text = self._info(inode).get(info_key(name))
            return _found(text, name).encode(errors="surrogatepass")
        if name.startswith(OURS):
            return _found(self._said(inode, name), name).encode(errors="surrogatepass")
        return _found(stored_in(inode.metadata.info).get(name.removeprefix(USER)), name)

    def names(self, inode: Inode) -> list[bytes]:
        """What belongs to the file: its own attributes and the object info of others."""
        return listed_attributes(inode.metadata.info)

    async def set(self, inode: Inode, name: bytes, value: bytes) -> None:
        """What programs keep with a file goes the way of its mode; of what B2 makes use of itself, B2 has
        it when this returns, or it goes with the bytes that are on their way. Raises FixedAttribute,
        InvalidArgument, NoRoom, NotSupported."""
        if name in ASKED_FOR:
            await self._protector.set(inode, name, value)
            return
        await self._changer.learn(inode)
        before = inode.metadata
        if name == CONTENT_TYPE:
            after = attrs.evolve(before, content_type=_content_type(value))
        elif name.startswith(INFO):
            key, text = info_key(name), _text(value)
            check_pair(key, text)
            after = attrs.evolve(before, info={**before.info, _not_own(key): text})
        elif name.startswith(OURS):
            raise _not_settable(name)
        else:
            stored = stored_in(before.info) | {name.removeprefix(USER): value}
            after = attrs.evolve(before, info=with_stored(before.info, stored))
        await self._change(inode, after, wait=name.startswith(OURS))

    async def remove(self, inode: Inode, name: bytes) -> None:
        """As `set`. Raises NoAttribute, FixedAttribute."""
        if name in ASKED_FOR:
            await self._protector.remove(inode, name)
            return
        await self._changer.learn(inode)
        await self.get(inode, name)
        before = inode.metadata
        if name.startswith(INFO):
            key = _not_own(info_key(name))
            info = {other: text for other, text in before.info.items() if other != key}
        elif name.startswith(OURS):
            raise FixedAttribute(f"{_shown(name)} can't be removed")
        else:
            stored = stored_in(before.info)
            del stored[name.removeprefix(USER)]
            info = with_stored(before.info, stored)
        await self._change(inode, attrs.evolve(before, info=info), wait=name.startswith(OURS))

    async def _change(self, inode: Inode, after: ObjectMetadata, *, wait: bool) -> None:
        before = inode.metadata
        if after == before:
            return
        attributes = inode.attributes
        check_room(inode.object_path, metadata_of(attributes, before), metadata_of(attributes, after))
        await self._changer.change_metadata(inode, after, wait=wait)

    def _info(self, inode: Inode) -> Mapping[str, str]:
        """As it is in B2, or as it will be."""
        is_clean = inode.version is not None and self._committer.state(inode) == "clean"
        return inode.metadata.info if is_clean else metadata_of(inode.attributes, inode.metadata).info

    def _said(self, inode: Inode, name: bytes) -> str | None:
        version = _version_of(inode)
        if name == STATE:
            return self._committer.state(inode)
        if name == CONTENT_TYPE:
            known = inode.metadata.content_type
            return None if known == AUTOMATIC else known
        if version is None:
            return None
        if name == SHA1:
            return version.sha1 if self._committer.state(inode) == "clean" else None
        if name == URL:
            return None if inode.is_directory else self._url(inode.path, version)
        fact = FACTS.get(name)
        return fact(version) if fact is not None else None

    def _url(self, path: ObjectPath, version: ObjectVersion) -> str:
        return self._store.url_of(version) if self._is_past else self._store.url(path)


def check_namespace(name: bytes) -> None:
    """Raises NotSupported for security.*, system.*, trusted.* and whatever else is not user.*. Not
    NoAttribute: `ls -l` would go on to ask twice for every file. Raises InvalidArgument for `user.` alone."""
    if name == USER:
        raise InvalidArgument("an attribute needs a name")
    if not name.startswith(USER):
        raise NotSupported("only user.* attributes are kept")


def _version_of(inode: Inode) -> ObjectVersion | None:
    """What B2 has of it under its name; a renamed file that is on its way has nothing there yet."""
    version = inode.version
    if version is None or (not inode.is_directory and version.path != inode.path):
        return None
    return version


def _found(value: T | None, name: bytes) -> T:
    if value is None:
        raise NoAttribute(_shown(name))
    return value


def _not_settable(name: bytes) -> Exception:
    if name in FIXED:
        return FixedAttribute(f"{_shown(name)} says how things are and can't be set")
    return NotSupported(f"b2mount knows no attribute {_shown(name)}")


def _not_own(key: str) -> str:
    if key in OWN_KEYS:
        raise FixedAttribute(f"{key} is where mode, times and attributes are kept: change them instead")
    return key


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidArgument("object info is text in UTF-8") from None


def _content_type(value: bytes) -> str:
    text = _text(value)
    check_content_type(text)
    return text


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")

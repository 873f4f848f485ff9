"""Protector: retention and legal hold of files, as extended attributes; and what they keep from being
deleted.

Invariants: what is set goes to the version that has all that programs have written, once it is in B2; it
is B2's word that is told, asked for each time.

Must not know: what else there is of attributes.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from b2mount.errors import AccessDenied, InvalidArgument, NoAttribute, NotFound, NotPermitted, NotSupported
from b2mount.filesystem.committer import Committer
from b2mount.model import Kind, ObjectPath, ObjectVersion, Protection, Retention, RetentionMode
from b2mount.moments import moment_name
from b2mount.namespace.inode import Inode
from b2mount.option_values import parse_duration
from b2mount.store.interface import ObjectStore, VersionCursor

RETENTION: Final = b"user.b2.retention"
LEGAL_HOLD: Final = b"user.b2.legal_hold"
ASKED_FOR: Final = frozenset({RETENTION, LEGAL_HOLD})
"""Attributes for which B2 is asked."""
LAST_MOMENT: Final = 253_402_300_799_000
"""The end of the year 9999."""

_DURATION: Final = re.compile(r"[0-9.]+\s*[smhdw]", re.IGNORECASE)
_MODES: Final = {mode.value: mode for mode in RetentionMode}
_HOLDS: Final = {b"on": True, b"off": False}


@attrs.define(eq=False)
class Protector:
    """See the module."""

    _store: ObjectStore
    _committer: Committer

    async def set(self, inode: Inode, name: bytes, value: bytes) -> None:
        """B2 has it when this returns, and all of the file. Raises InvalidArgument, NotSupported, and
        NotPermitted or AccessDenied for less than there is."""
        if name == LEGAL_HOLD:
            if (on := _HOLDS.get(value.strip().lower())) is None:
                raise InvalidArgument("a legal hold is on or off")
            await self._store.set_legal_hold(await self._arrived(inode), on=on)
        else:
            retention = parse_retention(value.decode(errors="replace"), time.time_ns() // 1_000_000)
            await self._store.set_retention(await self._arrived(inode), retention)

    async def remove(self, inode: Inode, name: bytes) -> None:
        """Take it away. Raises NoAttribute where there is no retention, and as `set`."""
        if name == LEGAL_HOLD:
            await self._store.set_legal_hold(await self._arrived(inode), on=False)
            return
        version = await self._arrived(inode)
        await told(self._store, version, name)
        await self._store.set_retention(version, None)

    async def _arrived(self, inode: Inode) -> ObjectVersion:
        """The version that has all that was written. Raises the upload's error."""
        if inode.kind is not Kind.FILE:
            raise NotSupported("only files have retention and legal holds")
        content = self._committer.known(inode)
        if content is not None:
            await self._committer.send(content)
        if inode.version is None or inode.unlinked:
            raise NotFound("the file was removed")
        return inode.version


async def told(store: ObjectStore, version: ObjectVersion | None, name: bytes) -> bytes:
    """What an attribute of ASKED_FOR says of a version: `governance 2027-01-31T12:00:00Z`, or `on` or
    `off`. Raises NoAttribute where there is no retention, AccessDenied when the key may not see it."""
    if version is None:
        raise NoAttribute("B2 has nothing of it")
    found = await store.protection(version)
    if name == LEGAL_HOLD:
        _check_seen(found, "readFileLegalHolds")
        return b"on" if found.legal_hold else b"off"
    _check_seen(found, "readFileRetentions")
    if found.retention is None:
        raise NoAttribute("the file has no retention")
    return f"{found.retention.mode.value} {moment_name(found.retention.until_ms)}".encode()


async def deletable(
    store: ObjectStore, path: ObjectPath, version_id: str | None = None
) -> tuple[ObjectVersion, ...]:
    """All versions of exactly this name, newest first, or the one with an id. Raises NotPermitted, with
    the reason, when one of them can't be deleted, as far as the key may see that: then none is to be."""
    found: list[ObjectVersion] = []
    cursor: VersionCursor | None = VersionCursor(path.key, None)
    while cursor is not None and cursor.key == path.key:
        page = await store.list_versions(path.bucket, path.key, start=cursor)
        for version in page.versions:
            if version.path == path and version_id in (None, version.version_id):
                check_deletable(version, page.protections.get(version.version_id))
                found.append(version)
        cursor = page.next_cursor
    return tuple(found)


def check_deletable(version: ObjectVersion, protection: Protection | None) -> None:
    """Raises NotPermitted, with the reason."""
    if protection is None or not protection.forbids(time.time_ns() // 1_000_000):
        return
    retention = protection.retention
    if protection.legal_hold or retention is None:
        reason = "a legal hold"
    else:
        reason = f"{retention.mode.value} retention until {moment_name(retention.until_ms)}"
    moment = moment_name(version.uploaded_ms)
    raise NotPermitted(f"{version.path} can't be deleted: its version of {moment} is under {reason}")


def parse_retention(text: str, now_ms: int) -> Retention:
    """`governance` or `compliance`, and until when: a date, a moment, or how long from now (`30d`). What
    has no zone is of this machine's. Raises InvalidArgument."""
    word, _, end = text.strip().partition(" ")
    mode, until_ms = _MODES.get(word.lower()), _end(end.strip(), now_ms)
    if mode is None or until_ms is None:
        raise InvalidArgument(
            f"{text!r} is not a retention such as 'governance 2027-01-31T12:00:00Z' or 'compliance 30d'"
        )
    if not now_ms < until_ms <= LAST_MOMENT:
        raise InvalidArgument(f"{text!r}: a retention must end in the future")
    return Retention(mode, until_ms)


def _end(text: str, now_ms: int) -> int | None:
    try:
        if _DURATION.fullmatch(text):
            return now_ms + round(parse_duration(text) * 1000)
        moment = datetime.fromisoformat(text).astimezone()
        return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def _check_seen(found: Protection, capability: str) -> None:
    if capability in found.unseen:
        raise AccessDenied(f"the application key may not see that (no {capability})")

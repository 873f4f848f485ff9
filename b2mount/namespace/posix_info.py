"""POSIX attributes <-> the object info that B2 keeps with each version. Pure.

Invariants: reading never raises, whatever others wrote into the info: each value that is broken or
absurd falls back to its default, alone. What info_of writes, attributes_of reads back, to the
nanosecond.

The info keys: `src_last_modified_millis` is the mtime as the b2 tool and rclone write it; `posix` is
"mode=100644,uid=0,gid=0,ns=123456" (mode octal with type bits, ns the part of the mtime below a
millisecond, rdev=259 the number of a device node; names in it that we don't know are kept); `symlink`
on an empty object is a target. The type bits of an empty object tell a FIFO, a socket and devices.

Must not know: names, inodes, the store.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs

from b2mount.model import TYPE_BITS, Attributes, Kind, ObjectMetadata, ObjectVersion

MODIFIED: Final = "src_last_modified_millis"
POSIX: Final = "posix"
SYMLINK: Final = "symlink"
WHOLE_FILE_SHA1: Final = "large_file_sha1"

NS_PER_MS: Final = 1_000_000
MAX_TARGET_BYTES: Final = 4095
MAX_NS: Final = 2**63 - 1
MAX_ID: Final = 2**32 - 2
"""The largest user or group id: the next one means "none" to chown(2)."""
MAX_DEVICE: Final = 2**32 - 1
_DEVICES: Final = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)

_DECIMAL = re.compile(r"[0-9]{1,19}")
_OCTAL = re.compile(r"[0-7]{1,7}")
_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,32}=[A-Za-z0-9_.+-]{0,64}")
_OWN_FIELDS: Final = ("mode", "uid", "gid", "ns", "rdev")
_NODES: Final = {
    TYPE_BITS[kind]: kind for kind in (Kind.FIFO, Kind.SOCKET, Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
}
_NODE_MODE = re.compile(r"mode=([0-7]{1,7})(?:,|$)")


@attrs.frozen
class AttributeDefaults:
    """Whose files are, and with which permissions, where the object info does not say."""

    uid: int
    gid: int
    umask: int

    def mode(self, kind: Kind) -> int:
        """Permission bits of an entry that nobody gave any."""
        if kind is Kind.SYMLINK:
            return 0o777
        return (0o777 if kind is Kind.DIRECTORY else 0o666) & ~self.umask


def kind_of(version: ObjectVersion) -> Kind:
    """What an object stands for: a file; when it is empty, a symlink if it names a usable target, or
    what the type bits of its mode say."""
    if version.size or not version.info:
        return Kind.FILE
    return Kind.SYMLINK if _target(version) is not None else _node_kind(version.info.get(POSIX, ""))


def attributes_of(version: ObjectVersion, defaults: AttributeDefaults) -> Attributes:
    """The attributes of anything but a directory, from its version. Never raises."""
    kind = kind_of(version)
    target = _target(version) if kind is Kind.SYMLINK else None
    size = version.size if target is None else len(target.encode())
    return _attributes(version, kind, defaults, size, target)


def placeholder_attributes(version: ObjectVersion, defaults: AttributeDefaults) -> Attributes:
    """The attributes of a directory, from its placeholder. Never raises."""
    return _attributes(version, Kind.DIRECTORY, defaults, 0, None)


def file_attributes(
    size: int,
    uploaded_ms: int,
    modified_ms: int | None,
    posix: str,
    fraction_ns: int,
    defaults: AttributeDefaults,
) -> Attributes:
    """As `attributes_of`, of a file whose info has these two values, in the form in which info_of writes
    them: `posix` is the whole value up to the number at its end. For speed."""
    mode, uid, gid = _owner(posix, defaults.uid, defaults.gid, defaults.umask)
    uploaded = min(max(uploaded_ms, 0) * NS_PER_MS, MAX_NS)
    modified = uploaded
    if modified_ms is not None and modified_ms <= MAX_NS // NS_PER_MS:
        modified = min(modified_ms * NS_PER_MS + (fraction_ns if fraction_ns < NS_PER_MS else 0), MAX_NS)
    return Attributes(Kind.FILE, mode, uid, gid, size, modified, uploaded, modified)


@lru_cache(1024)
def _owner(posix: str, uid: int, gid: int, umask: int) -> tuple[int, int, int]:
    fields, defaults = _fields({POSIX: posix}), AttributeDefaults(uid, gid, umask)
    return (
        _mode(fields, Kind.FILE, defaults),
        _number(fields.get("uid"), MAX_ID, uid),
        _number(fields.get("gid"), MAX_ID, gid),
    )


def bare_directory(defaults: AttributeDefaults, moment_ns: int) -> Attributes:
    """The attributes of a directory that has no placeholder, or whose placeholder is not known."""
    return Attributes(
        Kind.DIRECTORY,
        defaults.mode(Kind.DIRECTORY),
        defaults.uid,
        defaults.gid,
        size=0,
        modified_ns=moment_ns,
        changed_ns=moment_ns,
        accessed_ns=moment_ns,
    )


def info_of(attributes: Attributes, base_info: Mapping[str, str]) -> dict[str, str]:
    """The object info for a version with these attributes: what others put into `base_info` stays.

    The SHA-1 of a large file is left out, since it speaks of other bytes. Times before 1970 become
    1970, because the tools that share the key know no earlier ones.
    """
    millis, ns = divmod(min(max(attributes.modified_ns, 0), MAX_NS), NS_PER_MS)
    own = {
        "mode": f"{TYPE_BITS[attributes.kind] | stat.S_IMODE(attributes.mode):o}",
        "uid": str(attributes.uid),
        "gid": str(attributes.gid),
        "ns": str(ns),
    }
    if attributes.device:
        own["rdev"] = str(attributes.device)
    strange = {name: text for name, text in _fields(base_info).items() if name not in _OWN_FIELDS}
    ours = {MODIFIED, POSIX, SYMLINK, WHOLE_FILE_SHA1}
    info = {key: value for key, value in base_info.items() if key not in ours}
    info[MODIFIED] = str(millis)
    info[POSIX] = ",".join(f"{name}={text}" for name, text in (own | strange).items())
    if attributes.kind is Kind.SYMLINK and attributes.target is not None:
        info[SYMLINK] = attributes.target
    return info


def metadata_of(attributes: Attributes, base: ObjectMetadata) -> ObjectMetadata:
    """What a new version of an object with these attributes carries beside what `base` says."""
    return attrs.evolve(base, info=info_of(attributes, base.info))


@attrs.frozen(eq=False, weakref_slot=False)
class StoredInfo(Mapping[str, str]):
    """`info_of` these, made when it is looked at: for what waits in great numbers."""

    _attributes: Attributes
    _base_info: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return info_of(self._attributes, self._base_info)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(info_of(self._attributes, self._base_info))

    def __len__(self) -> int:
        return len(info_of(self._attributes, self._base_info))


def with_times_of(seen: Attributes, stored: Attributes, *, is_ours: bool) -> Attributes:
    """What B2 has now, with the times that programs saw: an upload changes no mtime. `is_ours` says
    that this machine wrote it, so that its mtime holds even where B2's says otherwise."""
    same = seen.modified_ns // NS_PER_MS == stored.modified_ns // NS_PER_MS
    return attrs.evolve(
        stored,
        modified_ns=seen.modified_ns if same or is_ours else stored.modified_ns,
        changed_ns=seen.changed_ns,
        accessed_ns=seen.accessed_ns,
    )


def _attributes(
    version: ObjectVersion, kind: Kind, defaults: AttributeDefaults, size: int, target: str | None
) -> Attributes:
    fields = _fields(version.info)
    uploaded = min(max(version.uploaded_ms, 0) * NS_PER_MS, MAX_NS)
    modified = _modified(version.info, fields, uploaded)
    return Attributes(
        kind,
        _mode(fields, kind, defaults),
        _number(fields.get("uid"), MAX_ID, defaults.uid),
        _number(fields.get("gid"), MAX_ID, defaults.gid),
        size=size,
        modified_ns=modified,
        changed_ns=uploaded,
        accessed_ns=modified,
        target=target,
        device=_number(fields.get("rdev"), MAX_DEVICE, 0) if kind in _DEVICES else 0,
    )


def _node_kind(posix: str) -> Kind:
    found = _NODE_MODE.match(posix)
    return _NODES.get(stat.S_IFMT(int(found[1], 8)), Kind.FILE) if found else Kind.FILE


def _fields(info: Mapping[str, str]) -> dict[str, str]:
    text = info.get(POSIX)
    if text is None:
        return {}
    pairs = (field.partition("=") for field in text.split(",") if _FIELD.fullmatch(field))
    return {name: value for name, _, value in pairs}


def _modified(info: Mapping[str, str], fields: Mapping[str, str], default: int) -> int:
    millis = _number(info.get(MODIFIED), MAX_NS // NS_PER_MS, -1)
    if millis < 0:
        return default
    return min(millis * NS_PER_MS + _number(fields.get("ns"), NS_PER_MS - 1, 0), MAX_NS)


def _mode(fields: Mapping[str, str], kind: Kind, defaults: AttributeDefaults) -> int:
    text = fields.get("mode", "")
    mode = int(text, 8) if _OCTAL.fullmatch(text) else -1
    if mode < 0 or stat.S_IFMT(mode) not in (0, TYPE_BITS[kind]) or mode > 0o177777:
        return defaults.mode(kind)
    return stat.S_IMODE(mode)


def _number(text: str | None, largest: int, default: int) -> int:
    if text is None or not _DECIMAL.fullmatch(text):
        return default
    number = int(text)
    return number if number <= largest else default


def _target(version: ObjectVersion) -> str | None:
    target = version.info.get(SYMLINK)
    if not target or version.size or "\0" in target:
        return None
    try:
        encoded = target.encode()
    except UnicodeEncodeError:
        return None
    return target if len(encoded) <= MAX_TARGET_BYTES else None

"""An object version in few bytes, and back: a million of them are kept in memory. Pure.

What most versions of a bucket have in common (the bucket's part of the id, content type, the names of
info keys, modes) is their Shape, kept once; what is left are numbers: sizes, times, hashes, the
counters in an id. Text of another form than B2 or this program writes is kept as it is.

Invariants: `unpack` gives a version equal to the one that was packed, its info in the same order, or
`pack` says that it can't.

Must not know: directories, who keeps the bytes.
"""

from __future__ import annotations

import re
import struct
import time
from functools import lru_cache
from typing import Final, NamedTuple

from b2mount.model import Action, Attributes, Encryption, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.posix_info import (
    MODIFIED,
    POSIX,
    AttributeDefaults,
    attributes_of,
    file_attributes,
)

_SHA1: Final = 1
_ID: Final = 2
_TIME: Final = 4
_FRACTION: Final = 8
_FIELDS: Final = ((_SHA1, "20s"), (_ID, "QQ"), (_TIME, "Q"), (_FRACTION, "I"))
_LAYOUTS: Final = tuple(
    struct.Struct("<QQ" + "".join(field for bit, field in _FIELDS if layout & bit)) for layout in range(16)
)
_LENGTH: Final = struct.Struct("<I")

_HEX: Final = re.compile("[0-9a-f]{40}")
_B2_ID: Final = re.compile(
    "(4_z[0-9a-f]{1,32}_f)([0-9a-f])([0-9a-f]{16})_(d[0-9]{8}_m[0-9]{6})"
    "_c([0-9]{3})_v([0-9]{7})_t([0-9]{4})(_u[0-9]{13})?"
)
"""An id tells its moment, and newer ones tell it a second time, to the millisecond."""
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,17}")
_OWN_POSIX: Final = re.compile("(mode=[0-7]{1,7},uid=[0-9]{1,10},gid=[0-9]{1,10},ns=)(0|[1-9][0-9]{0,8})")
_LAST_MOMENT: Final = 10**13
"""Milliseconds that have 13 digits."""
_SHAPES: Final = 4096


class Shape(NamedTuple):
    """What versions have in common. A tuple, since it is compared for every name that is listed."""

    layout: int
    kind: Kind
    is_plain: bool
    """Whether times and modes, where there are any, have the form in which this program writes them."""
    id_start: str
    """Empty for an id of another form."""
    id_has_moment: bool
    content_type: str
    keys: tuple[str, ...]
    posix: str
    encryption: Encryption


@lru_cache(_SHAPES)
def shared(shape: Shape) -> Shape:
    """The same object for equal shapes, as far as they are not too many."""
    return shape


class PackedVersion(NamedTuple):
    """A version by itself, as `packed` makes it."""

    path: ObjectPath
    shape: Shape
    data: bytes

    def unpacked(self) -> ObjectVersion:
        """Equal to the one that was packed."""
        return unpack(self.path, self.shape, self.data)


def packed(version: ObjectVersion, path: ObjectPath) -> PackedVersion | ObjectVersion:
    """The version in few bytes, or as it is where that can't be. An equal `path` is kept for its own."""
    found = pack(version, Kind.FILE)
    return version if found is None else PackedVersion(path if path == version.path else version.path, *found)


@lru_cache(_SHAPES)
def _moment(seconds: int) -> str:
    return time.strftime("d%Y%m%d_m%H%M%S", time.gmtime(seconds))


def pack(version: ObjectVersion, kind: Kind) -> tuple[Shape, bytes] | None:
    """What the version has in common with others, and what is its own. None for what is no upload, and
    for numbers that B2 does not have."""
    if version.action is not Action.UPLOAD:
        return None
    fields: list[int | bytes] = [version.size, version.uploaded_ms]
    others: list[str] = []
    layout = 0
    if version.sha1 is not None:
        if not _HEX.fullmatch(version.sha1):
            return None
        fields.append(bytes.fromhex(version.sha1))
        layout |= _SHA1
    id_start, id_has_moment = "", False
    if (found := _id_parts(version)) is not None:
        id_start, id_has_moment, *counters = found
        fields += counters
        layout |= _ID
    else:
        others.append(version.version_id)
    info, posix = version.info, ""
    if (modified := info.get(MODIFIED)) is not None and _NUMBER.fullmatch(modified):
        fields.append(int(modified))
        layout |= _TIME
    if (mode := info.get(POSIX)) is not None and (own := _OWN_POSIX.fullmatch(mode)) is not None:
        posix, fraction = own.groups()
        fields.append(int(fraction))
        layout |= _FRACTION
    if len(info) > (modified is not None and layout & _TIME > 0) + (posix != ""):
        for key, value in info.items():
            if not (key == MODIFIED and layout & _TIME) and not (key == POSIX and posix):
                others.append(value)
    is_plain = (modified is None or layout & _TIME > 0) and (mode is None or posix != "")
    names = (id_start, id_has_moment, version.content_type, tuple(info), posix, version.encryption)
    shape = Shape(layout, kind, is_plain, *names)
    try:
        data = _LAYOUTS[layout].pack(*fields)
    except struct.error:
        return None
    return shared(shape), data + _texts(others) if others else data


def unpack(path: ObjectPath, shape: Shape, data: bytes | bytearray | memoryview) -> ObjectVersion:
    """The version that was packed; `path` is not kept in it."""
    kept, id_start, id_has_moment = shape.layout, shape.id_start, shape.id_has_moment
    layout = _LAYOUTS[kept]
    fields = layout.unpack_from(data)
    others = _read_texts(data, layout.size) if len(data) > layout.size else []
    size, uploaded_ms, at = fields[0], fields[1], 2
    sha1 = None
    if kept & _SHA1:
        sha1, at = fields[at].hex(), at + 1
    if kept & _ID:
        version_id, at = _id(id_start, fields[at], fields[at + 1], uploaded_ms, id_has_moment), at + 2
    else:
        version_id = others.pop()
    info = {}
    for key in shape.keys:
        if key == MODIFIED and kept & _TIME:
            info[key] = str(fields[at])
        elif key == POSIX and kept & _FRACTION:
            info[key] = f"{shape.posix}{fields[-1]}"
        else:
            info[key] = others.pop()
    return ObjectVersion(
        path,
        version_id,
        size,
        uploaded_ms,
        shape.content_type,
        sha1,
        info,
        encryption=shape.encryption,
    )


def unpack_attributes(
    path: ObjectPath, shape: Shape, data: bytes | bytearray | memoryview, defaults: AttributeDefaults
) -> Attributes:
    """The attributes of the version that was packed."""
    kept = shape.layout
    if shape.kind is not Kind.FILE or not shape.is_plain:
        return attributes_of(unpack(path, shape, data), defaults)
    fields = _LAYOUTS[kept].unpack_from(data)
    modified = fields[-2 if kept & _FRACTION else -1] if kept & _TIME else None
    fraction = fields[-1] if kept & _FRACTION else 0
    return file_attributes(fields[0], fields[1], modified, shape.posix, fraction, defaults)


def _id_parts(version: ObjectVersion) -> tuple[str, bool, int, int] | None:
    found = _B2_ID.fullmatch(version.version_id)
    if found is None or not 0 <= version.uploaded_ms < _LAST_MOMENT:
        return None
    start, first, rest, moment, cluster, vault, thread, millis = found.groups()
    if moment != _moment(version.uploaded_ms // 1000):
        return None
    if millis is not None and millis != f"_u{version.uploaded_ms:013}":
        return None
    return start, millis is not None, int(first, 16) << 48 | int(cluster + vault + thread), int(rest, 16)


def _id(start: str, place: int, rest: int, uploaded_ms: int, has_moment: bool) -> str:
    digits = f"{place & (1 << 48) - 1:014}"
    moment = f"_u{uploaded_ms:013}" if has_moment else ""
    return (
        f"{start}{place >> 48:x}{rest:016x}_{_moment(uploaded_ms // 1000)}"
        f"_c{digits[:3]}_v{digits[3:10]}_t{digits[10:]}{moment}"
    )


def _texts(others: list[str]) -> bytes:
    """Last first, so that they can be popped."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in reversed(others)]
    return b"".join(_LENGTH.pack(len(each)) + each for each in encoded)


def _read_texts(data: bytes | bytearray | memoryview, begin: int) -> list[str]:
    texts: list[str] = []
    while begin < len(data):
        (length,) = _LENGTH.unpack_from(data, begin)
        begin += _LENGTH.size
        texts.append(str(data[begin : begin + length], "utf-8", "surrogatepass"))
        begin += length
    return texts

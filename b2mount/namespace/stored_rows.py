"""Rows of a listing as bytes, and back. Pure.

Invariants: `decode` gives what `encode` took, in its order, or raises ValueError. Bytes are of this
kind of machine: who keeps them has to see to it that another one does not read them.

Must not know: where the bytes are, whether they are what was written.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterable
from typing import Any, Final

from b2mount.model import Encryption, Kind
from b2mount.namespace.name_table import Packed
from b2mount.namespace.packing import Shape, shared

_LENGTH: Final = struct.Struct("<Q")
_DIRECTORY: Final = 0xFFFF
MOST: Final = _DIRECTORY - 1
"""Rows that can be encoded together."""

StoredRow = tuple[str, Packed]
"""A name, and what is known of its object; None for a directory."""


def encode(rows: Iterable[StoredRow]) -> bytes:
    """At most MOST rows. Names hold no NUL."""
    names: list[str] = []
    shapes: dict[Shape, int] = {}
    which, lengths, data = array("H"), array("I"), bytearray()
    for name, packed in rows:
        names.append(name)
        if packed is None:
            which.append(_DIRECTORY)
            continue
        shape, own = packed
        which.append(shapes.setdefault(shape, len(shapes)))
        lengths.append(len(own))
        data += own
    fields = (
        "\0".join(names).encode(),
        json.dumps([_fields(shape) for shape in shapes]).encode(),
        which,
        lengths,
        data,
    )
    return join([bytes(field) for field in fields])


def decode(stored: bytes) -> list[StoredRow]:
    """Raises ValueError."""
    text, kinds, which_bytes, length_bytes, data = split(stored, 5)
    which, lengths = array("H", which_bytes), array("I", length_bytes)
    names = text.decode().split("\0") if which else []
    shapes = [_shape(fields) for fields in json.loads(kinds)]
    if len(names) != len(which) or sum(lengths) != len(data):
        raise ValueError("rows that do not fit together")
    found: list[StoredRow] = []
    left, at = iter(lengths), 0
    for name, kind in zip(names, which, strict=True):
        if kind == _DIRECTORY:
            found.append((name, None))
            continue
        end = at + next(left)
        found.append((name, (shapes[kind], data[at:end])))
        at = end
    return found


def join(fields: Iterable[bytes]) -> bytes:
    """Bytes from which `split` gets the fields."""
    return b"".join(_LENGTH.pack(len(field)) + field for field in fields)


def split(joined: bytes, count: int) -> list[bytes]:
    """`count` fields. Raises ValueError when that is not what was joined."""
    fields: list[bytes] = []
    at = 0
    while at < len(joined):
        if at + _LENGTH.size > len(joined):
            raise ValueError("fields that were cut short")
        (length,) = _LENGTH.unpack_from(joined, at)
        at += _LENGTH.size
        fields.append(joined[at : at + length])
        at += length
    if len(fields) != count or at != len(joined):
        raise ValueError("fields that do not fit together")
    return fields


def _fields(shape: Shape) -> dict[str, object]:
    return shape._asdict() | {"kind": shape.kind.value, "encryption": shape.encryption.value}


def _shape(fields: dict[str, Any]) -> Shape:
    words = {
        "kind": Kind(fields["kind"]),
        "encryption": Encryption(fields["encryption"]),
        "keys": tuple(fields["keys"]),
    }
    return shared(Shape(**(fields | words)))

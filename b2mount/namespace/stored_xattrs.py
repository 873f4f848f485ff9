"""Extended attributes that programs of this machine gave a file <-> the object info that keeps them. Pure.

Invariants: reading never raises, whatever others wrote into the info: what is broken is left out,
alone. What with_stored writes, stored_in reads back, byte for byte.

All of them share one info key, since B2 keeps ten: `xattr` is "name=value&name=value", names without
the `user.` that all have. `%`, `&`, control characters and bytes that are no UTF-8 are written as %XX
(in names `=` too); a value that is shorter so is written as `0s` and base64, as getfattr(1) shows it.

Must not know: which names are allowed, B2's limits.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

XATTR: Final = "xattr"
"""The info key."""
MAX_NAME_BYTES: Final = 250
"""What Linux shows (255), less `user.`."""
_BASE64: Final = "0s"
_ESCAPED = re.compile("[%&\0-\x1f\x7f\udc80-\udcff]")


def stored_in(info: Mapping[str, str]) -> dict[bytes, bytes]:
    """The attributes by name, without `user.`."""
    found: dict[bytes, bytes] = {}
    for pair in info.get(XATTR, "").split("&"):
        name, separator, text = pair.partition("=")
        raw = _raw(name)
        if separator and 0 < len(raw) <= MAX_NAME_BYTES and b"\0" not in raw:
            found[raw] = _value(text)
    return found


def with_stored(info: Mapping[str, str], xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    """`info` with these attributes and no others."""
    changed = {key: value for key, value in info.items() if key != XATTR}
    if xattrs:
        pairs = sorted(xattrs.items())
        changed[XATTR] = "&".join(
            f"{_escape(name).replace('=', '%3D')}={_text(value)}" for name, value in pairs
        )
    return changed


def _text(value: bytes) -> str:
    escaped = _escape(value)
    if escaped.startswith(_BASE64):
        escaped = f"%30{escaped[1:]}"
    encoded = _BASE64 + base64.b64encode(value).decode()
    return encoded if len(encoded) < len(escaped.encode()) else escaped


def _value(text: str) -> bytes:
    if text.startswith(_BASE64):
        try:
            return base64.b64decode(text.removeprefix(_BASE64), validate=True)
        except (binascii.Error, ValueError):
            return text.encode(errors="surrogatepass")
    return _raw(text)


def _raw(text: str) -> bytes:
    return unquote_to_bytes(text.encode(errors="surrogatepass"))


def _escape(raw: bytes) -> str:
    text = raw.decode(errors="surrogateescape")
    return _ESCAPED.sub(lambda found: _quoted(found[0]), text)


def _quoted(character: str) -> str:
    return quote_from_bytes(character.encode(errors="surrogateescape"), safe="")

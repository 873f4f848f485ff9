"""Strangers' text where people read it: names and messages from B2 in a terminal or a log. Pure.

Invariants: what comes out moves no cursor, ends no line and turns no direction; harmless text stays as it is.

Must not know: where the text is shown.
"""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls, which terminals obey
    "\u2028\u2029"  # ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows
    "\ud800-\udfff]"  # bytes that are no text, which no terminal can be sent
)


def plain(text: str) -> str:
    """`text` on one line, with what could deceive its reader written as `\\x1b` or `\\u202e`."""
    return _UNSAFE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(number: int) -> str:
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"

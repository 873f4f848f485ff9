"""Values that nobody should send: names, numbers, JSON, and good documents with something wrong in them."""

from __future__ import annotations

import json
from typing import Final

from tests.fuzz.choices import Choices

NAMES: Final = (
    "a",
    "d/x",
    "",
    "/",
    "//",
    ".",
    "..",
    "../../escape",
    "d/../../escape",
    "/etc/passwd",
    "a/",
    "a//b",
    ".bzEmpty",
    "d/.bzEmpty",
    "d/.bzEmpty/x",
    ".b2",
    ".b2/at/now",
    "nul\0nul",
    "new\nline",
    "\x7f\x1b[2J",
    "back\\slash",
    "%2e%2e%2f",
    "%00",
    "é" * 127,
    "n" * 255,
    "n" * 256,
    "€" * 86,
    "\ud800",
    "\U0010ffff",
    "\u202e",
    "a/" * 600,
    "x" * 5000,
)
NUMBERS: Final[tuple[object, ...]] = (
    0,
    1,
    -1,
    4,
    255,
    4096,
    131072,
    131073,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    True,
    "1",
    "-1",
    "9" * 19,
    "9" * 5000,
    "1e9",
    "0x10",
    "\u0663",
    "",
)
TEXTS: Final = (
    "upload",
    "hide",
    "start",
    "folder",
    "copy",
    "none",
    "unverified:" + "0" * 40,
    "0" * 40,
    "text/plain",
    "mode=120777,uid=0,gid=0,ns=999999",
    "mode=177777,uid=4294967295,rdev=4294967296",
    "mode=60644,rdev=99999999999",
    "=,=,=,,%",
    "user.a=1&user.a=2&%00=%ff",
    "SSE-C",
    "SSE-B2",
    "compliance",
    "2026-11-01T00:00:00Z",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "bytes 0-3/4",
    "bytes=0-18446744073709551615",
)
DEEP: Final = 3000


def text(choices: Choices) -> str:
    """A text, mostly a bad one."""
    match choices.below(4):
        case 0:
            return choices.of(NAMES)
        case 1:
            return choices.of(TEXTS)
        case 2:
            return choices.piece().decode("utf-8", "surrogateescape")
        case _:
            return choices.piece().decode("latin-1")


def value(choices: Choices, depth: int = 0) -> object:
    """Anything that JSON can say."""
    match choices.below(8):
        case 0:
            return None
        case 1 | 2:
            return choices.of(NUMBERS)
        case 3 if depth < 4:
            return [value(choices, depth + 1) for _ in range(choices.below(4))]
        case 4 if depth < 4:
            return {text(choices): value(choices, depth + 1) for _ in range(choices.below(4))}
        case 5:
            return int.from_bytes(choices.take(9), signed=True)
        case _:
            return text(choices)


def spoiled(choices: Choices, document: object) -> object:
    """The document with some of its values changed, dropped or doubled; itself is left alone."""
    made: object = json.loads(json.dumps(document))
    for _ in range(choices.below(5)):
        made = _spoil(choices, made)
    return made


def _spoil(choices: Choices, document: object) -> object:
    if isinstance(document, dict) and document and not choices.chance(16):
        key = choices.of(list(document))
        match choices.below(8):
            case 0:
                del document[key]
            case 1:
                document[text(choices)] = value(choices)
            case _:
                document[key] = _spoil(choices, document[key])
        return document
    if isinstance(document, list) and document and not choices.chance(16):
        place = choices.below(len(document))
        match choices.below(8):
            case 0:
                del document[place]
            case 1:
                document.insert(place, json.loads(json.dumps(document[place])))
            case _:
                document[place] = _spoil(choices, document[place])
        return document
    return value(choices)


def as_json(choices: Choices, document: object) -> bytes:
    """It as JSON, now and then broken."""
    data = json.dumps(document).encode()
    match choices.below(24):
        case 1:
            return data[: choices.below(len(data) + 1)]
        case 2:
            place = choices.below(len(data) + 1)
            return data[:place] + choices.piece() + data[place:]
        case 3:
            return choices.of((b"[", b'{"a":', b'{"files":[')) * DEEP
        case 4:
            return data.replace(b"1", b"1" * 5000)
        case 5:
            return choices.rest()
        case _:
            return data

"""Buckets of odd names, and what a mount has to show of them: told in another way than the mount tells it."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Collection

PARTS = (
    "",
    ".",
    "..",
    "a",
    "b",
    "a b",
    "x.txt",
    "n" * 255,
    "n" * 256,
    "\u20ac" * 86,
    unicodedata.normalize("NFC", "\u00e9"),
    unicodedata.normalize("NFD", "\u00e9"),
    "\U0001f600",
    "%2F",
    "100%",
    "back\\slash",
    "~0123456789abcdef",
    "-dash",
    " ",
    ".bzEmpty",
    ".b2",
)
CONTROLS = ("line\nfeed", "nul\0", "\x7f", "tab\t", "\x01")
"""B2's own API takes none of them; other ways into a bucket may."""
LONGEST = 1024


def odd_keys(chance: random.Random, count: int, *, controls: bool) -> list[str]:
    """Different keys, many of which no path can spell."""
    parts = (*PARTS, *CONTROLS) if controls else PARTS
    found: set[str] = {"z" * LONGEST, "q/" * 511 + "zz"}
    while len(found) < count:
        weights = [4 if part in ("a", "b", "") else 1 for part in parts]
        key = "/".join(chance.choices(parts, weights, k=chance.randint(1, 4)))
        if key and len(key.encode()) <= LONGEST:
            found.add(key)
    return chance.sample(sorted(found), count)


def is_plain(name: str) -> bool:
    """Whether Linux can have a file of this name, and nothing of ours is called so."""
    return name not in ("", ".", "..", ".bzEmpty") and "\0" not in name and len(name.encode()) <= 255


def files_shown(keys: Collection[str]) -> set[str]:
    """The keys that are files in a mount of them all: no other key lies below, and each component can be."""
    directories = {key[: at + 1] for key in keys for at, sign in enumerate(key) if sign == "/"}
    return {
        key
        for key in keys
        if all(map(is_plain, key.split("/"))) and f"{key}/" not in directories and key.split("/")[0] != ".b2"
    }


def stand_for_directories(keys: Collection[str]) -> set[str]:
    """Placeholders and markers: they are seen as the directories that they keep."""
    found = set()
    for key in keys:
        above, slash, name = key.rpartition("/")
        is_shown = all(map(is_plain, above.split("/"))) and above.split("/")[0] != ".b2"
        if (name == ".bzEmpty" and not slash) or (name in ("", ".bzEmpty") and slash and is_shown):
            found.add(key)
    return found

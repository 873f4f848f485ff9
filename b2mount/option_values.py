"""What the value of an option may look like: text -> value, ValueError with a reason for people.

Must not know: which options there are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

SIZE_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SECONDS: Final = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str) -> int:
    """Bytes from `500`, `64K`, `10M`, `1.5G`, `2T`: powers of 1024. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500M or 10G")
    return int(float(match[1]) * SIZE_UNITS[match[2].upper()])


def parse_rate(text: str) -> int:
    """Bytes a second, as parse_size, but not zero. Raises ValueError."""
    size = parse_size(text.removesuffix("/s"))
    if size == 0:
        raise ValueError("must be more than 0; leave it out for no limit")
    return size


def parse_duration(text: str) -> float:
    """Seconds from `90`, `1.5`, `5m`, `2h`, `1d`, `1w`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)\s*(ms|[smhdw]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 90, 5m or 1d")
    return float(match[1]) * SECONDS[match[2].lower()]


@attrs.frozen
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[::1]:PORT`, or a port of 127.0.0.1 as `:PORT` or `PORT`. Raises ValueError."""
    match = re.fullmatch(r"(?:(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:]*)):)?([0-9]{1,5})", text.strip())
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(f"{text!r} is not an address such as 127.0.0.1:9469")
    return Address(match[1] or match[2] or "127.0.0.1", int(match[3]))


def whole_number(lowest: int, base: int = 10) -> Callable[[str], int]:
    """What reads a number that is not below `lowest`."""

    def parse(text: str) -> int:
        try:
            number = int(text, base)
        except ValueError:
            raise ValueError(f"{text!r} is not {'an octal' if base == 8 else 'a whole'} number") from None
        if number < lowest:
            raise ValueError(f"must be at least {lowest}")
        return number

    return parse


def parse_keep(text: str) -> int | None:
    """How many versions, one at least; None for `all`. Raises ValueError."""
    return None if text.lower() == "all" else whole_number(1)(text)


def parse_umask(text: str) -> int:
    """Permission bits from `022`. Raises ValueError."""
    number = whole_number(0, 8)(text)
    if number > 0o777:
        raise ValueError(f"{text!r} is not a umask such as 022")
    return number


def one_of(*words: str) -> Callable[[str], str]:
    """What reads one of these words, in capitals or not."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text.lower()

    return parse


def parse_path(text: str) -> Path:
    """An absolute path, `~` resolved. Raises ValueError."""
    if not text:
        raise ValueError("is empty")
    return Path(os.path.abspath(os.path.expanduser(text)))


def parse_word(text: str) -> str:
    """Any text but none. Raises ValueError."""
    if not text:
        raise ValueError("is empty")
    return text


def default_cache_dir() -> Path:
    """Where the cache goes unless told: $XDG_CACHE_HOME/b2mount, ~/.cache/b2mount, or
    /var/cache/b2mount for a root without a home, as in fstab and systemd."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "b2mount"
    if os.getuid() == 0 and not os.environ.get("HOME"):
        return Path("/var/cache/b2mount")
    return Path(os.path.expanduser("~")) / ".cache" / "b2mount"

"""Moments, in every form in which a person types one, and as b2mount writes them.

Invariants: a moment is a whole number of milliseconds since 1970 UTC, as B2 dates versions. What
`moment_name` writes, `parse_moment` reads back to the millisecond.

Must not know: what is at a moment.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

_LANGUAGES: Final = ["en"]
_LATER: Final = timedelta(days=400)
"""What is said of today, of a weekday or of a day without its year means something else by then."""
_FIGURES: Final = re.compile(r"\d+|\d+[/.]\d+[/.]\d+.*")
"""What could be anything: 01/02 is in January to some, and in February to others."""
_EXAMPLES: Final = "2026-01-31, '2026-01-31 14:30', 2026-01-31T12:00:00Z or '2 days ago'"


def parse_moment(text: str, now: datetime | None = None) -> int:
    """The moment that `text` names, at `now` (the present, unless given). A day is its first moment; what
    has no zone is of this machine's. Raises ValueError for what is none, and for one that is still to come.
    """
    now = now or datetime.now(UTC)
    found = _parse(text, now)
    if found is None:
        raise ValueError(f"{text!r} is not a moment such as {_EXAMPLES}")
    if found > now:
        raise ValueError(f"{text!r} is still to come")
    milliseconds = (found - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ValueError(f"{text!r} is before 1970")
    return milliseconds


def is_relative(text: str) -> bool:
    """Whether the moment that `text` names depends on when it is said."""
    now = datetime.now(UTC)
    return _parse(text, now) != _parse(text, now + _LATER)


def moment_name(milliseconds: int, *, digits: bool = False) -> str:
    """ISO 8601 in UTC, `2026-01-31T12:00:00Z`; with milliseconds where there are any, or always.
    A number that no calendar has is written as it is."""
    try:
        moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    fraction = f".{milliseconds % 1000:03}" if digits or milliseconds % 1000 else ""
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}{fraction}Z"


def _parse(text: str, now: datetime) -> datetime | None:
    text = text.strip()
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None if _FIGURES.fullmatch(text) else _parse_words(text, now)


def _parse_words(text: str, now: datetime) -> datetime | None:
    # it takes a quarter of a second to load, and most commands never need it
    dateparser: Any = import_module("dateparser")
    settings = {
        "PREFER_DATES_FROM": "past",
        "PREFER_DAY_OF_MONTH": "first",
        "TIMEZONE": "UTC",  # nothing is converted: what comes out without a zone is ours
        "RELATIVE_BASE": now.astimezone().replace(tzinfo=None),
    }
    try:
        found: datetime | None = dateparser.parse(text, languages=_LANGUAGES, settings=settings)
        return found.astimezone() if found is not None else None
    except (ValueError, OverflowError):
        return None

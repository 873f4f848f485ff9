"""Moments as people type them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from b2mount.moments import is_relative, moment_name, parse_moment

NOW = datetime(2026, 6, 17, 12, 30, 15, 250_000, UTC)
"""A Wednesday."""


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two hours before UTC in summer, one in winter."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2026-01-31", "2026-01-30T23:00:00Z"),
        ("20260131", "2026-01-30T23:00:00Z"),
        ("2026-05-31", "2026-05-30T22:00:00Z"),
        ("2026-01-31 14:30", "2026-01-31T13:30:00Z"),
        ("2026-01-31T14:30:01", "2026-01-31T13:30:01Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        (" 2026-01-31T12:00:00.007Z ", "2026-01-31T12:00:00.007Z"),
        ("2026-01-31T12:00:00.250+02:00", "2026-01-31T10:00:00.250Z"),
        ("2026-01-31 12:00 UTC", "2026-01-31T12:00:00Z"),
        ("31 Jan 2026", "2026-01-30T23:00:00Z"),
        ("January 31, 2026 2pm", "2026-01-31T13:00:00Z"),
        ("2 days ago", "2026-06-15T12:30:15.250Z"),
        ("10 minutes ago", "2026-06-17T12:20:15.250Z"),
        ("an hour ago", "2026-06-17T11:30:15.250Z"),
        ("yesterday", "2026-06-16T12:30:15.250Z"),
        ("monday", "2026-06-14T22:00:00Z"),
        ("last week", "2026-06-10T12:30:15.250Z"),
        ("now", "2026-06-17T12:30:15.250Z"),
    ],
)
def test_what_people_type(text: str, name: str) -> None:
    assert moment_name(parse_moment(text, NOW)) == name


@pytest.mark.parametrize(
    "text",
    ["", "soon", "..", "12",
     "2026", "1767225600", "01/02/2026", "1.2.2026", "2026-02-30", "x" * 300, "nul\0",
     "tomorrow", "in 2 days", "2026-06-18", "2026-06-17T12:30:15.251Z", "1969-12-30", "0001-01-01",
     "9999-12-31"],
)  # fmt: skip
def test_what_is_no_moment_or_still_to_come(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a moment|is still to come|is before 1970"):
        parse_moment(text, NOW)


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 1000, 1_767_225_600_123, 1_767_225_600_000])
def test_a_name_is_read_back(milliseconds: int) -> None:
    assert parse_moment(moment_name(milliseconds)) == milliseconds
    assert parse_moment(moment_name(milliseconds, digits=True)) == milliseconds


def test_what_no_calendar_has() -> None:
    assert moment_name(2**63 - 1) == str(2**63 - 1)


def test_what_depends_on_today() -> None:
    for text in ("2 days ago", "yesterday", "monday", "3pm", "31 Jan", "now"):
        assert is_relative(text), text
    for text in ("2026-01-31", "2026-01-31T12:00:00Z", "31 Jan 2026 2pm"):
        assert not is_relative(text), text


def test_the_present_is_the_default() -> None:
    before = datetime.now(UTC)
    found = parse_moment("now")
    assert timedelta(0) <= datetime.fromtimestamp(found / 1000, UTC) - before + timedelta(milliseconds=1)

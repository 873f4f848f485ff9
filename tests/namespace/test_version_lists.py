"""Versions of a name as entries: what the directories of `.b2` show of them is in tests/contract."""

from __future__ import annotations

from b2mount.model import Action, ObjectPath, ObjectVersion
from b2mount.namespace.version_lists import named

PATH = ObjectPath("bucket", "a/report.tar.gz")


def names(*uploaded_ms: int) -> list[str]:
    """Of versions as B2 gives them, the newest first."""
    versions = [ObjectVersion(PATH, f"v{at}-{n}", 1, at) for n, at in enumerate(uploaded_ms)]
    return [entry.name for entry in named(versions)]


def test_the_later_one_of_a_millisecond_has_a_number() -> None:
    assert names(2000, 1000, 1000) == [
        "1970-01-01T00:00:02.000Z.tar.gz",
        "1970-01-01T00:00:01.000Z-2.tar.gz",
        "1970-01-01T00:00:01.000Z.tar.gz",
    ]


def test_each_name_is_there_once_in_whatever_order_versions_come() -> None:
    assert len(set(names(1000, 2000, 1000, 2000, 1000))) == 5


def test_hide_markers_are_none() -> None:
    assert not list(named([ObjectVersion(PATH, "v", 0, 1000, action=Action.HIDE)]))

"""Which listings of an index are believed, and for how long that is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from b2mount.model import ObjectPath
from b2mount.namespace import doubts
from b2mount.namespace.change_log import Change
from b2mount.namespace.doubts import Doubts, key_of
from b2mount.namespace.index_file import IndexFile, StoredListing
from tests.namespace.world import path

ACCOUNT = ObjectPath("", "")


def test_a_listing_is_older_or_younger_than_a_change() -> None:
    known = Doubts(7)
    before = known.next()
    known.changed(path("d/"))
    after = known.next()
    assert not known.believes(path("d/"), before)
    assert known.believes(path("d/"), after)
    assert known.believes(path("d/e/"), before)
    assert known.believes(path(""), before)


@pytest.mark.parametrize("above", ["", "d/", "d/e/"])
def test_a_change_of_all_below(above: str) -> None:
    known = Doubts(0)
    before = known.next()
    known.changed_below(path(above))
    assert not known.believes(path("d/e/"), before)
    assert known.believes(path("f/"), before) is (above != "")
    assert known.believes(path("d/e/"), known.next())


def test_the_whole_account() -> None:
    known = Doubts(0)
    before = known.next()
    known.changed_below(ACCOUNT)
    assert not known.believes(path("d/"), before)


def test_a_change_is_recorded_once_until_something_is_stored() -> None:
    known = Doubts(0)
    first = known.changed(path("d/"))
    assert first == Change(key_of(path("d/")), known.sequence, is_below=False)
    assert known.changed(path("d/")) is None
    assert [change.sequence for change in known.take()] == [known.sequence]
    assert known.changed(path("d/")) is None
    assert known.left == []
    known.stored(path("d/"))
    assert known.changed(path("d/")) is not None
    assert len(known.left) == 1


def test_when_there_are_too_many_nothing_comes_to_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "_MANY", 8)
    known = Doubts(0)
    late = known.next()
    for number in range(8):
        known.changed(path(f"{number}/"))
    known.take()
    unknown = known.next()
    known.changed(path("fresh/"))
    oldest = known.next()
    assert known.tidy(oldest)
    assert not known.may_store(path("0/"), late)
    assert not known.believes(path("fresh/"), unknown), "the file does not know this one yet"
    assert known.may_store(path("0/"), oldest)
    assert known.changed(path("0/")) is not None, "nobody knows any more that nothing is stored"
    assert not known.tidy(oldest)


@pytest.mark.parametrize(
    ("doubtful", "left"),
    [
        (ACCOUNT, []),
        (path(""), ["bucket-2/", "bucketful/d/"]),
        (path("d/"), ["bucket-2/", "bucket/", "bucket/d-/", "bucketful/d/"]),
    ],
)
def test_what_goes_from_the_file(tmp_path: Path, doubtful: ObjectPath, left: list[str]) -> None:
    file = IndexFile.open(tmp_path / "index", "an id")
    keys = ["bucket-2/", "bucket/", "bucket/d-/", "bucket/d/", "bucket/d/e/", "bucketful/d/"]
    file.write(3, [], [StoredListing(number, key, 3, 0, b"x") for number, key in enumerate(keys, 1)])
    file.write(4, [Change(key_of(doubtful), 2, is_below=True)], [])
    assert all(file.read(key, 0) for key in keys), "all are younger"
    file.write(4, [Change(key_of(doubtful), 3, is_below=True)], [])
    assert [key for key in keys if file.read(key, 0)] == left
    file.close()

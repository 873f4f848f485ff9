"""A server that leads round in a circle of versions is found out, an honest one never is."""

from __future__ import annotations

import itertools

import pytest

from b2mount.errors import StoreFailure
from b2mount.store.b2_records import version_page
from b2mount.store.interface import VersionCursor


def page_from(start: VersionCursor, key: str, version_id: str | None) -> VersionCursor:
    reply: dict[str, object] = {"files": [], "nextFileName": key, "nextFileId": version_id}
    cursor = version_page(reply, "bucket", "", start).next_cursor
    assert cursor is not None
    return cursor


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("round_trip", [1, 2, 3, 5, 8, 31])
def test_a_circle_is_noticed_within_a_few_rounds(before: int, round_trip: int) -> None:
    places = [f"{number}" for number in range(before + round_trip)]
    seen: list[str] = []

    def follow() -> None:
        cursor = VersionCursor("name", None)
        for version_id in itertools.chain(places, itertools.cycle(places[before:])):
            cursor = page_from(cursor, "name", version_id)
            seen.append(version_id)

    with pytest.raises(StoreFailure):
        follow()
    assert len(places) <= len(seen) <= 3 * len(places)


def test_many_versions_of_many_names_are_no_circle() -> None:
    cursor = VersionCursor("", None)
    for name in range(10, 20):
        for number in range(500):
            cursor = page_from(cursor, f"{name}", f"{name} {number}")
    assert cursor == VersionCursor("19", "19 499")


@pytest.mark.parametrize("following", [("a", "1"), ("name", "1"), ("name", None)])
def test_back_or_nowhere_is_an_error(following: tuple[str, str | None]) -> None:
    with pytest.raises(StoreFailure):
        page_from(VersionCursor("name", "1"), *following)

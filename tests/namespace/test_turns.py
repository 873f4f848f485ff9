"""A long page in short pieces says what the long one says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import ObjectPath, ObjectVersion
from b2mount.namespace import turns
from b2mount.namespace.listing import Listing, level_of
from b2mount.namespace.turns import in_turns, joined, level_in_turns
from b2mount.store.interface import ObjectPage

DIRECTORY = ObjectPath("bucket", "d/")

names = st.text("ab-/.", min_size=1, max_size=3)
next_keys = st.sampled_from([None, "d/c", "e"])


@pytest.fixture(autouse=True, scope="module")
def _short_turns() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "TURN", 3)
        yield


def page_of(keys: set[str], next_key: str | None) -> ObjectPage:
    """With the delimiter, as B2 makes it."""
    files = sorted(f"d/{key}" for key in keys if "/" not in key)
    prefixes = sorted({f"d/{key.partition('/')[0]}/" for key in keys if "/" in key})
    objects = tuple(ObjectVersion(ObjectPath("bucket", key), f"id-{key}", 1, 1) for key in files)
    return ObjectPage(objects, tuple(prefixes), next_key)


@given(keys=st.sets(names, max_size=20), next_key=next_keys)
def test_pieces_of_a_page_follow_each_other_and_are_all_of_it(keys: set[str], next_key: str | None) -> None:
    page = page_of(keys, next_key)
    pieces = list(in_turns(page))
    assert tuple(one for piece in pieces for one in piece.objects) == page.objects
    assert tuple(one for piece in pieces for one in piece.prefixes) == page.prefixes
    assert pieces[-1].next_key == next_key
    for piece, after in pairwise(pieces):
        assert piece.next_key is not None
        assert all(key < piece.next_key for key in _keys(piece))
        assert all(key >= piece.next_key for key in _keys(after))
    assert max(len(piece.objects) + len(piece.prefixes) for piece in pieces) <= 3


@given(keys=st.sets(names, max_size=20), next_key=next_keys)
def test_a_listing_learns_the_same_from_pieces(keys: set[str], next_key: str | None) -> None:
    page = page_of(keys, next_key)
    level = level_of(page, DIRECTORY)
    assert joined([level_of(piece, DIRECTORY) for piece in in_turns(page)]) == level
    whole, pieced = Listing(), Listing()
    odd = whole.absorb(level)
    odd_in_pieces = [key for short in level_in_turns(level) for key in pieced.absorb(short)]
    assert sorted(odd_in_pieces) == sorted(odd)
    assert dict(pieced.entries) == dict(whole.entries)
    for field in ("cursor", "placeholder", "marker", "size"):
        assert getattr(pieced, field) == getattr(whole, field)


def _keys(page: ObjectPage) -> list[str]:
    return [*(version.path.key for version in page.objects), *page.prefixes]

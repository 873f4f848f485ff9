"""Listings against a plain model, and the corners of delimiter, start and next."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.errors import ApiError
from b2mount.emulator.records import Attributes, Bucket, Folder, Page, Version
from b2mount.emulator.seeding import numbered, seed
from tests.emulator.conftest import put

NAMES = st.lists(
    st.text(st.sampled_from("ab/-é\U0001f600\uffff"), min_size=1, max_size=6).filter(
        lambda n: not n.startswith("/") and not n.endswith("/") and "//" not in n
    ),
    max_size=12,
)


def fold(names: list[str], prefix: str, delimiter: str) -> list[str]:
    """What a listing shows, by hand."""
    found = []
    for name in sorted(names, key=str.encode):
        if name.startswith(prefix):
            head, mark, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            found.append(prefix + head + mark if mark else name)
    return [name for name, _ in itertools.groupby(found)] if delimiter else found


def walk(state: BucketState, bucket: Bucket, limit: int, **query: str) -> list[str]:
    shown: list[str] = []
    start = ""
    for _ in range(100):
        page = state.pages.names(bucket, start=start, limit=limit, **query)
        assert len(page.rows) <= limit
        shown += [row.name for row in page.rows]
        if page.next_name is None:
            return shown
        assert page.rows
        start = page.next_name
    raise AssertionError("the listing does not end")


@settings(max_examples=60)
@given(NAMES, NAMES, st.sampled_from(["", "a", "a/", "é"]), st.sampled_from(["", "/", "-", "b/"]))
def test_names_as_by_hand(names: list[str], hidden: list[str], prefix: str, delimiter: str) -> None:
    state = BucketState(None)
    bucket = state.buckets.create("some-bucket")
    for name in {*names, *hidden}:
        put(state, bucket, name)
    for name in set(hidden):
        state.files.hide(bucket, name)
    expected = fold(sorted(set(names) - set(hidden)), prefix, delimiter)
    for limit in (1, 2, 100):
        assert walk(state, bucket, limit, prefix=prefix, delimiter=delimiter) == expected
    everything = fold(sorted({*names, *hidden}), prefix, delimiter)
    page = state.pages.versions(bucket, prefix=prefix, delimiter=delimiter, limit=1000)
    assert [name for name, _ in itertools.groupby(row.name for row in page.rows)] == everything
    state.close()


def test_versions_page_by_page_while_they_vanish(state: BucketState, bucket: Bucket) -> None:
    rng = random.Random(1)
    for _ in range(60):
        put(state, bucket, rng.choice(["a", "b", "b/c", "d"]))
    expected = [
        row.file_id for row in state.pages.versions(bucket, limit=100).rows if isinstance(row, Version)
    ]
    assert len(expected) == 60
    seen: list[str] = []
    page = state.pages.versions(bucket, limit=7)
    while True:
        for row in page.rows:
            assert isinstance(row, Version)
            seen.append(row.file_id)
            state.files.delete(row.name, row.file_id)
        if page.next_name is None:
            break
        page = state.pages.versions(bucket, start=page.next_name, start_id=page.next_id, limit=7)
    assert seen == expected


def test_the_start_of_versions_may_be_gone(state: BucketState, bucket: Bucket) -> None:
    old, gone, new = (put(state, bucket, "n") for _ in range(3))
    state.files.delete("n", gone.file_id)
    rows = state.pages.versions(bucket, start="n", start_id=gone.file_id).rows
    assert rows == (old,)
    assert state.pages.versions(bucket, start="n").rows == (new, old)
    with pytest.raises(ApiError) as exc:
        state.pages.versions(bucket, start="n", start_id="nonsense")
    assert exc.value.code == "invalid_file_id"


def test_hidden_names_make_no_folder_among_names(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "dir/a")
    state.files.hide(bucket, "dir/a")
    assert state.pages.names(bucket, delimiter="/").rows == ()
    assert state.pages.versions(bucket, delimiter="/").rows == (Folder("dir/"),)


def test_after_a_folder_the_listing_goes_on_past_it(state: BucketState, bucket: Bucket) -> None:
    for name in ("dir-", "dir/a", "dir/b", "dir0", "e"):
        put(state, bucket, name)
    page = state.pages.names(bucket, delimiter="/", limit=2)
    assert [row.name for row in page.rows] == ["dir-", "dir/"]
    assert page.next_name == "dir0"
    put(state, bucket, "dir/c")
    rest = state.pages.names(bucket, delimiter="/", start=page.next_name)
    assert [row.name for row in rest.rows] == ["dir0", "e"]
    assert rest.next_name is None


def test_starting_inside_a_folder_shows_the_folder(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "dir/z")
    assert state.pages.names(bucket, delimiter="/", start="dir/m").rows == (Folder("dir/"),)


def test_a_page_costs_what_it_shows(state: BucketState, bucket: Bucket) -> None:
    """100,000 names in 10 folders: the folders are ten seeks, not a scan."""
    content, attributes = state.store(b""), Attributes("text/plain")
    count = sum(seed(state, bucket, numbered(100_000, per_folder=10_000), content, attributes))
    assert count == 100_000
    page, steps = stepped(state, lambda: state.pages.names(bucket, delimiter="/"))
    assert len(page.rows) == 10
    assert steps < 2000
    page, steps = stepped(state, lambda: state.pages.names(bucket, start="dir-000009/file-009000", limit=10))
    assert len(page.rows) == 10
    assert steps < 2000


def stepped(state: BucketState, work: Callable[[], Page]) -> tuple[Page, int]:
    """The page, and roughly how many instructions SQLite ran for it."""
    hundreds = itertools.count()

    def step() -> int:
        next(hundreds)
        return 0

    state.database._connection.set_progress_handler(step, 100)
    page = work()
    state.database._connection.set_progress_handler(None, 0)
    return page, next(hundreds) * 100


def test_seeding_covers_what_was_there(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "a", b"old")
    put(state, bucket, "b", b"old")
    content = state.store(b"seeded")
    assert sum(seed(state, bucket, ["a", "c"], content, Attributes("text/plain"))) == 2
    rows = state.pages.names(bucket).rows
    assert [(row.name, state.read(row)) for row in rows if isinstance(row, Version)] == [
        ("a", b"seeded"),
        ("b", b"old"),
        ("c", b"seeded"),
    ]
    assert len(state.pages.versions(bucket).rows) == 4

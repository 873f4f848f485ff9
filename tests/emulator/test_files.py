"""Versions, hide markers, deletion, bytes: the table of what each operation does."""

from __future__ import annotations

import pytest

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.clock import Clock
from b2mount.emulator.errors import ApiError
from b2mount.emulator.records import Bucket
from tests.emulator.conftest import NOON, Hands, put, sha1


def actions(state: BucketState, bucket: Bucket) -> list[str]:
    return [row.action for row in state.pages.versions(bucket).rows]  # type: ignore[union-attr]  # it is there, or the test fails


def shown(state: BucketState, bucket: Bucket, name: str) -> bytes | None:
    version = state.files.visible(bucket, name)
    return None if version is None else state.read(version)


def code(exc: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return exc.value.status, exc.value.code


def test_the_life_of_a_name(state: BucketState, bucket: Bucket, hands: Hands) -> None:
    v1 = put(state, bucket, "n", b"1")
    hands.now += 1
    v2 = put(state, bucket, "n", b"2")
    assert shown(state, bucket, "n") == b"2"
    hands.now += 1
    marker = state.files.hide(bucket, "n")
    assert shown(state, bucket, "n") is None
    assert state.read(state.files.get(v2.file_id)) == b"2"
    hands.now += 1
    v3 = put(state, bucket, "n", b"3")
    assert actions(state, bucket) == ["upload", "hide", "upload", "upload"]
    assert shown(state, bucket, "n") == b"3"
    state.files.delete("n", v3.file_id)
    assert shown(state, bucket, "n") is None
    state.files.delete("n", marker.file_id)
    assert shown(state, bucket, "n") == b"2"
    state.files.delete("n", v2.file_id)
    assert shown(state, bucket, "n") == b"1"
    state.files.delete("n", v1.file_id)
    assert shown(state, bucket, "n") is None
    assert actions(state, bucket) == []


def test_of_one_instant_the_later_version_wins(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "n", b"1")
    put(state, bucket, "n", b"2")
    assert shown(state, bucket, "n") == b"2"
    state.files.hide(bucket, "n")
    assert shown(state, bucket, "n") is None


def test_a_version_dated_back_goes_below(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "n", b"new")
    put(state, bucket, "n", b"old", timestamp=NOON - 1)
    assert shown(state, bucket, "n") == b"new"


def test_coarse_time_gives_whole_seconds_and_any_winner() -> None:
    hands = Hands()
    hands.now += 345
    state = BucketState(None, clock=Clock(hands, coarse=True))
    bucket = state.buckets.create("some-bucket")
    winners = set()
    for number in range(20):
        assert put(state, bucket, f"n{number}", b"1").timestamp % 1000 == 0
        put(state, bucket, f"n{number}", b"2")
        winners.add(shown(state, bucket, f"n{number}"))
    assert winners == {b"1", b"2"}


def test_a_clock_that_goes_back_is_not_believed(state: BucketState, bucket: Bucket, hands: Hands) -> None:
    put(state, bucket, "n", b"1")
    hands.now -= 60_000
    put(state, bucket, "n", b"2")
    assert shown(state, bucket, "n") == b"2"


def test_a_clock_that_is_advanced_goes_on_from_there(
    state: BucketState, bucket: Bucket, hands: Hands
) -> None:
    state.clock.advance(90_000)
    hands.now += 1
    assert put(state, bucket, "n").timestamp == NOON + 90_001


def test_refusals(state: BucketState, bucket: Bucket) -> None:
    with pytest.raises(ApiError) as exc:
        state.files.hide(bucket, "absent")
    assert code(exc) == (400, "no_such_file")
    version = put(state, bucket, "n")
    state.files.hide(bucket, "n")
    with pytest.raises(ApiError) as exc:
        state.files.hide(bucket, "n")
    assert code(exc) == (400, "already_hidden")
    for name, file_id in (("n", "nonsense"), ("other", version.file_id), ("n", version.file_id + "0")):
        with pytest.raises(ApiError) as exc:
            state.files.delete(name, file_id)
        assert code(exc) == (400, "file_not_present")
    state.files.delete("n", version.file_id)
    with pytest.raises(ApiError) as exc:
        state.files.get(version.file_id)
    assert code(exc) == (404, "not_found")
    with pytest.raises(ApiError) as exc:
        state.files.get("nonsense")
    assert code(exc) == (400, "bad_request")


def test_copies_share_bytes_and_the_last_one_takes_them_along(state: BucketState, bucket: Bucket) -> None:
    source = put(state, bucket, "a", b"0123456789")
    whole = state.files.put(bucket, "b", state.copied(source), source.attributes)
    piece = state.files.put(bucket, "c", state.copied(source, "bytes=2-4"), source.attributes)
    assert (whole.sha1, whole.md5) == (source.sha1, source.md5)
    assert (piece.size, piece.sha1) == (3, sha1(b"234"))
    assert len(list(state.blobs.names())) == 1
    state.files.delete("a", source.file_id)
    state.files.delete("b", whole.file_id)
    assert state.read(piece) == b"234"
    state.files.delete("c", piece.file_id)
    assert list(state.blobs.names()) == []


def test_a_pinned_blob_outlives_its_version(state: BucketState, bucket: Bucket) -> None:
    version = put(state, bucket, "a", b"0123456789")
    segments = state.contents.segments(version.number, 0, 10)
    with state.blobs.pinned(segment.blob for segment in segments):
        state.files.delete("a", version.file_id)
        assert state.blobs.read(segments[0]) == b"0123456789"
    assert list(state.blobs.names()) == []


def test_a_bucket_with_anything_in_it_stays(state: BucketState, bucket: Bucket) -> None:
    version = put(state, bucket, "n")
    state.files.hide(bucket, "n")
    state.files.delete("n", version.file_id)
    with pytest.raises(ApiError) as exc:
        state.buckets.delete(bucket.bucket_id)
    assert code(exc) == (400, "cannot_delete_non_empty_bucket")


@pytest.mark.parametrize(
    ("range_", "span"),
    [(None, b"0123456789"), ("bytes=0-0", b"0"), ("bytes=5-", b"56789"), ("bytes=8-99", b"89")],
)
def test_ranges_of_copies(state: BucketState, bucket: Bucket, range_: str | None, span: bytes) -> None:
    source = put(state, bucket, "a", b"0123456789")
    copy = state.files.put(bucket, "b", state.copied(source, range_), source.attributes)
    assert state.read(copy) == span


@pytest.mark.parametrize("range_", ["bytes=10-", "bytes=3-2", "bytes=-3", "3-4", ""])
def test_bad_ranges_of_copies(state: BucketState, bucket: Bucket, range_: str) -> None:
    source = put(state, bucket, "a", b"0123456789")
    with pytest.raises(ApiError):
        state.copied(source, range_)

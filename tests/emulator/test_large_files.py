"""Large files: parts in any order, the checks at finish, what is visible when."""

from __future__ import annotations

import pytest

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.errors import ApiError
from b2mount.emulator.records import Attributes, Bucket, Version
from tests.emulator.conftest import Hands, put, sha1


@pytest.fixture
def large(state: BucketState, bucket: Bucket) -> Version:
    return state.large_files.start(bucket, "n", Attributes("text/plain"))


def part(state: BucketState, large: Version, number: int, data: bytes) -> str:
    return state.large_files.put_part(large.file_id, number, state.store(data)).sha1


def test_parts_in_any_order_make_a_file(state: BucketState, bucket: Bucket, large: Version) -> None:
    two = part(state, large, 2, b"world")
    part(state, large, 1, b"to be replaced")
    one = part(state, large, 1, b"hello ")
    three = part(state, large, 3, b"!")
    assert state.files.visible(bucket, "n") is None
    assert [p.number for p in state.large_files.parts(large.file_id)] == [1, 2, 3]
    done = state.large_files.finish(large.file_id, [one, two, three])
    assert (done.file_id, done.action, done.sha1, done.md5) == (large.file_id, "upload", "none", None)
    assert state.read(done) == b"hello world!"
    assert state.read(done, 4, 8) == b"o wo"
    assert len(list(state.blobs.names())) == 3
    state.files.delete("n", done.file_id)
    assert list(state.blobs.names()) == []


def test_it_is_dated_when_it_was_started(
    state: BucketState, bucket: Bucket, large: Version, hands: Hands
) -> None:
    hands.now += 10
    put(state, bucket, "n", b"small")
    hands.now += 10
    done = state.large_files.finish(
        large.file_id, [part(state, large, 1, b"12345"), part(state, large, 2, b"6")]
    )
    assert done.timestamp == large.timestamp
    visible = state.files.visible(bucket, "n")
    assert visible is not None
    assert state.read(visible) == b"small"


@pytest.mark.parametrize(
    ("parts", "sha1s", "code"),
    [
        ([], [], "bad_request"),
        ([(1, b"12345")], [sha1(b"12345")], "bad_request"),
        ([(1, b"12345"), (2, b"6")], [sha1(b"12345")], "bad_request"),
        ([(1, b"12345"), (3, b"6")], [sha1(b"12345"), sha1(b"6")], "missing_part"),
        ([(1, b"12345"), (2, b"6")], [sha1(b"12345"), sha1(b"7")], "part_sha1_mismatch"),
        ([(1, b"1234"), (2, b"6")], [sha1(b"1234"), sha1(b"6")], "bad_request"),
        ([(1, b"12345"), (2, b"6")], [sha1(b"12345"), sha1(b"6"), sha1(b"")], "missing_part"),
    ],
)
def test_what_finish_refuses(
    state: BucketState, large: Version, parts: list[tuple[int, bytes]], sha1s: list[str], code: str
) -> None:
    for number, data in parts:
        part(state, large, number, data)
    with pytest.raises(ApiError) as exc:
        state.large_files.finish(large.file_id, sha1s)
    assert (exc.value.status, exc.value.code) == (400, code)
    assert state.files.get(large.file_id).action == "start"


def test_finish_is_not_idempotent(state: BucketState, large: Version) -> None:
    sha1s = [part(state, large, 1, b"12345"), part(state, large, 2, b"6")]
    state.large_files.finish(large.file_id, sha1s)
    with pytest.raises(ApiError):
        state.large_files.finish(large.file_id, sha1s)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_forgetting_one_takes_its_parts(state: BucketState, bucket: Bucket, large: Version, end: str) -> None:
    part(state, large, 1, b"12345")
    if end == "cancel":
        state.large_files.cancel(large.file_id)
    else:
        state.files.delete("n", large.file_id)
    assert list(state.blobs.names()) == []
    assert state.large_files.unfinished(bucket, "", 0, 10) == []
    with pytest.raises(ApiError):
        part(state, large, 2, b"6")


def test_it_hides_nothing_while_it_is_unfinished(state: BucketState, bucket: Bucket) -> None:
    put(state, bucket, "n", b"old")
    state.large_files.start(bucket, "n", Attributes("text/plain"))
    visible = state.files.visible(bucket, "n")
    assert visible is not None
    assert [row.action for row in state.pages.versions(bucket).rows] == ["start", "upload"]  # type: ignore[union-attr]  # it is there, or the test fails
    state.files.hide(bucket, "n")
    assert state.files.visible(bucket, "n") is None


def test_parts_can_be_copies(state: BucketState, bucket: Bucket, large: Version) -> None:
    source = put(state, bucket, "a", b"0123456789")
    parts = [state.copied(source, "bytes=5-9"), state.copied(source)]
    for number, content in enumerate(parts, 1):
        state.large_files.put_part(large.file_id, number, content)
    done = state.large_files.finish(large.file_id, [sha1(b"56789"), source.sha1])
    state.files.delete("a", source.file_id)
    assert state.read(done) == b"567890123456789"


def test_only_finished_files_are_copied(state: BucketState, bucket: Bucket, large: Version) -> None:
    with pytest.raises(ApiError):
        state.copied(large)
    put(state, bucket, "a")
    with pytest.raises(ApiError):
        state.copied(state.files.hide(bucket, "a"))


def test_no_part_is_empty(state: BucketState, large: Version) -> None:
    sha1s = [part(state, large, 1, b"12345"), part(state, large, 2, b"")]
    with pytest.raises(ApiError):
        state.large_files.finish(large.file_id, sha1s)

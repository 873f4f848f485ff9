from __future__ import annotations

import pytest

from b2mount.errors import InvalidArgument, NoRoom
from b2mount.model import ObjectMetadata
from b2mount.writing.object_info import (
    check_content_type,
    check_pair,
    check_room,
    fitting,
    same_info,
)
from tests.writing.world import at

OURS = {"src_last_modified_millis": "1700000000000", "posix": "mode=100644,uid=0,gid=0,ns=1"}
SHA1 = "a" * 40


def fitted(info: dict[str, str], sha1: str | None = None, key: str = "a") -> set[str]:
    made = fitting(at(key), ObjectMetadata("text/plain", info), sha1)
    assert made.content_type == "text/plain"
    assert all(info.get(name, sha1) == value for name, value in made.info.items())
    return set(made.info)


def pairs(count: int) -> dict[str, str]:
    return {f"key{number}": "x" for number in range(count)}


def test_the_sha1_of_other_bytes_never_goes_up():
    assert fitted({**OURS, "large_file_sha1": "b" * 40}) == set(OURS)
    assert fitting(at("a"), ObjectMetadata("x", {"large_file_sha1": "b"}), SHA1).info == {
        "large_file_sha1": SHA1
    }


@pytest.mark.parametrize(
    ("foreign", "left"),
    [
        (7, {"large_file_sha1", "posix", "src_last_modified_millis"}),
        (8, {"posix", "src_last_modified_millis"}),
        (9, {"src_last_modified_millis"}),
        (10, set()),
    ],
)
def test_ten_pairs(foreign: int, left: set[str]):
    assert fitted({**pairs(foreign), **OURS}, SHA1) == set(pairs(foreign)) | left


@pytest.mark.parametrize(
    ("size", "left"),
    [
        (1800, {"large_file_sha1", "posix", "src_last_modified_millis"}),
        (1945, {"posix", "src_last_modified_millis"}),
        (2000, {"src_last_modified_millis"}),
        (2047, set()),
        (2048, {"large_file_sha1", "posix", "src_last_modified_millis"}),  # it is not the low limit
        (6900, {"posix", "src_last_modified_millis"}),
        (6998, set()),
    ],
)
def test_bytes(size: int, left: set[str]):
    assert fitted({"k": "x" * (size - 1), **OURS}, SHA1) - {"k"} == left


def test_bytes_count_and_not_letters():
    assert fitted({"k": "ä" * 1000, **OURS}, SHA1) == {"k", "src_last_modified_millis"}


def test_the_name_counts():
    info = {"k": "x" * 1040, **OURS}
    assert fitted(info, SHA1) == {"k", "large_file_sha1", *OURS}
    assert fitted(info, SHA1, "n" * 900) == {"k", *OURS}


def test_the_sha1_makes_no_difference():
    assert same_info({"a": "1", "large_file_sha1": "x"}, {"a": "1"})
    assert not same_info({"a": "1"}, {"a": "2"})


@pytest.mark.parametrize(
    ("key", "value"),
    [("a", "ü\n"), ("~!#$%^&*'|+-_.`9", "x"), ("b2-cache-control", "no-cache"), ("k" * 50, " ")],
)
def test_pairs_that_b2_takes(key: str, value: str) -> None:
    check_pair(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "x"),
        ("k" * 51, "x"),
        ("Upper", "x"),
        ("a b", "x"),
        ("ü", "x"),
        ("a", ""),
        ("a", "\0"),
        ("b2-other", "x"),
        ("b2-expires", "ü"),
        ("b2-expires", "a\nb"),
    ],
)
def test_pairs_that_b2_refuses(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument):
        check_pair(key, value)


@pytest.mark.parametrize("text", ["text/plain", "image/svg+xml", "text/html; charset=utf-8"])
def test_content_types(text: str) -> None:
    check_content_type(text)


@pytest.mark.parametrize("text", ["", "text", "text/", "a/b\nc: d", "a/b c", "b2/x-auto", "a/" + "b" * 200])
def test_what_is_no_content_type(text: str) -> None:
    with pytest.raises(InvalidArgument):
        check_content_type(text)


def room(before: dict[str, str], after: dict[str, str]) -> bool:
    try:
        check_room(at("a"), ObjectMetadata("x", OURS | before), ObjectMetadata("x", OURS | after))
    except NoRoom:
        return False
    return True


def test_room_for_ten_pairs_with_the_sha1() -> None:
    assert room(pairs(6), pairs(7))
    assert not room(pairs(7), pairs(8))
    assert room(pairs(9), pairs(8))  # fewer than there were is always right
    assert room(pairs(8), pairs(8) | {"key0": "y"})


def test_room_for_so_many_bytes() -> None:
    assert room({}, {"a": "x" * 1800})
    assert not room({}, {"a": "x" * 2000})
    assert not room({}, {"a": "%" * 700})  # each of them travels as three
    assert room({"a": "x" * 2100}, {"a": "x" * 6000})  # B2 has shown that it takes more here
    assert not room({"a": "x" * 2100}, {"a": "x" * 7000})
    assert room({"a": "x" * 7000}, {"a": "x" * 6999})

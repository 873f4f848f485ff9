"""Which names and infos are taken: the limits of the fact sheet, a table each."""

from __future__ import annotations

import pytest

from b2mount.emulator.content_types import resolve
from b2mount.emulator.errors import ApiError
from b2mount.emulator.names import check_bucket_name, check_file_name, check_info, successor


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b",
        "./..",
        "back\\slash",
        "é" * 125,
        "/".join(["x" * 250] * 4),
        "+ %",
        "\U0001f600",
        "a" * 250,
    ],
)
def test_good_names(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "a\x1f",
        "a\x7f",
        "é" * 126,
        "a/" + "x" * 251,
        "/".join(["x" * 250] * 4) + "/" + "y" * 21,
        "\udcff",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(ApiError) as exc:
        check_file_name(name)
    assert (exc.value.status, exc.value.code) == (400, "bad_request")


@pytest.mark.parametrize(
    ("info", "locked", "good"),
    [
        ({f"k{n}": "v" for n in range(10)}, False, True),
        ({f"k{n}": "v" for n in range(11)}, False, False),
        ({"k": "v" * 6998}, False, True),
        ({"k": "v" * 6999}, False, False),
        ({"k": "v" * 2046}, True, True),
        ({"k": "v" * 2047}, True, False),
        ({"b2-expires": "x"}, False, True),
        ({"b2-other": "x"}, False, False),
        ({"k" * 51: "x"}, False, False),
        ({"a b": "x"}, False, False),
        ({"a-_.`~!#$%^&*'|+": "x"}, False, True),
    ],
)
def test_infos(info: dict[str, str], locked: bool, good: bool) -> None:
    if good:
        check_info("n", info, locked=locked)
    else:
        with pytest.raises(ApiError):
            check_info("n", info, locked=locked)


@pytest.mark.parametrize(
    "name", ["b2-bucket", "B2-bucket", "short", "a" * 64, "under_score", "dot.dot.dot", ""]
)
def test_bad_bucket_names(name: str) -> None:
    with pytest.raises(ApiError):
        check_bucket_name(name)


@pytest.mark.parametrize(
    ("prefix", "expected"), [(b"dir/", b"dir0"), (b"a\xff", b"b"), (b"\xff", None), (b"", None)]
)
def test_successor(prefix: bytes, expected: bytes | None) -> None:
    assert successor(prefix) == expected


@pytest.mark.parametrize(
    ("given", "name", "kept"),
    [
        ("b2/x-auto", "a/b.txt", "text/plain"),
        ("b2/x-auto", "a.jpg/b", "application/octet-stream"),
        ("b2/x-auto", "b.nothing-known", "application/octet-stream"),
        ("text/x-own", "b.txt", "text/x-own"),
    ],
)
def test_content_types(given: str, name: str, kept: str) -> None:
    assert resolve(given, name) == kept

"""Attributes of programs survive the way through one pair of object info, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.namespace.stored_xattrs import MAX_NAME_BYTES, XATTR, stored_in, with_stored

names = st.binary(min_size=1, max_size=MAX_NAME_BYTES).filter(lambda name: b"\0" not in name)
values = st.one_of(
    st.binary(max_size=99), st.text(max_size=99).map(lambda text: text.encode(errors="replace"))
)


@given(st.dictionaries(names, values, max_size=5), st.dictionaries(st.sampled_from("abc"), st.text()))
def test_what_is_written_is_read_back(xattrs: dict[bytes, bytes], info: dict[str, str]) -> None:
    written = with_stored(info, xattrs)
    assert stored_in(written) == xattrs
    assert {key: text for key, text in written.items() if key != XATTR} == info
    assert written.get(XATTR, "").encode().isascii() or "\n" not in written[XATTR]
    assert with_stored(written, {}) == info


@given(st.text())
def test_whatever_others_wrote_there_breaks_nothing(text: str) -> None:
    for name in stored_in({XATTR: text}):
        assert 0 < len(name) <= MAX_NAME_BYTES
        assert b"\0" not in name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"hello world", "c=hello world"),
        ("café".encode(), "c=café"),
        (b"", "c="),
        (b"a=b&c%\n", "c=a=b%26c%25%0A"),
        (b"0s", "c=%30s"),
        (bytes(range(10)), "c=0sAAECAwQFBgcICQ=="),
    ],
)
def test_a_person_can_read_text(value: bytes, text: str) -> None:
    assert with_stored({}, {b"c": value}) == {XATTR: text}
    assert stored_in({XATTR: text}) == {b"c": value}


def test_broken_pairs_are_left_out_alone() -> None:
    text = "&".join(["good=1", "bare", "=noname", "%00=nul", "x" * 251 + "=long", "b=0s!", "last=2"])
    assert stored_in({XATTR: text}) == {b"good": b"1", b"b": b"0s!", b"last": b"2"}


def test_what_is_no_unicode_is_read_too() -> None:
    assert stored_in({XATTR: "\ud800=1&b=\udcff"}) == {b"\xed\xa0\x80": b"1", b"b": b"\xed\xb3\xbf"}


def test_the_order_does_not_matter() -> None:
    assert with_stored({}, {b"b": b"2", b"a": b"1"}) == with_stored({}, {b"a": b"1", b"b": b"2"})

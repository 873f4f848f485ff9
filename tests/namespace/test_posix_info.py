"""Attributes survive the way through object info; whatever others wrote there breaks nothing."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import Attributes, Kind, ObjectPath, ObjectVersion
from b2mount.namespace.posix_info import (
    MAX_ID,
    MAX_NS,
    AttributeDefaults,
    attributes_of,
    bare_directory,
    info_of,
    kind_of,
    placeholder_attributes,
    with_times_of,
)

DEFAULTS = AttributeDefaults(uid=1000, gid=100, umask=0o027)
UPLOADED_MS = 1_600_000_000_123


def version(size: int = 0, **info: str) -> ObjectVersion:
    return ObjectVersion(ObjectPath("bucket", "a"), "1", size, UPLOADED_MS, info=info)


ids = st.integers(0, MAX_ID)
times = st.integers(0, MAX_NS)
targets = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=99)
files = st.builds(
    Attributes,
    st.just(Kind.FILE),
    st.integers(0, 0o7777),
    ids,
    ids,
    size=st.integers(0, 10**13),
    modified_ns=times,
    changed_ns=times,
    accessed_ns=times,
)
junk = st.dictionaries(
    st.sampled_from(["src_last_modified_millis", "posix", "symlink", "large_file_sha1", "author"]),
    st.one_of(st.text(max_size=60), st.sampled_from(["mode=banana", "uid=-1,ns=-5", "=,=,,", "9" * 5000])),
)


@given(files, junk)
def test_a_file_comes_back(attributes: Attributes, base: dict[str, str]) -> None:
    back = attributes_of(version(attributes.size, **info_of(attributes, base)), DEFAULTS)
    for field in ("kind", "mode", "uid", "gid", "size", "modified_ns", "target"):
        assert getattr(back, field) == getattr(attributes, field)


@given(files, targets)
def test_a_symlink_comes_back(attributes: Attributes, target: str) -> None:
    link = Attributes(Kind.SYMLINK, 0o777, 1, 2, len(target.encode()), attributes.modified_ns, 0, 0, target)
    back = attributes_of(version(0, **info_of(link, {})), DEFAULTS)
    assert (back.kind, back.target, back.size) == (Kind.SYMLINK, target, len(target.encode()))
    assert back.modified_ns == link.modified_ns


@given(files)
def test_a_directory_comes_back(attributes: Attributes) -> None:
    own = Attributes(Kind.DIRECTORY, attributes.mode, attributes.uid, 3, 0, attributes.modified_ns, 0, 0)
    back = placeholder_attributes(version(0, **info_of(own, {})), DEFAULTS)
    assert (back.kind, back.mode, back.uid, back.gid) == (own.kind, own.mode, own.uid, own.gid)
    assert back.modified_ns == own.modified_ns


@given(junk, st.integers(0, 1))
def test_nothing_that_others_wrote_raises(info: dict[str, str], size: int) -> None:
    for attributes in (
        attributes_of(version(size, **info), DEFAULTS),
        placeholder_attributes(version(size, **info), DEFAULTS),
    ):
        assert 0 <= attributes.mode <= 0o7777
        assert 0 <= attributes.modified_ns <= MAX_NS


@pytest.mark.parametrize(
    "posix",
    [
        "mode=banana,uid=x,gid=-1,ns=abc",
        "mode=040644",
        "mode=99,uid=4294967295,gid=99999999999999999999,ns=1000000",
        "mode=1777777777,uid=٣,gid= 5,ns=1_0",
        "",
        "mode",
    ],
)
def test_broken_values_fall_back_one_by_one(posix: str) -> None:
    attributes = attributes_of(version(3, posix=posix, src_last_modified_millis="1000"), DEFAULTS)
    assert (attributes.mode, attributes.uid, attributes.gid) == (0o640, 1000, 100)
    assert attributes.modified_ns == 1_000_000_000


def test_one_broken_value_leaves_the_others() -> None:
    attributes = attributes_of(version(3, posix="mode=100755,uid=x,gid=5"), DEFAULTS)
    assert (attributes.mode, attributes.uid, attributes.gid) == (0o755, 1000, 5)


@pytest.mark.parametrize("millis", ["-1", "", "yesterday", "9" * 30, "1e3", "12 ", "9223372036855"])
def test_absurd_times_become_the_upload_time(millis: str) -> None:
    attributes = attributes_of(version(src_last_modified_millis=millis), DEFAULTS)
    assert attributes.modified_ns == UPLOADED_MS * 1_000_000


NODES = [Kind.FIFO, Kind.SOCKET, Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE]


@given(files, st.sampled_from(NODES), st.integers(0, 2**32 - 1), junk)
def test_a_node_comes_back(attributes: Attributes, kind: Kind, device: int, base: dict[str, str]) -> None:
    is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    node = attrs.evolve(attributes, kind=kind, size=0, device=device if is_device else 0)
    back = attributes_of(version(0, **info_of(node, base)), DEFAULTS)
    for field in ("kind", "mode", "uid", "gid", "size", "modified_ns", "device"):
        assert getattr(back, field) == getattr(node, field)
    assert kind_of(version(1, **info_of(node, base))) is Kind.FILE


@pytest.mark.parametrize(
    ("posix", "kind"),
    [
        ("mode=10644", Kind.FIFO),
        ("mode=140755,uid=1", Kind.SOCKET),
        ("mode=20600,uid=0,gid=0,ns=0,rdev=259", Kind.CHARACTER_DEVICE),
        ("mode=60600,rdev=99999999999", Kind.BLOCK_DEVICE),
        ("mode=100644", Kind.FILE),
        ("mode=40755", Kind.FILE),
        ("mode=120777", Kind.FILE),
        ("mode=644", Kind.FILE),
        ("mode=10", Kind.FILE),
        ("mode=10644x", Kind.FILE),
        ("uid=1,mode=10644", Kind.FILE),
    ],
)
def test_what_is_a_node(posix: str, kind: Kind) -> None:
    assert kind_of(version(0, posix=posix)) is kind
    attributes = attributes_of(version(0, posix=posix), DEFAULTS)
    assert attributes.kind is kind
    assert attributes.device == (259 if "259" in posix else 0)


@pytest.mark.parametrize(
    ("size", "target", "kind"),
    [
        (0, "there", Kind.SYMLINK),
        (1, "there", Kind.FILE),
        (0, "", Kind.FILE),
        (0, "a\0b", Kind.FILE),
        (0, "x" * 4096, Kind.FILE),
        (0, "\ud800", Kind.FILE),
    ],
)
def test_what_is_a_symlink(size: int, target: str, kind: Kind) -> None:
    link = version(size, symlink=target)
    assert kind_of(link) is kind
    assert attributes_of(link, DEFAULTS).kind is kind


def test_strange_info_is_kept_and_the_old_sha1_is_not() -> None:
    base = {
        "author": "me",
        "posix": "mode=100600,flags=7,birth=12",
        "large_file_sha1": "0" * 40,
        "symlink": "x",
    }
    attributes = attributes_of(version(5), DEFAULTS)
    info = info_of(attributes, base)
    assert info["author"] == "me"
    assert info["posix"] == "mode=100640,uid=1000,gid=100,ns=0,flags=7,birth=12"
    assert set(info) == {"author", "posix", "src_last_modified_millis"}


def test_times_before_1970_are_written_as_1970() -> None:
    old = Attributes(Kind.FILE, 0o600, 0, 0, size=0, modified_ns=-1, changed_ns=0, accessed_ns=0)
    assert info_of(old, {})["src_last_modified_millis"] == "0"


def test_directories_that_nobody_described() -> None:
    attributes = bare_directory(DEFAULTS, 42)
    assert (attributes.kind, attributes.mode, attributes.uid) == (Kind.DIRECTORY, 0o750, 1000)
    assert attributes.modified_ns == attributes.changed_ns == 42


def test_an_upload_changes_no_time() -> None:
    seen = Attributes(Kind.FILE, 0o600, 0, 0, size=1, modified_ns=1_000_001, changed_ns=9, accessed_ns=8)
    stored = attributes_of(version(2, src_last_modified_millis="1"), DEFAULTS)
    merged = with_times_of(seen, stored, is_ours=False)
    assert (merged.size, merged.modified_ns, merged.changed_ns, merged.accessed_ns) == (2, 1_000_001, 9, 8)
    foreign = attributes_of(version(2, src_last_modified_millis="7"), DEFAULTS)
    assert with_times_of(seen, foreign, is_ours=False).modified_ns == 7_000_000
    assert with_times_of(seen, foreign, is_ours=True).modified_ns == 1_000_001

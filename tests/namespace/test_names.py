"""Which keys a path can spell, and which new names B2 would take."""

from __future__ import annotations

import pytest

from b2mount.errors import B2MountError, BadName, IllegalCharacters, NameTooLong
from b2mount.model import ObjectPath
from b2mount.namespace.names import (
    OddNames,
    can_be_spelled,
    check_looked_up_name,
    check_new_directory_name,
    check_new_name,
    check_new_target,
)

ROOT = ObjectPath("bucket", "")


@pytest.mark.parametrize("name", ["a", "a b", "...", "é" * 127, "x" * 255, "\t", "\\", "\x7f", ".b2", "~"])
def test_spelled(name: str) -> None:
    assert can_be_spelled(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "x" * 256, "é" * 128, "\ud800", ".bzEmpty"])
def test_not_spelled(name: str) -> None:
    assert not can_be_spelled(name)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("x" * 251, NameTooLong),
        ("é" * 126, NameTooLong),
        ("a\\b", BadName),
        ("", BadName),
        ("..", BadName),
        (".bzEmpty", BadName),
        ("a\nb", IllegalCharacters),
        ("a\x7f", IllegalCharacters),
        ("a\0", IllegalCharacters),
        ("\udcff", IllegalCharacters),
    ],
)
def test_new_names_that_b2_refuses(name: str, error: type[B2MountError]) -> None:
    with pytest.raises(error):
        check_new_name(ROOT, name)


@pytest.mark.parametrize("name", ["a", "x" * 250, "é" * 125, "with space", "#?%+", ".b2"])
def test_new_names_that_b2_takes(name: str) -> None:
    check_new_name(ROOT, name)


def test_the_whole_key_counts() -> None:
    deep = ObjectPath("bucket", ("d" * 99 + "/") * 9)
    check_new_name(deep, "x" * 100)
    with pytest.raises(NameTooLong):
        check_new_name(deep, "x" * 101)


def test_a_directory_has_to_leave_room_for_its_placeholder() -> None:
    deep = ObjectPath("bucket", ("d" * 99 + "/") * 9)
    check_new_directory_name(deep, "x" * 90)
    with pytest.raises(NameTooLong):
        check_new_directory_name(deep, "x" * 92)


def test_symlink_targets() -> None:
    check_new_target("../é")
    check_new_target("ab/" * 1365)
    too_long = ("a" * 4096, "é" * 1000)
    cases = [("", BadName), ("\udc80", IllegalCharacters), *((target, NameTooLong) for target in too_long)]
    for target, error in cases:
        with pytest.raises(error):
            check_new_target(target)


def test_no_linux_name_is_longer() -> None:
    check_looked_up_name("é" * 127)
    check_looked_up_name("\udcff" * 255)
    for name in ("é" * 128, "\udcff" * 256):
        with pytest.raises(NameTooLong):
            check_looked_up_name(name)


def test_odd_keys_count_once_and_are_bounded() -> None:
    odd = OddNames()
    odd.saw(("a//b", "/"))
    odd.saw(("a//b",))
    assert len(odd) == 2
    odd.saw(tuple(map(str, range(20_000))))
    odd.saw(("late",))
    assert len(odd) == 20_002

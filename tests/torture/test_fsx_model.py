"""What the model of one file allows after the death of a mount, and what it doesn't."""

from __future__ import annotations

import pytest

from tests.torture.fsx_model import File, Look


def a_file() -> File:
    """0123456789, durable; then ab at 4, and cut to 8 bytes."""
    file = File()
    file.write(0, b"0123456789")
    file.acknowledged()
    file.write(4, b"ab")
    file.resize(8)
    return file


@pytest.mark.parametrize("found", [b"0123456789", b"0123ab6789", b"0123ab67", b"01234567", b"0123a567"])
def test_each_byte_is_what_was_durable_or_what_came_later(found: bytes) -> None:
    assert a_file().fault(found, Look()) is None


@pytest.mark.parametrize("found", [None, b"", b"0123ab678", b"0123ba67", b"x123ab67", b"0123456\x00"])
def test_nothing_else_is_allowed(found: bytes | None) -> None:
    assert a_file().fault(found, Look()) is not None


def test_what_was_acknowledged_can_only_be_so() -> None:
    file = a_file()
    file.acknowledged()
    assert file.fault(b"0123ab67", Look()) is None
    assert file.fault(b"0123456789", Look()) is not None
    assert file.fault(b"0123ab67", Look(0o600)) is not None


def test_a_file_of_which_nothing_was_acknowledged_may_be_gone() -> None:
    file = File()
    file.write(3, b"x")
    assert file.fault(None, Look()) is None
    assert file.fault(b"\0\0\0x", Look()) is None
    assert file.fault(b"\0\0x\0", Look()) is not None


def test_attributes_are_durable_unless_bytes_are_not() -> None:
    file = a_file()
    file.dress(Look(0o600))
    assert file.fault(b"0123ab67", Look()) is None
    file.acknowledged()
    file.dress(Look(0o640))
    assert file.fault(b"0123ab67", Look(0o600)) is not None


def test_what_a_file_has_replaced_may_come_back_until_that_is_durable() -> None:
    old, new = a_file(), File()
    new.replaces = old
    new.write(0, b"new")
    assert new.fault(b"0123456789", Look()) is None
    assert new.fault(b"new", Look()) is None
    new.acknowledged()
    assert new.fault(b"0123456789", Look()) is not None

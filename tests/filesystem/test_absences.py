"""Which absent names the kernel keeps: those that a refresh can name."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.filesystem import absences
from b2mount.filesystem.absences import Absences

Clock = trio.testing.MockClock


async def test_they_are_known_as_long_as_the_kernel_keeps_them(autojump_clock: Clock) -> None:
    known = Absences()
    assert known.told(1, "a", 10) == 10
    assert known.told(2, "a", 20) == 20
    assert known.told(3, "unknown", 0) == 0
    await trio.sleep(5)
    assert known.told(1, "a", 3) == 3  # the first answer may be what the kernel heard last
    await trio.sleep(4)
    assert set(known) == {(1, "a"), (2, "a")}
    await trio.sleep(2)
    assert set(known) == {(2, "a")}


async def test_there_is_a_bound_beyond_which_the_kernel_keeps_none(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absences, "MOST", 3)
    known = Absences()
    for name in ("a", "b", "c"):
        assert known.told(1, name, 10) == 10
    assert known.told(1, "d", 10) == 0
    assert known.told(1, "a", 10) == 10
    assert set(known) == {(1, "a"), (1, "b"), (1, "c")}
    await trio.sleep(11)
    assert known.told(1, "d", 10) == 10

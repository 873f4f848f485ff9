"""What is kept of listings, while the clock goes on."""

from __future__ import annotations

import itertools

import pytest
import trio

from b2mount.namespace.directory_cache import Answer, DirectoryCache
from tests.namespace.world import path

NAMES = 100


def test_what_runs_out_while_a_directory_is_moved_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on with each look at it: some of what is carried along is due in the midst of it."""
    clock = itertools.count()
    monkeypatch.setattr(trio, "current_time", lambda: float(next(clock)))
    cache = DirectoryCache(1000)
    for number in range(NAMES):
        cache.put_answer(path("old/"), f"{number}", Answer(None, 1000.0 + 10 * number))
    while next(clock) < 990:
        pass
    cache.moved(path("old/"), path("new/"))
    left = [number for number in range(NAMES) if cache.answer(path("new/"), f"{number}") is not None]
    assert 0 < len(left) < NAMES
    assert all(cache.answer(path("old/"), f"{number}") is None for number in range(NAMES))

"""Samples are counted once for what runs, and once for each function of b2mount above it."""

from __future__ import annotations

from tests.bench.profile import Costs

LINES = [
    "<module> (b2mount/cli/main.py:3);walk (/x/b2mount/a.py:7);walk (b2mount/a.py:9);read (trio/_io.py:1) 3",
    "<module> (/x/b2mount/cli/main.py:3);walk (/x/b2mount/a.py:8) 1",
    "WorkerThread._work (trio/_core/_thread_cache.py:1) 90",
]


def test_costs() -> None:
    costs = Costs.of(LINES)
    assert costs.own == {"trio/_io.py read": 3, "b2mount/a.py walk": 1}
    assert costs.within == {"b2mount/a.py walk": 4}
    assert costs.table(costs.own, 1) == " 75.0 %  trio/_io.py read"

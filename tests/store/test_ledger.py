"""Calls by class, rows by the thousand, days from midnight UTC, prices."""

from __future__ import annotations

import pytest
import trio

from b2mount.emulator.faults import FaultKind
from b2mount.emulator.requests import PRICES
from b2mount.store.ledger import Ledger, Usage, class_of
from tests.store.conftest import Site

DAY = 86_400.0


@pytest.mark.parametrize("call", sorted(PRICES))
def test_classes_as_the_emulator_has_them(call: str) -> None:
    assert class_of(call) == PRICES[call]


@pytest.mark.parametrize(("rows", "calls"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (3123, 4), (10_000, 10)])
def test_rows_are_billed_by_the_thousand(rows: int, calls: int) -> None:
    ledger = Ledger()
    ledger.called("b2_list_file_names")
    ledger.listed("b2_list_file_names", rows)
    assert ledger.total.calls == {"b2_list_file_names": calls}
    assert ledger.total.by_class == {"A": 0, "B": 0, "C": calls}


def test_a_day_ends_at_midnight() -> None:
    now = 5 * DAY + 86_399
    ledger = Ledger(lambda: now)
    ledger.called("b2_hide_file")
    ledger.received(100)
    assert ledger.today == ledger.total
    now += 2
    assert ledger.today == Usage({}, 0, 0)
    ledger.sent(7)
    assert ledger.today == Usage({}, 0, 7)
    assert ledger.total == Usage({"b2_hide_file": 1}, 100, 7)


@pytest.mark.parametrize(
    ("calls", "down", "price"),
    [
        ({}, 0, 0.0),
        ({"b2_upload_file": 1_000_000}, 0, 0.0),
        ({"b2_list_file_names": 2_500}, 0, 0.0),
        ({"b2_list_file_names": 3_500}, 0, 0.004),
        ({"b2_download_file_by_id": 12_500}, 0, 0.004),
        ({}, 5_000_000_000, 0.05),
    ],
)
def test_prices(calls: dict[str, int], down: int, price: float) -> None:
    assert Usage(calls, down, 0).price == pytest.approx(price)


async def test_it_agrees_with_the_server(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    before = site.store.ledger.total
    version = await site.put("dir/file", b"x" * 1000)
    site.fault(FaultKind.ERROR, "b2_list_file_names", status=503)
    await site.store.list_objects("bucket", "", delimiter="/")
    await site.store.stat(version.path)
    await site.read(version)
    await site.store.hide(version.path)
    after = site.store.ledger.total
    made = {call: count - before.calls.get(call, 0) for call, count in after.calls.items()}
    assert {call: count for call, count in made.items() if count} == dict(site.server.counts.calls)
    assert after.bytes_down - before.bytes_down == 1000
    assert after.bytes_up - before.bytes_up == 1000

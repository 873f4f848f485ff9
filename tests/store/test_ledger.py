"""Calls by class, rows by the thousand, days from midnight UTC, prices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from b2mount.budget import Period
from b2mount.emulator.faults import FaultKind
from b2mount.emulator.requests import PRICES
from b2mount.model import ObjectMetadata
from b2mount.store.ledger import Ledger, Usage, class_of
from tests.fakes.memory_store import literal
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
    assert ledger.used(Period.DAY) == ledger.total
    now += 2
    assert ledger.used(Period.DAY) == Usage({}, 0, 0)
    ledger.sent(7)
    assert ledger.used(Period.DAY) == Usage({}, 0, 7)
    assert ledger.total == Usage({"b2_hide_file": 1}, 100, 7)


@pytest.mark.parametrize(
    ("calls", "down", "price"),
    [
        ({}, 0, 0.0),
        ({"b2_upload_file": 1_000_000}, 0, 0.0),
        ({"b2_list_file_names": 1_000}, 0, 0.004),
        ({"b2_download_file_by_id": 10_000}, 0, 0.004),
        ({"b2_download_file_by_id": 5_000, "b2_copy_file": 500, "b2_hide_file": 9}, 10**9, 0.014),
        ({}, 5_000_000_000, 0.05),
    ],
)
def test_prices(calls: dict[str, int], down: int, price: float) -> None:
    assert Usage(calls, down, 0).price == pytest.approx(price)


def test_what_is_free_each_day() -> None:
    assert Usage({"b2_list_file_names": 2_400, "b2_hide_file": 10}).free_left == {"B": 2500, "C": 100}
    assert Usage({"b2_head_file_by_name": 2_600}).free_left == {"B": 0, "C": 2500}


def test_hours_days_and_months() -> None:
    now = datetime(2024, 2, 28, 22, 59, 59, tzinfo=UTC).timestamp()
    ledger = Ledger(lambda: now)

    def used() -> list[int]:
        return [ledger.used(period).bytes_up for period in Period]

    found = [used()]
    for seconds in (0, 1, 3599, 1, 86_399, 1):
        now += seconds
        ledger.sent(1)
        found.append(used())
    assert found == [[0, 0, 0], [1, 1, 1], [1, 2, 2], [2, 3, 3], [1, 1, 4], [1, 2, 5], [1, 1, 1]]


def test_what_was_kept_is_taken_up_in_its_own_time() -> None:
    now = 5 * DAY
    earlier = Ledger(lambda: now)
    earlier.called("b2_list_file_names")
    earlier.received(10)
    kept = earlier.periods()
    now += 3600
    later = Ledger(lambda: now)
    later.called("b2_hide_file")  # before it is known what there was
    later.restore(kept)
    later.called("b2_list_file_names")
    assert later.total == Usage({"b2_hide_file": 1, "b2_list_file_names": 1}, 0, 0)
    assert later.used(Period.HOUR) == later.total
    assert later.used(Period.DAY) == Usage({"b2_hide_file": 1, "b2_list_file_names": 2}, 10, 0)
    now += DAY
    later.restore(kept)
    assert later.used(Period.DAY) == Usage()


def test_what_others_counted_is_ours_too_but_not_kept_twice() -> None:
    now = 5 * DAY
    ledger, other = Ledger(lambda: now), Ledger(lambda: now)
    ledger.sent(1)
    other.sent(2)
    ledger.elsewhere = (other.periods(), {})
    assert ledger.used(Period.MONTH) == Usage({}, 0, 3)
    assert ledger.periods()[Period.MONTH].usage == ledger.total == Usage({}, 0, 1)
    now += DAY
    assert ledger.used(Period.DAY) == Usage()


async def test_a_long_list_of_parts_is_billed_by_the_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("b2mount.store.b2_large_files.PARTS_PER_PAGE", 2)
    upload = await site.store.start_multipart(site.path("large"), ObjectMetadata())
    for number in range(1, 6):
        await site.store.put_part(upload, number, literal(bytes([number]) * 1000))
    monkeypatch.setattr("b2mount.store.ledger.ROWS_PER_CALL", 2)
    assert len(await site.store.list_parts(upload)) == 5
    assert site.store.ledger.total.calls["b2_list_parts"] == site.calls("b2_list_parts") == 3


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

"""What the store tells of uploads that are not done yet."""

from __future__ import annotations

import pytest
import trio

from b2mount.emulator.faults import FaultKind
from b2mount.errors import OverQuota
from b2mount.model import ObjectMetadata
from tests.fakes.memory_store import literal
from tests.store.conftest import PART, Site, until_under_way


async def test_an_upload_tells_what_it_has_sent_until_it_is_done(site: Site) -> None:
    site.fault(FaultKind.DELAY, "b2_upload_file", seconds=1)
    assert site.store.under_way(site.path("a")) == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.put, "a", b"x" * 100_000)
        await until_under_way(site.store, site.path("a"), 100_000)
        assert site.store.under_way(site.path("b")) == 0
    assert site.store.under_way(site.path("a")) == 0


async def test_the_parts_of_a_large_file_count_together(site: Site) -> None:
    site.fault(FaultKind.DELAY, "b2_upload_part", seconds=1, times=2)
    upload = await site.store.start_multipart(site.path("large"), ObjectMetadata())
    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(site.store.put_part, upload, number, literal(bytes(PART)))
        await until_under_way(site.store, site.path("large"), 2 * PART)
    assert site.store.under_way(site.path("large")) == 0


async def test_a_failed_try_counts_no_more(site: Site) -> None:
    site.fault(FaultKind.ERROR, "b2_upload_file", status=403)
    with pytest.raises(OverQuota):
        await site.put("a", b"x" * 1000)
    assert site.store.under_way(site.path("a")) == 0

from __future__ import annotations

from b2mount.model import BlockId
from b2mount.reading.recent_blocks import RecentBlocks


def test_the_first_in_is_the_first_out_whoever_reads_it() -> None:
    recent = RecentBlocks(30)
    for index in range(3):
        recent.add(BlockId("v", index), bytes(10))
    assert recent.get(BlockId("v", 0)) is not None
    recent.add(BlockId("v", 3), bytes(10))
    assert [BlockId("v", index) in recent for index in range(4)] == [False, True, True, True]
    assert recent.size == 30


def test_a_block_counts_once_however_often_it_comes() -> None:
    recent = RecentBlocks(30)
    recent.add(BlockId("v", 0), bytes(10))
    recent.add(BlockId("v", 0), bytes(20))
    assert recent.size == 20


def test_a_version_goes_as_a_whole() -> None:
    recent = RecentBlocks(100)
    recent.add(BlockId("v", 0), bytes(10))
    recent.add(BlockId("w", 0), bytes(10))
    assert recent.discard_version("v") == 10
    assert recent.size == 10


def test_what_never_fits_is_not_kept() -> None:
    recent = RecentBlocks(5)
    recent.add(BlockId("v", 0), bytes(10))
    assert recent.size == 0

from __future__ import annotations

from b2mount.model import BlockId
from b2mount.reading.recent_blocks import LEAST, RecentBlocks


def test_the_first_in_is_the_first_out_whoever_reads_it() -> None:
    recent = RecentBlocks(30 * LEAST)
    for index in range(3):
        recent.add(BlockId("v", index), bytes(10 * LEAST))
    assert recent.get(BlockId("v", 0)) is not None
    recent.add(BlockId("v", 3), bytes(10 * LEAST))
    assert [BlockId("v", index) in recent for index in range(4)] == [False, True, True, True]
    assert recent.size == 30 * LEAST


def test_neighbours_are_there_together_or_not_at_all() -> None:
    recent = RecentBlocks(30 * LEAST)
    for index in range(4):
        recent.add(BlockId("v", index), bytes([index]) * 10 * LEAST)
    recent.add(BlockId("v", 5), b"")
    assert recent.get_run("v", range(2, 4)) == [b"\2" * 10 * LEAST, b"\3" * 10 * LEAST]
    assert recent.get_run("v", range(0, 3)) is None, "0 had to go"
    assert recent.get_run("v", range(3, 6)) is None, "4 was never there"


def test_a_block_counts_once_however_often_it_comes() -> None:
    recent = RecentBlocks(30 * LEAST)
    recent.add(BlockId("v", 0), bytes(10 * LEAST))
    recent.add(BlockId("v", 0), bytes(20 * LEAST))
    assert recent.size == 20 * LEAST


def test_a_version_goes_as_a_whole() -> None:
    recent = RecentBlocks(100 * LEAST)
    recent.add(BlockId("v", 0), bytes(10 * LEAST))
    recent.add(BlockId("w", 0), bytes(10 * LEAST))
    assert recent.discard_version("v") == 10 * LEAST
    assert recent.size == 10 * LEAST


def test_what_never_fits_is_not_kept() -> None:
    recent = RecentBlocks(5 * LEAST)
    recent.add(BlockId("v", 0), bytes(10 * LEAST))
    assert recent.size == 0


def test_tiny_blocks_are_not_kept_by_the_million() -> None:
    """Each takes hundreds of bytes beside its own."""
    recent = RecentBlocks(100 * LEAST)
    for number in range(1000):
        recent.add(BlockId(f"v{number}", 0), b"tiny")
    assert [number for number in range(1000) if BlockId(f"v{number}", 0) in recent] == [*range(900, 1000)]
    assert recent.size == 400

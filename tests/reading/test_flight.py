from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.reading.block_file import BLOCK_SIZE, Data
from b2mount.reading.flight import Cutter


@given(st.integers(1, 3 * BLOCK_SIZE), st.lists(st.integers(1, 2 * BLOCK_SIZE), max_size=8))
def test_chunks_of_any_size_become_blocks(size: int, cuts: list[int]) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    blocks: list[Data] = []
    cutter = Cutter(blocks.append, size)
    at = 0
    for cut in [*cuts, 8 * BLOCK_SIZE]:
        cutter.feed(data[at : min(size, at + cut)])
        at += cut
        assert sum(map(len, blocks)) >= min(at, size) // BLOCK_SIZE * BLOCK_SIZE  # at once when whole
    assert cutter.left == 0
    assert b"".join(blocks) == data[:size]
    assert all(len(block) == BLOCK_SIZE for block in blocks[:-1])


def test_more_than_announced_is_ignored() -> None:
    blocks: list[Data] = []
    Cutter(blocks.append, 10).feed(b"x" * 30)
    assert blocks == [b"x" * 10]

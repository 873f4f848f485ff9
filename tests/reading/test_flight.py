from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.reading.block_file import BLOCK_SIZE, Data
from b2mount.reading.flight import Cutter, joined


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


@given(st.lists(st.integers(1, 9), max_size=8), st.data())
def test_blocks_are_joined_to_what_they_were_cut_from(cuts: list[int], data: st.DataObject) -> None:
    quarter = BLOCK_SIZE // 4
    size = sum(cuts) * quarter
    content = bytes(range(251)) * (size // 251 + 1)
    blocks: list[Data] = []
    cutter, at = Cutter(blocks.append, size), 0
    for cut in cuts:
        cutter.feed(content[at * quarter : (at + cut) * quarter])
        at += cut
    first = data.draw(st.integers(0, len(blocks)))
    some = blocks[first : data.draw(st.integers(first, len(blocks)))]
    assert b"".join(joined(some)) == b"".join(some)
    assert len(list(joined(some))) <= len(some)


def test_a_chunk_of_whole_blocks_is_one_piece() -> None:
    blocks: list[Data] = []
    cutter = Cutter(blocks.append, 24 * BLOCK_SIZE)
    chunks = [bytes([number]) * (8 * BLOCK_SIZE) for number in range(3)]
    for chunk in chunks:
        cutter.feed(chunk)
    assert len(blocks) == 24
    assert list(joined(blocks)) == chunks
    assert list(joined(blocks[:10])) == [chunks[0], *blocks[8:10]]
    assert list(joined([b"one", b"two"])) == [b"one", b"two"]

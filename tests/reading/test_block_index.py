from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.reading.block_index import GROUP, BlockIndex, size_on_disk

blocks = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3 * GROUP))
steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "version"]), blocks))


@given(steps)
def test_it_agrees_with_a_set(steps: list[tuple[str, tuple[str, int]]]) -> None:
    index, model = BlockIndex(), set[tuple[str, int]]()
    for verb, (key, number) in steps:
        if verb == "add":
            index.add(key, number, 5000)
            model.add((key, number))
        elif verb == "remove":
            assert index.remove(key, number) == (8192 if (key, number) in model else 0)
            model.discard((key, number))
        else:
            index.remove_version(key)
            model = {block for block in model if block[0] != key}
        assert index.count == len(model)
        assert index.size == size_on_disk(5000) * len(model)
        assert {(k, i) for k in "ab" for i in index.indexes(k)} == model
        assert ((key, number) in index) == ((key, number) in model)
        assert (index.oldest() is None) == (not model)


def test_the_least_recently_used_group_goes_first_and_in_it_the_lowest_block() -> None:
    index = BlockIndex()
    for number in (GROUP + 1, GROUP, 0):
        index.add("a", number, 1)
    index.touch("a", GROUP)
    order = []
    while (oldest := index.oldest()) is not None:
        order.append(oldest[1])
        index.remove(*oldest)
    assert order == [0, GROUP, GROUP + 1]


def test_a_short_last_block_leaves_the_sum_right_in_the_end() -> None:
    index = BlockIndex()
    index.add("a", 0, 131072)
    index.add("a", 1, 10)
    index.remove("a", 1)
    index.remove("a", 0)
    assert index.size == 0

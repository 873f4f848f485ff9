from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.reading.block_index import GROUP, BlockIndex, Group, size_on_disk

blocks = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3 * GROUP))
steps = st.lists(st.tuples(st.sampled_from(["add", "forget", "remove", "version"]), blocks))


@given(steps, st.integers(0, 3 * GROUP), st.integers(1, 2 * GROUP))
def test_it_agrees_with_a_set(steps: list[tuple[str, tuple[str, int]]], first: int, length: int) -> None:
    index, model, taken = BlockIndex(), set[tuple[str, int]](), set[tuple[str, int]]()
    for verb, (key, number) in steps:
        if verb == "add":
            index.add(key, number, 5000, 4096)
            model.add((key, number))
            taken.add((key, number))
        elif verb == "forget":
            assert index.forget(key, number) == ((key, number) in model)
            model.discard((key, number))
        else:
            gone = {
                b for b in taken if b[0] == key and (verb == "version" or b[1] // GROUP == number // GROUP)
            }
            freed = index.remove_version(key) if verb == "version" else index.remove(key, number // GROUP)
            assert freed == size_of(gone)
            model, taken = model - gone, taken - gone
        assert index.count == len(model)
        assert index.size == size_of(taken)
        assert {(k, i) for k in "ab" for i in index.indexes(k)} == model
        assert ((key, number) in index) == ((key, number) in model)
        run = range(first, first + length)
        assert index.holds(key, run) == all((key, at) in model for at in run)
        assert sorted(index.beyond(0)) == sorted({(k, i // GROUP) for k, i in taken})
        assert index.beyond(index.size) == []
        assert index.has_version(key) == any(k == key for k, _ in taken)
        full = {(k, i // GROUP) for k, i in model}
        assert all(index.is_hollow(k, n) == ((k, n) not in full) for k in "ab" for n in range(4))


def size_of(taken: set[tuple[str, int]]) -> int:
    return len(taken) * size_on_disk(5000) + 4096 * len({(key, index // GROUP) for key, index in taken})


def test_the_least_recently_used_group_goes_first_and_a_hollow_one_before_it() -> None:
    index = BlockIndex()
    for number in (GROUP, 2 * GROUP, 0):
        index.add("a", number, 1)
    index.touch("a", 1)
    assert index.beyond(0) == [("a", 2), ("a", 0), ("a", 1)]
    index.forget("a", GROUP)
    assert index.beyond(0) == [("a", 1), ("a", 2), ("a", 0)]
    assert index.touch("a", 1) is None
    assert index.touch("a", 7) is None


def test_bytes_and_groups_are_bounded() -> None:
    index = BlockIndex(3)
    for number in range(5):
        index.add("a", number * GROUP, 5000)
    assert index.beyond(index.size) == [("a", 0), ("a", 1)]
    assert index.beyond(index.size - 1) == [("a", 0), ("a", 1)]
    assert index.beyond(8192) == [("a", 0), ("a", 1), ("a", 2), ("a", 3)]


def test_a_short_last_block_takes_what_it_takes() -> None:
    index = BlockIndex()
    index.add("a", 0, 131072, 4096)
    index.add("a", 1, 10, 4096)
    assert index.size == 4096 + 131072 + 4096
    assert index.remove("a", 0) == index.size + 4096 + 131072 + 4096


def test_what_was_found_on_disk_counts_as_found() -> None:
    index = BlockIndex()
    index.add_group("a", 3, Group(present=0b110, taken=0b110, size=9000))
    assert list(index.indexes("a")) == [3 * GROUP + 1, 3 * GROUP + 2]
    assert (index.size, index.count) == (9000, 2)
    index.add("a", 3 * GROUP + 1, 5000, 4096)
    assert (index.size, index.count) == (9000, 2)

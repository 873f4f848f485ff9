from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import ByteRange
from b2mount.writing import extents
from b2mount.writing.extents import Extent, ExtentMap, Source

SIZES = st.integers(0, 60)
STEP = st.one_of(
    st.tuples(st.just("mark"), SIZES, SIZES),
    st.tuples(st.just("truncate"), SIZES, SIZES),
)


def spelled(map_: ExtentMap) -> str:
    return "".join(e.source.value[0] * e.span.size for e in map_.all())


def apply(map_: ExtentMap, model: str, step: tuple[str, int, int]) -> str:
    kind, start, length = step
    if kind == "truncate":
        map_.truncate(start)
        return model[:start].ljust(start, "h")
    map_.mark_staged(ByteRange(start, start + length))
    if not length:
        return model
    model = model.ljust(start, "h")
    return model[:start] + "s" * length + model[start + length :]


@pytest.mark.parametrize("chunk_edges", [4, 8, 2048])
@given(base=SIZES, steps=st.lists(STEP, max_size=40))
def test_against_a_string(chunk_edges, base, steps):
    before = extents.CHUNK_EDGES
    extents.CHUNK_EDGES = chunk_edges  # type: ignore[misc]  # the log has objects
    try:
        map_, model = ExtentMap(base, base_stop=base), "b" * base
        for step in steps:
            model = apply(map_, model, step)
            assert spelled(map_) == model
            check_shape(map_)
            for start in range(0, len(model) + 2, 7):
                part = map_.within(ByteRange(start, start + 9))
                assert "".join(e.source.value[0] * e.span.size for e in part) == model[start : start + 9]
        assert spelled(ExtentMap.from_json(map_.to_json())) == model
        assert map_.staged_stop == model.rfind("s") + 1
    finally:
        extents.CHUNK_EDGES = before  # type: ignore[misc]  # the log has objects


def check_shape(map_: ExtentMap) -> None:
    position = 0
    for extent in map_.all():
        assert extent.span.start == position
        assert extent.span
        position = extent.span.stop
    assert position == map_.size
    sources = [e.source for e in map_.all()]
    assert all(a is not b for a, b in itertools.pairwise(sources)), "neighbours are one extent"


def test_a_truncation_forgets_the_base():
    map_ = ExtentMap(10, base_stop=10)
    map_.truncate(4)
    map_.truncate(10)
    assert map_.all() == [
        Extent(ByteRange(0, 4), Source.BASE),
        Extent(ByteRange(4, 10), Source.HOLE),
    ]


def test_a_copy_is_apart():
    map_ = ExtentMap(0, base_stop=0)
    map_.mark(0, 5)
    copy = map_.copy()
    map_.mark(5, 9)
    map_.truncate(2)
    assert spelled(copy) == "sssss"


def test_many_random_extents_cost_the_same_each():
    def cost(count: int) -> float:
        map_ = ExtentMap(count * 8192, base_stop=count * 8192)
        order = [i * 8192 for i in range(count)]
        random.Random(1).shuffle(order)
        begun = time.process_time()
        for offset in order:
            map_.mark(offset, offset + 4096)
        spent = time.process_time() - begun
        assert len(map_.all()) == 2 * count
        return spent / count

    assert cost(100_000) < 8 * cost(10_000)


def test_appending_needs_no_search():
    map_ = ExtentMap(0, base_stop=0)
    for offset in range(0, 1 << 20, 128):
        map_.mark(offset, offset + 128)
    assert map_.all() == [Extent(ByteRange(0, 1 << 20), Source.STAGED)]

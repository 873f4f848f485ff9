from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.errors import TooLarge
from b2mount.model import ByteRange
from b2mount.writing.extents import ExtentMap, Run, Source
from b2mount.writing.upload_plan import (
    MAXIMUM_PART,
    MAXIMUM_PARTS,
    MINIMUM_PART,
    SINGLE_PUT_LIMIT,
    CopyPart,
    Parts,
    PutPart,
    UploadPlan,
    WholeCopy,
    WholePut,
    plan_upload,
)

MIB = 1024 * 1024
GB = 1_000_000_000


def runs_of(map_: ExtentMap) -> list[Run]:
    return [Run(e.span, e.source, "f" if e.source is Source.STAGED else "") for e in map_.all()]


def edited(base: int, *steps: tuple[int, int] | int) -> UploadPlan:
    """The plan for an object of `base` bytes after writes (start, stop) and truncations."""
    map_ = ExtentMap(base, base_stop=base)
    for step in steps:
        if isinstance(step, int):
            map_.truncate(step)
        else:
            map_.mark(*step)
    return plan_upload(runs_of(map_), base)


def sent(plan: UploadPlan) -> int:
    match plan:
        case Parts(parts):
            return sum(p.span.size for p in parts if isinstance(p, PutPart))
        case WholePut(runs):
            return sum(r.span.size for r in runs)
        case WholeCopy():
            return 0


def fetched(plan: UploadPlan) -> int:
    match plan:
        case Parts(parts):
            return sum(p.base_bytes for p in parts if isinstance(p, PutPart))
        case WholePut(runs):
            return sum(r.span.size for r in runs if r.source is Source.BASE)
        case WholeCopy():
            return 0


def check(plan: Parts, map_: ExtentMap) -> None:
    """What B2 demands, and that the parts are the file."""
    position = 0
    assert 2 <= len(plan.parts) <= MAXIMUM_PARTS
    base_spans = [e.span for e in map_.all() if e.source is Source.BASE]
    for part in plan.parts:
        assert part.span.start == position
        position = part.span.stop
        assert 0 < part.span.size <= MAXIMUM_PART
        assert part is plan.parts[-1] or part.span.size >= MINIMUM_PART
        if isinstance(part, CopyPart):
            assert any(s.start <= part.span.start and part.span.stop <= s.stop for s in base_spans)
        else:
            assert [(r.span, r.source) for r in part.runs] == [
                (e.span, e.source) for e in map_.within(part.span)
            ]
    assert position == map_.size


@pytest.mark.parametrize(
    ("what", "plan", "most_sent", "most_fetched"),
    [
        ("append 1 MiB", edited(512 * MIB, (512 * MIB, 513 * MIB)), 1 * MIB, 0),
        ("append a byte", edited(512 * MIB, (512 * MIB, 512 * MIB + 1)), 1, 0),
        ("4 KiB in the middle", edited(512 * MIB, (200 * MIB, 200 * MIB + 4096)), 5 * 10**6, 5 * 10**6),
        ("4 KiB at the start", edited(512 * MIB, (0, 4096)), 5 * 10**6, 5 * 10**6),
        ("the last 4 KiB", edited(512 * MIB, (512 * MIB - 4096, 512 * MIB)), 4096, 0),
        ("4 KiB near the end", edited(512 * MIB, (511 * MIB, 511 * MIB + 4096)), MIB, MIB),
        ("truncate", edited(512 * MIB, 300 * MIB), 0, 0),
        ("truncate to an odd size", edited(512 * MIB, 300 * MIB + 1), 0, 0),
        ("lengthen by 1 MiB", edited(512 * MIB, 513 * MIB), MIB, 0),
        ("lengthen by 100 MiB", edited(512 * MIB, 612 * MIB), 100 * MIB, 0),
        ("only attributes, small", edited(100), 0, 0),
        ("only attributes, big", edited(512 * MIB), 0, 0),
        ("only attributes, over 5 GB", edited(7 * GB), 0, 0),
        (
            "two edits 6 MB apart",
            edited(512 * MIB, (0, 4096), (6 * 10**6, 6 * 10**6 + 9)),
            11 * 10**6,
            11 * 10**6,
        ),
        ("small, written whole", edited(0, (0, 24 * MIB - 1)), 24 * MIB - 1, 0),
        ("big, written whole", edited(0, (0, 256 * MIB)), 256 * MIB, 0),
        ("an empty file", edited(0), 0, 0),
        ("emptied", edited(512 * MIB, 0), 0, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_moves(what, plan, most_sent, most_fetched):
    assert sent(plan) <= most_sent
    assert fetched(plan) <= most_fetched


def test_an_attribute_change_is_one_copy():
    assert edited(512 * MIB) == WholeCopy()
    assert edited(10) == WholeCopy()
    assert isinstance(edited(5 * GB), Parts), "B2 copies less than 5 GB at once"
    assert isinstance(edited(512 * MIB, 512 * MIB - 1), Parts)
    assert isinstance(edited(10, 9), WholePut)


def test_small_files_go_in_one_request():
    assert isinstance(edited(0, (0, SINGLE_PUT_LIMIT - 1)), WholePut)
    assert isinstance(edited(0, (0, SINGLE_PUT_LIMIT)), Parts)


def test_eight_parts_at_once_three_times():
    plan = edited(0, (0, 384 * MIB))
    assert isinstance(plan, Parts)
    assert [p.span.size for p in plan.parts] == [16 * MIB] * 24


@pytest.mark.parametrize("size", [10 * 10**12, 10**12, 5 * GB + 1, 64 * MIB])
@pytest.mark.parametrize("base", [0, 1])
def test_the_largest_files_fit(size, base):
    map_ = ExtentMap(size, base_stop=size * base)
    map_.mark(0, size - base)
    plan = plan_upload(runs_of(map_), size * base)
    assert isinstance(plan, Parts)
    check(plan, map_)


def test_beyond_b2s_limit():
    with pytest.raises(TooLarge):
        edited(0, 10**13 + 1)


def test_edits_all_over_a_huge_file_stay_within_ten_thousand_parts():
    size = 200 * GB
    map_ = ExtentMap(size, base_stop=size)
    for offset in range(0, size, 12_000_000):
        map_.mark(offset, offset + 10)
    plan = plan_upload(runs_of(map_), size)
    assert isinstance(plan, Parts)
    check(plan, map_)


SPOT = st.integers(0, 90) | st.integers(0, 90_000_000)
STEPS = st.lists(
    st.tuples(st.integers(0, 90_000_000), st.one_of(st.integers(1, 5000), st.integers(1, 20_000_000))),
    max_size=8,
)


@given(base=st.integers(0, 90_000_000), steps=STEPS, size=st.none() | SPOT)
def test_any_edit_gives_parts_that_b2_takes(base, steps, size):
    map_ = ExtentMap(base, base_stop=base)
    if size is not None:
        map_.truncate(size)
    for start, length in steps:
        map_.mark(start, start + length)
    plan = plan_upload(runs_of(map_), base)
    if isinstance(plan, Parts):
        check(plan, map_)
    elif isinstance(plan, WholePut):
        assert [(r.span, r.source) for r in plan.runs] == [(e.span, e.source) for e in map_.all()]
        assert map_.size < SINGLE_PUT_LIMIT
    else:
        assert [e.source for e in map_.all()] == [Source.BASE]
        assert map_.size == base
    new = sum(e.span.size for e in map_.all() if e.source is not Source.BASE)
    writes = len(steps) + 1
    if isinstance(plan, Parts):
        assert sent(plan) <= new + writes * 4 * MINIMUM_PART


def test_neighbouring_runs_of_one_source_are_joined():
    runs = [Run(ByteRange(i, i + 1), Source.STAGED, "f") for i in range(5)]
    assert plan_upload(runs, None) == WholePut((Run(ByteRange(0, 5), Source.STAGED, "f"),))

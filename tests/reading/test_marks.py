from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.reading.marks import Marks

NUMBERS = st.integers(0, 70)


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "clear"]), NUMBERS)), st.lists(NUMBERS))
def test_marks_are_a_set(changes: list[tuple[str, int]], first: list[int]) -> None:
    marks, model = Marks(first), set(first)
    for change, number in changes:
        if change == "clear":
            marks.clear()
            model.clear()
        else:
            getattr(marks, change)(number)
            getattr(model, change)(number)
        assert len(marks) == len(model)
        assert {number for number in range(100) if number in marks} == model


def test_far_apart() -> None:
    marks = Marks([0, 8_000_000])
    assert 8_000_000 in marks
    assert 8_000_001 not in marks
    assert 9_000_000 not in marks

"""When the soak's verdict is flat."""

from __future__ import annotations

import pytest

from tests.torture.soak import BOUNDS, judge

LEVEL = 1000.0


def judged(name: str, figures: list[float]) -> bool:
    """The verdict on one measure, when all the others stand still."""
    samples = [{**dict.fromkeys(BOUNDS, LEVEL), name: figure} for figure in figures]
    verdicts = {judgement.name: judgement.is_flat for judgement in judge(samples)}
    assert all(flat for other, flat in verdicts.items() if other != name)
    return verdicts[name]


@pytest.mark.parametrize("name", BOUNDS)
def test_what_grows_to_the_end_is_not_flat(name: str) -> None:
    step = BOUNDS[name].growth / 10 + 1  # the thirds' medians are ten apart
    assert not judged(name, [LEVEL + number * step for number in range(30)])


@pytest.mark.parametrize("name", BOUNDS)
def test_what_fills_in_the_first_third_and_jumps_now_and_then_is_flat(name: str) -> None:
    growth = BOUNDS[name].growth
    figures = [LEVEL - 50 * growth] * 8 + [LEVEL, LEVEL + growth] * 11
    figures[25] = LEVEL + 50 * growth
    assert judged(name, figures)

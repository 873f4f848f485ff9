"""The slope is the power with which a figure grows; the table and the picture have all points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.drawing import save
from tests.bench.growth import FIGURES, Point, apart, decades, draw, powers, slope, table


def grown(*powers_of: float) -> list[Point]:
    return [
        Point(n, {name: 2 * n**power for name, power in zip(FIGURES, powers_of, strict=True)})
        for n in powers(1000)
    ]


def test_slopes() -> None:
    points = grown(1, 0, 0.5, 2, 1)
    found = [slope(points, name) for name in FIGURES]
    assert found == [pytest.approx(power, abs=1e-9) for power in (1, 0, 0.5, 2, 1)]
    nothing = [Point(n, dict.fromkeys(FIGURES, 0.0)) for n in (1, 10)]
    assert slope(nothing, "calls") is None
    assert table("x", nothing).splitlines()[-1] == "| slope | - | - | - | - | - |"


def test_powers() -> None:
    assert (powers(1), powers(100), powers(250)) == ([1], [1, 10, 100], [1, 10, 100, 250])


def test_table_and_picture(tmp_path: Path) -> None:
    points = grown(1, 0, 0.5, 2, 1)
    assert table("files", points).splitlines()[2].startswith("| 1 | 2.00 | 2.00 |")
    assert table("files", points).splitlines()[-1] == "| slope | 1.00 | 0.00 | 0.50 | 2.00 | 1.00 |"
    save(draw({"files": points}), tmp_path / "growth.svg")
    text = (tmp_path / "growth.svg").read_text()
    assert text.count(" files<") == 4


def test_the_picture_has_whole_decades_and_names_apart() -> None:
    assert decades([2, 30]) == (1, 100)
    assert decades([55, 68]) == (10, 100)
    assert decades([]) == (1, 10)
    step = 10 ** (2 / 24)
    assert apart([50, 50, 2, 52], 1, 100) == [pytest.approx(x) for x in (50, 50 * step, 2, 50 * step**2)]

"""Lines are what their names say, and their faults hit as many requests as they should."""

from __future__ import annotations

import argparse

import pytest

from b2mount.emulator.faults import FaultPlan
from b2mount.emulator.shaping import Shape
from tests.bench.line import LINES, UNSHAPED, add_line_options, chosen_line


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("5 ms", Shape(5, 25e6, 125e6)),
        ("10 Mbit/s", Shape(40, None, 1.25e6)),
        ("1 Gbit/s", Shape(40, None, 125e6)),
        ("unshaped", Shape()),
    ],
)
def test_shape(name: str, shape: Shape) -> None:
    assert LINES[name].shape == shape


def test_one_in_a_hundred_fails() -> None:
    parser = argparse.ArgumentParser()
    add_line_options(parser, UNSHAPED)
    assert '"40 ms, 1 % fail"' in parser.format_help()
    line = chosen_line(parser.parse_args(["--failing", "0.01"]))
    plan = FaultPlan()
    plan.replace(line.faults)
    hits = [plan.take("b2_list_file_names", "") for _ in range(10_000)]
    kinds = [fault.kind for fault in hits if fault]
    assert 70 < len(kinds) < 130
    assert len(set(kinds)) == 2
    assert str(line) == "a line without limits; 1.0% of requests fail"
    assert UNSHAPED.faults == ()

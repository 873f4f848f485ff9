"""The report says the right ratio, and says nothing where there is none."""

from __future__ import annotations

import attrs
import pytest

from tests.bench.measure import Failure, Measurement, Traffic
from tests.bench.table import Row, cells, markdown_table, ratio, text_table

OURS = Measurement(2.0, Traffic(0, 4, 1, 0, 537_000_000), 1.0, 80_000_000)
THEIRS = Measurement(10.6, Traffic(0, 2, 503, 0, 1_074_000_000), 0.25, 40_000_000)


@pytest.mark.parametrize(
    ("value", "reference", "floor", "text"),
    [
        (10.6, 2.0, 0.005, "5.3x"),
        (2.0, 2.0, 0.005, "1.0x"),
        (1.0, 20.0, 0.005, "0.05x"),
        (0.25, 1.0, 0.02, "0.2x"),
        (503, 1, 1, "503x"),
        (9.94, 1, 1, "9.9x"),
        (9.96, 1, 1, "10x"),
        (0, 1, 1, ""),
        (7, 0, 1, ""),
        (0.001, 3.0, 0.005, ""),
    ],
)
def test_ratio(value: float, reference: float, floor: float, text: str) -> None:
    assert ratio(value, reference, floor) == text


def test_a_line_for_each_peer() -> None:
    lines, notes = cells([Row("read", {"b2mount": OURS, "rclone": THEIRS})])
    assert notes == []
    calls = [["0", "4", "1"], ["0", "2 (0.5x)", "503 (503x)"]]
    assert lines == [
        ["read", "b2mount", "2.00", *calls[0], "0.0", "537.0", "1.00", "80"],
        ["", "rclone", "10.60 (5.3x)", *calls[1], "0.0", "1,074.0 (2.0x)", "0.25 (0.2x)", "40 (0.5x)"],
    ]


def test_a_failure_is_shown_with_its_reason_and_without_figures() -> None:
    rows = [Row("read", {"b2mount": OURS, "rclone": Failure("wrong bytes")})]
    lines, notes = cells(rows)
    assert lines[1] == ["", "rclone", "failed [1]", "", "", "", "", "", "", ""]
    assert notes == ["read, rclone: wrong bytes"]
    for table in (text_table(rows), markdown_table(rows)):
        assert table.endswith("[1] read, rclone: wrong bytes")


def test_no_ratios_where_the_reference_failed() -> None:
    lines, _ = cells([Row("read", {"b2mount": Failure("no such command"), "rclone": THEIRS})])
    assert lines[1][2] == "10.60"


def test_text_columns_are_aligned() -> None:
    table = text_table([Row("read", {"b2mount": OURS, "rclone": THEIRS}), Row("find", {"b2mount": THEIRS})])
    heading, *lines = [line for line in table.splitlines() if line]
    end = heading.index("seconds") + len("seconds")
    assert [line[:end].split()[-1] for line in lines] == ["2.00", "(5.3x)", "10.60"]
    assert [line[end : end + 2] for line in lines] == ["  ", "  ", "  "]


def test_the_spread_of_rounds_stands_beside_their_seconds() -> None:
    several = attrs.evolve(OURS, span=(1.9, 2.25))
    table = markdown_table([Row("read", {"b2mount": several, "rclone": THEIRS}), Row("x", {"b2mount": OURS})])
    assert [line.split(" | ")[3] for line in table.splitlines()] == ["rounds", "---:", "1.90 - 2.25", "", ""]


def test_markdown_has_one_line_for_each_peer_and_row() -> None:
    lines = markdown_table([Row("a|b", {"b2mount": OURS, "rclone": THEIRS})]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| a\\|b | b2mount | 2.00 |")
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1

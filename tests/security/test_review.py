"""The review of security in README: each of its rows has tests, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SECTION = (REPOSITORY / "README.md").read_text().partition("\n## Security\n")[2].partition("\n## ")[0]
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_row_names_tests_that_are_there(row: str) -> None:
    named = re.findall(r"`([a-z_/]+\.py)`", row.split("|")[-2])
    assert named
    for name in named:
        assert (REPOSITORY / "tests" / name).is_file(), name


def test_the_review_is_there() -> None:
    assert len(ROWS) > 10

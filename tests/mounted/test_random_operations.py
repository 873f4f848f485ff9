"""Random operations on one file, and by many processes on many, on a B2 that fails: a little of
`python -m tests.torture.fsx` and `python -m tests.torture.stress`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mounted.conftest import MountMaker
from tests.torture.fsx import MODES, Fsx
from tests.torture.stress import Stress

pytestmark = pytest.mark.kernel

OPERATIONS = 250
SEED = 622
"""With a kill and a remount among so few."""


@pytest.mark.parametrize("mode", MODES)
def test_one_file_is_what_a_model_says(make_mount: MountMaker, mode: str) -> None:
    score = Fsx(make_mount, "small", SEED, mode, faults=mode == "default").run(OPERATIONS)
    assert score.kills >= 1, score
    assert score.remounts == 1, score


def test_many_processes_leave_what_a_local_directory_has(make_mount: MountMaker, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    score = Stress(make_mount, local, 1, "write-back", processes=3, faults=True).run(1, 60)
    assert score.names > 5, score

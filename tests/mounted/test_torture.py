"""fio, SQLite and a crowd of programs on a B2 that fails in a tenth of all requests: a little of
`python -m tests.torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mounted.conftest import MountMaker
from tests.torture.torture import Torture
from tests.torture.trouble import SHARE

pytestmark = pytest.mark.kernel

SEED = 20
SECONDS = 14


def test_everything_verifies_while_b2_fails(make_mount: MountMaker, tmp_path: Path) -> None:
    score = Torture(make_mount, tmp_path, SEED, megabytes=6).run(SECONDS)
    assert score.kills >= 1, score
    assert score.fio_passes >= 1, score
    assert score.transactions > 5, score
    assert score.failed_requests > score.requests * SHARE / 3, score

"""Two mounts under every trouble, and a comparison of every byte: a little of `python -m tests.torture`."""

from __future__ import annotations

import pytest

from tests.torture.torture import session

pytestmark = pytest.mark.kernel

SEED = 215
"""Its first two rounds are short, and have seven troubles of nine: all but a line that is cut or silent."""


def test_everything_verifies_under_every_trouble() -> None:
    score = session(SEED, 0, rounds=2, megabytes=6)
    assert len(score.events) == 7, score
    assert score.kills == 3, score
    assert score.fio_passes >= 1, score
    assert score.transactions > 5, score
    assert score.failed_requests > 10, score
    assert score.walks > 0, score

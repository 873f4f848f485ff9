"""Two mounts under every trouble, and a comparison of every byte: a little of `python -m tests.torture`."""

from __future__ import annotations

import pytest

from tests.torture.torture import session

pytestmark = pytest.mark.kernel

SEED = 1732
"""Its first round is short, and has the hardest troubles: a kill, a full disk and a storm of refusals."""


def test_everything_verifies_under_hard_troubles() -> None:
    score = session(SEED, 0, rounds=1, megabytes=6)
    assert len(score.events) == 3, score
    assert score.kills >= 2, score
    assert score.fio_passes >= 1, score
    assert score.transactions > 5, score
    assert score.failed_requests > 10, score
    assert score.walks > 0, score

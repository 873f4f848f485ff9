from __future__ import annotations

import pytest

from b2mount.cli import wording
from b2mount.cli.progress import Tally
from tests.control.fake_mount import pending


def test_what_is_gone_from_the_list_has_arrived() -> None:
    tally = Tally()
    tally.update([pending("a", size=100), pending("b", size=50)])
    assert (tally.total, tally.sent, tally.files_left) == (150, 0, 2)
    tally.update([pending("b", size=50, sent=20)])
    assert (tally.total, tally.sent, tally.files_left) == (150, 120, 1)
    tally.update([pending("c", size=10)])
    assert (tally.total, tally.sent, tally.files_left) == (160, 150, 1)
    tally.update([])
    assert (tally.total, tally.sent, tally.files_left) == (160, 160, 0)


def test_more_sent_than_there_is_counts_once() -> None:
    tally = Tally()
    tally.update([pending("a", size=100, sent=140)])
    assert (tally.total, tally.sent) == (100, 100)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (10 << 30, "10.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert wording.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (5, "5 s"), (180, "3 min"), (7300, "2 h"), (400_000, "5 days")]
)
def test_spans(seconds: float, text: str) -> None:
    assert wording.span(seconds) == text

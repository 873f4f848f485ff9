from __future__ import annotations

import pytest

from b2mount.cli import wording
from b2mount.cli.progress import Speed, Tally, TransferLine, working
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


def test_a_file_that_is_queued_after_it_was_staged_counts_once() -> None:
    tally = Tally()
    tally.update([pending("a", size=100, state="staged", since=2.0)])
    tally.update([pending("a", size=120, since=1.0)])
    assert (tally.total, tally.sent, tally.files_left) == (120, 0, 1)
    tally.update([])
    assert (tally.total, tally.sent, tally.files_left) == (120, 120, 0)


def test_the_rate_is_that_of_the_last_while() -> None:
    speed = Speed()
    assert speed.update(0.0, 0) is None
    assert speed.update(0.5, 100) is None  # too soon
    assert speed.update(2.0, 100) == 50
    assert speed.update(30.0, 100) == pytest.approx(100 / 30)
    assert speed.update(60.0, 700) == pytest.approx(600 / 30)
    assert speed.update(90.0, 700) is None  # nothing moves
    assert speed.update(91.0, 500) is None  # a part had to be sent again


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


@pytest.mark.parametrize(
    ("first", "left", "time"),
    [
        pytest.param((100, 1_000), (901, 105_000_000), "2 min", id="small ones first"),
        pytest.param((1, 100_000_000), (1_000, 10_000), "26 s", id="the big one first"),
    ],
)
def test_small_files_take_their_time(
    first: tuple[int, int],
    left: tuple[int, int],
    time: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten seconds for the first: how long the others take is told by bytes and files together."""
    now = 0.0
    monkeypatch.setattr("b2mount.cli.progress.time.monotonic", lambda: now)
    files, size = first[0] + left[0], first[1] + left[1]
    with TransferLine("fetching", "fetched") as line:
        line.show(files, 0, size)
        now = 10.0
        line.show(left[0], first[1], size)
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"/s, {time} to go")


def test_what_nobody_can_measure_shows_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal; elsewhere it says nothing."""
    with working("restoring a"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with working("restoring [red]\x1b[2J"):
        pass
    said = capsys.readouterr().err
    assert "restoring [red]\\x1b[2J" in said
    assert "\x1b[2J" not in said

"""What was measured comes back from the file as it was, an unfinished run too."""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Failure, Measurement, Result, Traffic
from tests.bench.saving import Saved
from tests.bench.table import Row

FAST = Measurement(1.0, Traffic(1, 2, 3, 4, 5), 0.5, 7, progress=((0, 1), (4, 5)))
SLOW = Measurement(3.0, Traffic(1, 2, 3, 4, 5), 0.5, 7, progress=((0, 0), (4, 5)))


def test_an_unfinished_run(tmp_path: Path) -> None:
    rounds: list[dict[tuple[str, str], Result]] = [
        {("read", "ours"): FAST, ("read", "theirs"): Failure("wrong"), ("find", "ours"): FAST},
        {("read", "ours"): SLOW},
    ]
    Saved(["a line"], ["ours", "theirs"], rounds).write(tmp_path / "run.json")
    saved = Saved.read(tmp_path / "run.json")
    assert (saved.heading, saved.rounds) == (["a line"], rounds)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    both = Measurement(2.0, Traffic(1, 2, 3, 4, 5), 0.5, 7, (1.0, 3.0), FAST.progress)
    assert saved.rows() == [
        Row("read", {"ours": both, "theirs": Failure("wrong")}),
        Row("find", {"ours": FAST}),
    ]

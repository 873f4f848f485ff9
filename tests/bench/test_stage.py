"""What a peer does wrong is its result, and the workloads are what their titles say."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.__main__ import WORKLOADS, parsed
from tests.bench.emulator import Emulator
from tests.bench.hub import Access
from tests.bench.library import Library
from tests.bench.measure import Failure, Measurement, Traffic
from tests.bench.naming import CROWD, TREE
from tests.bench.peers import PEERS, MountPlan, Peer
from tests.bench.processes import device_of, family, use_of
from tests.bench.reading import SOURCES
from tests.bench.stage import Stage, Workload, WrongAnswer, difference, output_of
from tests.bench.writing import EDITED, GROWN, MENDED

DONE = Measurement(1.0, Traffic(), 0.1, 1)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    nobody = Emulator(multiprocessing.Pipe()[0])
    return Stage(PEERS["rclone"], nobody, Library(tmp_path, 0), "bucket", tmp_path)


def test_rows_before_a_failure_keep_their_figures(stage: Stage) -> None:
    def run(stage: Stage) -> None:
        stage.results["one"] = DONE
        stage.results["two"] = DONE
        stage.row = "two"
        raise WrongAnswer("other bytes")

    results = Workload("name", ("one", "two", "three"), {}, run).play(stage)
    assert results == {
        "one": DONE,
        "two": Failure("WrongAnswer: other bytes"),
        "three": Failure("not reached"),
    }


def test_a_peer_that_does_not_mount_fails_in_the_first_row(stage: Stage) -> None:
    def run(_: Stage) -> None:
        raise FileNotFoundError("rclone")

    results = Workload("name", ("one", "two"), {}, run).play(stage)
    assert results == {"one": Failure("FileNotFoundError: rclone"), "two": Failure("not reached")}


def test_a_mistake_of_the_benchmark_is_nobodys_result(stage: Stage) -> None:
    def run(_: Stage) -> None:
        raise KeyError("typing error")

    with pytest.raises(KeyError):
        Workload("name", ("one",), {}, run).play(stage)


def test_difference() -> None:
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "1 of 2 files"
    assert difference({"a": 1, ".a.Xy": 1}, {"a": 2}) == "0 of 1 files and 1 that nobody wrote, as .a.Xy"


def test_a_program_that_fails_is_a_wrong_answer() -> None:
    assert output_of("echo", "yes") == "yes\n"
    with pytest.raises(WrongAnswer, match="exit code 3, sorry"):
        output_of("sh", "-c", "echo sorry >&2; exit 3")


def test_titles_are_true() -> None:
    rows = [row for workload in WORKLOADS.values() for row in workload.rows]
    assert len(set(rows)) == len(rows)
    assert Counter(name.partition("/")[0] for name in TREE) == Counter({f"d{n:03}": 10 for n in range(500)})
    assert (len(SOURCES), len(CROWD)) == (500, 50_000)
    assert GROWN.size - EDITED.size == 1024 * 1024
    assert MENDED.size == EDITED.size


def test_command_line() -> None:
    options = parsed(["--only", "find", "grep", "--peers", "rclone"])
    assert (options.only, options.peers, options.rounds) == (["find", "grep"], ["rclone"], 1)
    assert parsed([]).only == list(WORKLOADS)


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_no_key_on_a_command_line(peer: Peer, tmp_path: Path) -> None:
    plan = MountPlan(Access("http://127.0.0.1:1", "the-id", "the-key"), "bucket", tmp_path)
    words = peer.words(plan)
    assert str(plan.mountpoint) in words
    assert "the-key" not in " ".join(words)
    assert "{" not in " ".join(words)


def test_processes(tmp_path: Path) -> None:
    assert os.getpid() in family(os.getpid())
    assert use_of(os.getpid()).peak_memory > 1_000_000
    assert device_of(tmp_path) is None
    assert device_of(Path("/proc")) is not None

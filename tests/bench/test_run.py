"""A whole small run on real mounts: right figures, honest failures, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from b2mount.emulator.shaping import Shape
from tests.bench import stage as limits
from tests.bench.emulator import emulator
from tests.bench.library import KIB, MIB, Library, Piece
from tests.bench.line import Line
from tests.bench.measure import Failure, Measurement
from tests.bench.peers import B2MOUNT, RCLONE, Peer
from tests.bench.run import Run
from tests.bench.stage import Stage, Workload, WrongAnswer

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

FILES = {"d/one": Piece(0, 300 * KIB), "d/two": Piece(MIB, 5)}
COPY = {**FILES, "three": Piece(500, 1000)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    library = Library.write(tmp_path / "library", 2 * MIB)
    with emulator(tmp_path / "emulator") as server:
        server.store_library(library.path)
        yield Run(server, library, tmp_path)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not list(tmp_path.glob("stage-*"))


def read(stage: Stage) -> None:
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount):
            got = {name: (mount.path / name).read_bytes() for name in FILES}
        if got != {name: stage.library.read(piece) for name, piece in FILES.items()}:
            raise WrongAnswer("other bytes")


def add(stage: Stage) -> None:
    with stage.mounted() as mount:
        with stage.measure(stage.row, mount) as deadline:
            (mount.path / "three").write_bytes(stage.library.read(COPY["three"]))
            stage.wait_for({"three": COPY["three"]}, deadline)
        stage.check_bucket(COPY)


READ = Workload("read", ("read",), FILES, read, reads_only=True)
ADD = Workload("add", ("add",), FILES, add)
PEERS = pytest.mark.parametrize(
    "peer", [B2MOUNT, pytest.param(RCLONE, marks=pytest.mark.clients)], ids=lambda peer: peer.name
)


@PEERS
def test_reading_is_measured(run: Run, peer: Peer) -> None:
    result = run.play(READ, peer)["read"]
    assert isinstance(result, Measurement)
    assert result.seconds > 0.1  # a listing and two reads one after the other, 40 ms each
    assert result.traffic.received == 300 * KIB + 5
    assert (result.traffic.sent, result.traffic.class_a, result.traffic.class_b) == (0, 0, 2)
    assert result.traffic.class_c > 0
    sent, received = result.progress[-1]
    assert (sent, received) in {
        (0, 300 * KIB),
        (0, 300 * KIB + 5),
    }  # the reader may have them before they count
    assert result.peak_memory > 10 * MIB


@PEERS
def test_writing_is_measured_until_the_bucket_has_it(run: Run, peer: Peer) -> None:
    result = run.play(ADD, peer)["add"]
    assert isinstance(result, Measurement)
    assert result.traffic.sent in {1000, 1040}  # some send the SHA-1 behind the bytes
    assert result.traffic.class_a > 0


def test_a_peer_that_does_not_start_has_the_last_word(run: Run) -> None:
    told = run.play(READ, Peer("lost", "{beside}/b2mount mount {plan.bucket} /nowhere"))["read"]
    assert isinstance(told, Failure)
    assert told.reason.startswith("MountFailed: it ended with exit code")
    assert "/nowhere" in told.reason.partition("its log ends: ")[2]
    silent = run.play(READ, Peer("silent", "false"))["read"]
    assert silent == Failure("MountFailed: it ended with exit code 1")


def test_a_read_that_hangs_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Line("slow", "slow", Shape(connection_bytes_per_second=1))
    run.emulator = attrs.evolve(run.emulator, line=slow)
    monkeypatch.setattr(limits, "ROW_WITHIN", 1.0)
    told = run.play(READ, B2MOUNT)["read"]
    assert isinstance(told, Failure)
    assert told.reason.startswith("TimedOut: not done after 1 s")

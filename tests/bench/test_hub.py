"""Buckets are filled, looked into and removed without a single counted call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from b2mount.emulator.records import Attributes
from b2mount.emulator.server import EmulatorServer
from b2mount.emulator.shaping import Shape
from tests.bench.emulator import emulator
from tests.bench.hub import ATTRIBUTES, Activity, Hub
from tests.bench.library import KIB, Library, Piece
from tests.bench.measure import Traffic

FILES = {"a": Piece(0, 10), "d/b": Piece(3, 70 * KIB)}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.write(tmp_path / "library", 100 * KIB)


@pytest.fixture
def hub(tmp_path: Path, library: Library) -> Iterator[Hub]:
    with EmulatorServer(tmp_path / "emulator") as server:
        hub = Hub(server)
        hub.store_library(library.path)
        yield hub


def test_a_bucket_holds_the_pieces(hub: Hub, library: Library) -> None:
    hub.create_bucket("bench-one", FILES)
    there = hub.listing("bench-one")
    assert {name: stored.size for name, stored in there.items()} == {"a": 10, "d/b": 70 * KIB}
    for name, piece in FILES.items():
        assert hub.sha1("bench-one", name) == hashlib.sha1(library.read(piece)).hexdigest()
    assert hub.activity() == Activity(Traffic(), 0)


def test_the_newest_version_is_seen_and_what_keeps_a_directory_alive_is_not(hub: Hub) -> None:
    hub.create_bucket("bench-one", FILES)
    old = hub.listing("bench-one")["a"]
    state = hub.server.state
    bucket = state.buckets.named("bench-one")
    assert bucket
    for name, data in {"a": b"new", "d/.bzEmpty": b""}.items():
        state.files.put(bucket, name, state.store(data), ATTRIBUTES)
    there = hub.listing("bench-one")
    assert there.keys() == FILES.keys()
    assert there["a"].size == 3
    assert there["a"].version_id != old.version_id
    assert hub.sha1("bench-one", "a") == hashlib.sha1(b"new").hexdigest()


def test_a_bucket_goes_with_all_that_was_in_it(hub: Hub) -> None:
    hub.create_bucket("bench-one", FILES)
    state = hub.server.state
    bucket = state.buckets.named("bench-one")
    assert bucket
    state.files.hide(bucket, "a")
    state.large_files.start(bucket, "unfinished", Attributes("text/plain"))
    hub.remove_bucket("bench-one")
    assert state.buckets.named("bench-one") is None


def test_from_another_process(tmp_path: Path, library: Library) -> None:
    with emulator(tmp_path / "emulator") as server:
        server.store_library(library.path)
        server.create_bucket("bench-one", FILES)
        assert server.listing("bench-one").keys() == FILES.keys()
        assert server.sha1("bench-one", "a") == library.sha1(FILES["a"])
        assert server.access().url.startswith("http://127.0.0.1:")
        with pytest.raises(LookupError, match="no bucket none"):
            server.listing("none")


def test_the_line_is_slow_only_while_it_is_measured(hub: Hub) -> None:
    hub.set_shape(Shape(first_byte_ms=40))
    assert hub.server.shape == Shape(first_byte_ms=40)

"""What docs promise of warm and evict, on a real mount."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from b2mount.emulator.faults import Fault, FaultKind
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until
from tests.mounted.test_semantics_reading import downloads, stored_bytes
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
FILES = {"top": 3000, "d/one": 5 * MIB, "d/two": 70_000, "d/deep/three": 18 * MIB}


def filled(maker: MountMaker, *options: str) -> Mount:
    bucket = maker.bucket()
    for number, (key, size) in enumerate(FILES.items()):
        bucket.put(key, pattern(number, size))
    return maker(*options, bucket=bucket)


def read_all(mount: Mount) -> None:
    for number, (key, size) in enumerate(FILES.items()):
        assert_same_bytes((mount.path / key).read_bytes(), pattern(number, size))


def test_warm_fetches_a_tree(make_mount: MountMaker) -> None:
    """`warm PATH...` fetches files or trees into the cache."""
    mount = filled(make_mount)
    code, output = mount.b2mount("warm", mount.path / "d", mount.path / "top")
    assert code == 0, output
    assert re.search(r"^4 files, 23\.1 MiB, in the cache$", output, re.MULTILINE)
    before = downloads(make_mount)
    read_all(mount)
    assert downloads(make_mount) == before
    assert mount.b2mount("warm", mount.path)[0] == 0
    assert downloads(make_mount) == before
    mount.remount()
    read_all(mount)
    assert downloads(make_mount) == before


def test_warm_tells_what_it_could_not_fetch(make_mount: MountMaker) -> None:
    mount = filled(make_mount, "--retry-for=1")
    make_mount.server.faults.replace([Fault(endpoint="b2_download*")])
    code, output = mount.b2mount("warm", mount.path)
    make_mount.server.faults.clear()
    assert code == 7, output
    assert "4 files could not be fetched: " in output
    assert mount.b2mount("warm", mount.path)[0] == 0
    assert mount.b2mount("warm", mount.path / "nowhere")[0] == 1


def test_warm_of_more_than_the_cache_holds(make_mount: MountMaker) -> None:
    mount = filled(make_mount, "--cache-size=20M")
    before = downloads(make_mount)
    code, output = mount.b2mount("warm", mount.path)
    assert code == 1
    assert "--cache-size" in output
    assert downloads(make_mount) == before


def test_warm_stops_when_it_is_interrupted(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    keys = [f"f{number:03}" for number in range(300)]
    bucket.fill(keys, bytes(MIB))
    mount = make_mount(bucket=bucket)
    make_mount.server.faults.replace([Fault(FaultKind.DELAY, endpoint="b2_download*", seconds=0.3)])
    started = downloads(make_mount)
    warming = mount.programs.start([sys.executable, "-m", "b2mount", "warm", mount.path])
    wait_until(lambda: downloads(make_mount) > started, "it fetches")
    warming.send_signal(signal.SIGINT)
    code, output = mount.programs.finish(warming)
    assert (code, output.splitlines()[-1]) == (130, "b2mount: interrupted")
    make_mount.server.faults.clear()
    seen: list[int] = []

    def is_quiet() -> bool:
        seen.append(downloads(make_mount))
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    wait_until(is_quiet, "nothing is fetched any more")
    assert downloads(make_mount) - started < 250


def test_evict_drops_files_and_trees(make_mount: MountMaker) -> None:
    """`evict PATH...` drops them from the cache."""
    mount = filled(make_mount)
    assert mount.b2mount("warm", mount.path)[0] == 0
    mount.remount()  # the blocks are on disk now, and none in the kernel
    before = stored_bytes(mount)
    assert before > 23 * MIB
    code, output = mount.b2mount("evict", mount.path / "d" / "deep", mount.path / "top")
    assert code == 0
    assert re.search(r"^2 files dropped from the cache, 18\.\d MiB freed$", output, re.MULTILINE)
    wait_until(lambda: stored_bytes(mount) < before - 17 * MIB, "it is gone")
    seen = downloads(make_mount)
    assert (mount.path / "d" / "two").read_bytes() == pattern(2, 70_000)
    assert downloads(make_mount) == seen
    read_all(mount)
    assert downloads(make_mount) > seen


def test_evict_leaves_what_is_unsent(make_mount: MountMaker) -> None:
    mount = make_mount("--write-back=60")
    (mount.path / "new").write_bytes(b"unsent")
    assert mount.b2mount("evict", mount.path)[0] == 0
    assert (mount.path / "new").read_bytes() == b"unsent"
    assert mount.b2mount("flush", mount.path)[0] == 0
    assert mount.bucket.read("new") == b"unsent"

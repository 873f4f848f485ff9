"""Many names, many readers, many threads."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from b2mount.emulator.server import EmulatorServer
from b2mount.emulator.shaping import Shape
from tests.mounted.conftest import Folder, MountMaker, files_in
from tests.mounted.trees import assert_same_bytes, pattern

pytestmark = pytest.mark.kernel

CROWD = 50_000
PAGES = CROWD // 1000
MIB = 1 << 20


@contextmanager
def far_away(server: EmulatorServer, milliseconds: float) -> Iterator[None]:
    """Inside, every reply takes a while to begin."""
    server.shape = Shape(first_byte_ms=milliseconds)
    yield
    server.shape = Shape()


def peak_memory(process: int) -> int:
    """Bytes that were resident at most."""
    status = Path(f"/proc/{process}/status").read_text()
    (kib,) = re.findall(r"^VmHWM:\s*([0-9]+) kB$", status, re.MULTILINE)
    return int(kib) << 10


def listings(server: EmulatorServer) -> int:
    """Pages of listings asked for so far."""
    return sum(count for name, count in server.counts.calls.items() if name.startswith("b2_list_file"))


def test_a_directory_of_50000_names(make_mount: MountMaker) -> None:
    """The first entries are out before the last page is in, and all attributes come with them."""
    bucket, server = make_mount.bucket(), make_mount.server
    names = [f"name-{number:05}" for number in range(CROWD)]
    bucket.fill((f"crowd/{name}" for name in names), b"x" * 100)
    mount = make_mount(bucket=bucket)
    server.counts.reset()
    with far_away(server, 40), os.scandir(mount.path / "crowd") as listing:
        found = [next(listing).name]
        assert listings(server) <= 3
        found += [entry.name for entry in listing]
    assert sorted(found) == names
    assert PAGES <= server.counts.transactions["C"] <= PAGES + 1, "B2 bills by the thousand rows"
    before = sum(server.counts.calls.values())
    text = mount.programs.run("ls", "-l", "--time-style=+", mount.path / "crowd")
    assert len(text.splitlines()) == CROWD + 1
    assert all(line.split()[4] == "100" for line in text.splitlines()[1:])
    assert sum(server.counts.calls.values()) - before <= PAGES + 10
    assert mount.process is not None
    assert peak_memory(mount.process.pid) < 120 * MIB, "the mount alone takes 50, and a page 30"


def test_what_a_walk_and_scattered_questions_cost(make_mount: MountMaker) -> None:
    """500 directories of 10 files: the names fit into six pages, and nobody asks directory by directory."""
    bucket, counts = make_mount.bucket(), make_mount.server.counts
    names = [f"d{number // 10:03}/{number}" for number in range(5000)]
    bucket.fill(names, b"x")
    mount = make_mount(bucket=bucket)
    counts.reset()
    assert len(mount.programs.run("find", mount.path).splitlines()) == 1 + 500 + 5000
    assert counts.transactions["C"] <= 8
    before = dict(counts.calls)
    assert len(mount.programs.run("find", mount.path).splitlines()) == 1 + 500 + 5000
    assert dict(counts.calls) == before, "within the time to live it costs nothing"
    mount.remount(fresh_cache=True)
    before_stats = counts.transactions["C"]
    for name in random.Random(100).sample(names, 100):
        assert (mount.path / name).stat().st_size == 1
    assert counts.transactions["C"] - before_stats <= 8


def test_removing_while_listing_leaves_nothing(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.fill((f"full/file-{number}" for number in range(3000)), b"x")
    mount = make_mount(bucket=bucket)
    with os.scandir(mount.path / "full") as listing:
        for entry in listing:
            os.unlink(entry.path)
    assert os.listdir(mount.path / "full") == []
    assert files_in(bucket, "") == {}
    (mount.path / "full").rmdir()
    assert os.listdir(mount.path) == []


def test_rm_of_a_big_directory(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    bucket.fill((f"full/{number % 7}/file-{number}" for number in range(1500)), b"x")
    mount = make_mount(bucket=bucket)
    mount.programs.run("rm", "-r", mount.path / "full", timeout=100)
    assert os.listdir(mount.path) == []
    assert bucket.objects() == {}


def test_readers_see_whole_files_while_they_are_replaced(folder: Folder) -> None:
    """An open file is pinned to one object version until the last close."""
    path, rounds, size = folder.path / "file", 40, 200_000
    path.write_bytes(bytes(size))
    done = False

    def replace() -> None:
        nonlocal done
        for number in range(1, rounds):
            temporary = folder.path / f".new-{number}"
            temporary.write_bytes(bytes([number]) * size)
            os.rename(temporary, path)
        done = True

    def read() -> list[int]:
        seen = []
        while not done:
            data = path.read_bytes()
            assert len(data) == size
            assert data == data[:1] * size
            seen.append(data[0])
        return seen

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        pool.submit(replace).result()
        for reader in readers:
            seen = reader.result()
            assert seen == sorted(seen), "an old version came back"
    assert path.read_bytes() == bytes([rounds - 1]) * size


def test_readers_see_one_writers_appends(folder: Folder) -> None:
    path, pieces, size = folder.path / "log", 60, 5000
    path.write_bytes(b"")
    done = False

    def append() -> None:
        nonlocal done
        for number in range(pieces):
            with path.open("ab", buffering=0) as file:
                file.write(pattern(number, size))
        done = True

    whole = b"".join(pattern(number, size) for number in range(pieces))

    def read() -> None:
        while not done:
            data = path.read_bytes()
            assert data == whole[: len(data)]

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        pool.submit(append).result()
        for reader in readers:
            reader.result()
    assert_same_bytes(path.read_bytes(), whole)


def test_twenty_threads(folder: Folder) -> None:
    shared = folder.path / "shared"
    shared.mkdir()

    def work(number: int) -> None:
        own = folder.path / f"thread-{number}"
        own.mkdir()
        for turn in range(8):
            data = pattern(100 * number + turn, 3000 * turn)
            (own / f"file-{turn}").write_bytes(data)
            (shared / f"{number}-{turn}").write_bytes(data)
            assert_same_bytes((own / f"file-{turn}").read_bytes(), data)
            assert f"{number}-{turn}" in os.listdir(shared)
            os.rename(own / f"file-{turn}", own / f"renamed-{turn}")
            if turn % 2:
                (own / f"renamed-{turn}").unlink()
                (shared / f"{number}-{turn}").unlink()

    with ThreadPoolExecutor(20) as pool:
        for result in [pool.submit(work, number) for number in range(20)]:
            result.result()
    assert sorted(os.listdir(shared)) == sorted(f"{n}-{t}" for n in range(20) for t in range(0, 8, 2))
    for number in range(20):
        own = folder.path / f"thread-{number}"
        assert sorted(os.listdir(own)) == [f"renamed-{turn}" for turn in range(0, 8, 2)]
        for turn in range(0, 8, 2):
            expected = pattern(100 * number + turn, 3000 * turn)
            assert_same_bytes((own / f"renamed-{turn}").read_bytes(), expected)
            assert_same_bytes((shared / f"{number}-{turn}").read_bytes(), expected)
    assert len(folder.files()) == 20 * 4 * 2

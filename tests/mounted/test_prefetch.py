"""Programs that read many files on a real mount: how many requests they take. Never how long."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.test_semantics_reading import downloads
from tests.mounted.trees import pattern

pytestmark = pytest.mark.kernel

KIB, MIB = 1 << 10, 1 << 20
WORD = b"a word to look for"


@attrs.define
class Downloads:
    """Counts from when it was made."""

    _maker: MountMaker
    _before: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = downloads(self._maker)

    @property
    def count(self) -> int:
        return downloads(self._maker) - self._before


def filled(maker: MountMaker, keys: Sequence[str], data: bytes) -> Mount:
    """A mount of a bucket with these files."""
    bucket = maker.bucket()
    bucket.fill(keys, data)
    return maker(bucket=bucket)


def test_grep_through_a_tree(make_mount: MountMaker) -> None:
    keys = [f"d{directory}/f{number:03}" for directory in range(4) for number in range(60)]
    mount = filled(make_mount, keys, WORD + bytes(8 * KIB))
    sent, bytes_before = Downloads(make_mount), make_mount.server.counts.bytes_out
    found = mount.programs.run("grep", "-rlaF", WORD.decode(), mount.path)
    assert len(found.splitlines()) == len(keys)
    assert sent.count <= 1.05 * len(keys)
    assert make_mount.server.counts.bytes_out - bytes_before < 1.2 * len(keys) * (8 * KIB + 1000)


def test_what_comes_next_is_there_before_it_is_asked_for(make_mount: MountMaker) -> None:
    keys = [f"f{number:03}" for number in range(100)]
    mount = filled(make_mount, keys, b"bytes")
    sent = Downloads(make_mount)
    mount.programs.run("ls", mount.path)
    for key in keys[:5]:
        assert (mount.path / key).read_bytes() == b"bytes"
    time.sleep(0.5)  # nobody asks for anything
    assert sent.count >= 10
    for key in keys:
        assert (mount.path / key).read_bytes() == b"bytes"
    assert sent.count == len(keys)


def test_cp_and_tar(make_mount: MountMaker, tmp_path: Path) -> None:
    keys = [f"d{directory}/f{number:03}" for directory in range(3) for number in range(30)]
    mount = filled(make_mount, keys, WORD)
    sent = Downloads(make_mount)
    mount.programs.run("cp", "-r", mount.path, tmp_path / "copy")
    assert sent.count <= 1.05 * len(keys)
    for key in keys:
        assert (tmp_path / "copy" / key).read_bytes() == WORD
    mount.remount(fresh_cache=True)
    sent = Downloads(make_mount)
    mount.programs.run("tar", "cf", tmp_path / "all.tar", "-C", mount.path, ".")
    assert sent.count <= 1.05 * len(keys)


def test_heads_of_big_files(make_mount: MountMaker) -> None:
    bucket = make_mount.bucket()
    keys = [f"f{number:02}" for number in range(20)]
    data = pattern(1, 17 * MIB)
    bucket.fill(keys, data)
    mount = make_mount(bucket=bucket)
    before = make_mount.server.counts.bytes_out
    for key in keys:
        with (mount.path / key).open("rb", buffering=0) as file:
            assert file.read(64 * KIB) == data[: 64 * KIB]
    time.sleep(0.3)  # whatever is fetched ahead would be on its way by now
    assert make_mount.server.counts.bytes_out - before <= 20 * 400_000


def test_opening_here_and_there(make_mount: MountMaker) -> None:
    keys = [f"f{number:04}" for number in range(1000)]
    mount = filled(make_mount, keys, b"bytes")
    sent = Downloads(make_mount)
    mount.programs.run("ls", mount.path)
    chosen = random.Random(9).sample(keys, 150)
    for key in chosen:
        assert (mount.path / key).read_bytes() == b"bytes"
    time.sleep(0.3)  # whatever is fetched ahead would be on its way by now
    assert sent.count <= 1.2 * len(chosen)


def test_listings_are_not_asked_for_because_files_are_read(make_mount: MountMaker) -> None:
    keys = [f"{directory}/f{number:03}" for directory in ("a", "b") for number in range(20)]
    mount = filled(make_mount, keys, b"bytes")
    mount.programs.run("ls", mount.path / "a")
    counts = make_mount.server.counts.calls
    before = counts["b2_list_file_names"]
    for key in keys[:20]:
        assert (mount.path / key).read_bytes() == b"bytes"
    time.sleep(0.3)  # whatever is fetched ahead would be on its way by now
    assert counts["b2_list_file_names"] == before

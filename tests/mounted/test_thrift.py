"""What changes of big files and small-file programs cost, as the emulator counts it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from b2mount.emulator.counts import Counts
from tests.mounted.bucket import RemoteBucket, sha1_of
from tests.mounted.conftest import MountMaker
from tests.mounted.trees import pattern

pytestmark = pytest.mark.kernel

MIB = 1 << 20
BIG = 512 * MIB


@attrs.define
class Cost:
    """Bytes of bodies."""

    sent: int = 0
    received: int = 0


@contextmanager
def measured(counts: Counts) -> Iterator[Cost]:
    cost = Cost()
    sent, received = counts.bytes_in, counts.bytes_out
    yield cost
    cost.sent, cost.received = counts.bytes_in - sent, counts.bytes_out - received


@pytest.mark.parametrize(
    ("change", "sent", "received"),
    [("append", 6_500_000, 0), ("change", 5_500_000, 5_500_000), ("truncate", 0, 0)],
)
def test_a_change_of_a_big_file(make_mount: MountMaker, change: str, sent: int, received: int) -> None:
    """Editing a big file sends what changed; the rest is copied inside B2."""
    bucket, counts = make_mount.bucket(), make_mount.server.counts
    make_mount.server.seed(bucket.name, ["big"], size=BIG)
    mount, piece = make_mount(bucket=bucket), pattern(1, MIB)
    with measured(counts) as cost:
        if change == "truncate":
            os.truncate(mount.path / "big", 300 * MIB)
        else:
            with (mount.path / "big").open("r+b", buffering=0) as file:
                file.seek(BIG if change == "append" else random.Random(3).randrange(BIG - MIB))
                place = file.tell()
                file.write(piece if change == "append" else piece[:4096])
    slack = 2000  # requests' own JSON is no body of a file
    assert cost.sent <= sent + slack
    assert cost.received <= received
    size = bucket.objects()["big"].size
    assert size == {"append": BIG + MIB, "change": BIG, "truncate": 300 * MIB}[change]
    if change != "truncate":
        with (mount.path / "big").open("rb") as file:
            file.seek(place - 10)
            length = MIB if change == "append" else 4096
            assert file.read(10 + length) == bytes(10) + piece[:length]


def few_files(source: Path, count: int) -> None:
    for number in range(count):
        path = source / f"folder{number % 4}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pattern(number, 10_000))
        path.chmod(0o640)
        os.utime(path, ns=(10**18, 10**18 + number))


def test_rsync_with_write_back(make_mount: MountMaker, tmp_path: Path) -> None:
    """Write-chmod-rename ends as one upload under the final name."""
    source = tmp_path / "source"
    few_files(source, 200)
    mount, counts = make_mount("--write-back"), make_mount.server.counts
    assert isinstance(mount.bucket, RemoteBucket)
    uploads, copies = counts.calls["b2_upload_file"], counts.calls["b2_copy_file"]
    mount.programs.run("rsync", "-a", f"{source}/", f"{mount.path}/copy/")
    mount.b2mount("flush", mount.path)
    of_folders = 5 * 4  # made, owned, dated, dated again when it is full
    assert counts.calls["b2_upload_file"] - uploads <= 200 + of_folders
    assert counts.calls["b2_copy_file"] == copies
    versions = [version.file_name for version, _ in mount.bucket.bucket.ls(recursive=True, latest_only=False)]
    files = sorted(name for name in versions if not name.endswith(".bzEmpty"))
    assert files == sorted(f"copy/folder{number % 4}/file{number}" for number in range(200))
    mount.remount(fresh_cache=True)
    assert mount.programs.run("rsync", "-an", "--itemize-changes", f"{source}/", f"{mount.path}/copy/") == ""


def test_rsync_by_default(make_mount: MountMaker, tmp_path: Path) -> None:
    """A change of attributes is merged with a pending rename: one upload and one copy for a file, and B2
    has it under its last name when rsync ends."""
    source = tmp_path / "source"
    few_files(source, 20)
    mount, counts = make_mount(), make_mount.server.counts
    copies = counts.calls["b2_copy_file"]
    mount.programs.run("rsync", "-a", f"{source}/", f"{mount.path}/copy/")
    # one for a file, unless this machine took half a second between two of rsync's calls
    assert 20 <= counts.calls["b2_copy_file"] - copies < 30
    for number in range(20):
        found = mount.bucket.objects("copy/")[f"copy/folder{number % 4}/file{number}"]
        assert found.sha1 == sha1_of(pattern(number, 10_000))
        assert found.info["src_last_modified_millis"] == "1000000000000"
        assert "mode=100640" in found.info["posix"]

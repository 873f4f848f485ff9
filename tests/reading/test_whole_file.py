from __future__ import annotations

import os
from pathlib import Path

import pytest

from b2mount.reading.whole_file import read_whole, write_whole


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ab" / "cdef" / "digests")


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_what_was_written_is_read(path: str, size: int) -> None:
    data = os.urandom(size)
    write_whole(path, b"v", data)
    assert read_whole(path, b"v") == data


def test_the_checksums_of_the_largest_object_are_read(path: str) -> None:
    data = bytes(10**13 // (128 << 10) * 4)
    write_whole(path, b"v", data)
    found = read_whole(path, b"v")
    assert found is not None
    assert len(found) == len(data)


def test_files_and_directories_are_private(path: str) -> None:
    write_whole(path, b"v", b"secret")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0


def test_any_flipped_bit_is_noticed(path: str) -> None:
    write_whole(path, b"v", b"some bytes")
    content = Path(path).read_bytes()
    for bit in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        Path(path).write_bytes(damaged)
        assert read_whole(path, b"v") is None


def test_any_cut_is_noticed(path: str) -> None:
    write_whole(path, b"v", b"some bytes")
    content = Path(path).read_bytes()
    for length in range(len(content)):
        Path(path).write_bytes(content[:length])
        assert read_whole(path, b"v") is None


def test_the_file_of_another_is_none(path: str) -> None:
    write_whole(path, b"v", b"some bytes")
    assert read_whole(path, b"w") is None


def test_a_giant_stray_is_not_read(path: str) -> None:
    write_whole(path, b"v", b"some bytes")
    os.truncate(path, 1 << 40)
    assert read_whole(path, b"v") is None


def test_a_failed_write_leaves_the_old_file_and_no_litter(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(path, b"v", b"old")
    monkeypatch.setattr(os, "writev", lambda _descriptor, pieces: len(pieces[0]) // 2)
    with pytest.raises(OSError, match="fitted"):
        write_whole(path, b"v", b"new and longer")
    assert read_whole(path, b"v") == b"old"
    assert os.listdir(os.path.dirname(path)) == ["digests"]


def test_a_missing_file_is_an_oserror(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_whole(path, b"v")

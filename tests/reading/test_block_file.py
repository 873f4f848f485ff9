from __future__ import annotations

import os
from pathlib import Path

import pytest

from b2mount.reading.block_file import BLOCK_SIZE, read_block, write_block


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ab" / "cdef" / "7")


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("size", [1, 4096, BLOCK_SIZE])
def test_what_was_written_is_read(path: str, size: int, wait: bool) -> None:
    data = os.urandom(size)
    assert write_block(path, b"v/7", data) == os.stat(path).st_size
    assert bytes(read_block(path, b"v/7", wait=wait) or b"") == data


def test_files_and_directories_are_private(path: str) -> None:
    write_block(path, b"v/7", b"secret")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0


def test_any_flipped_bit_is_noticed(path: str) -> None:
    write_block(path, b"v/7", b"some bytes")
    content = Path(path).read_bytes()
    for bit in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        Path(path).write_bytes(damaged)
        assert read_block(path, b"v/7", wait=True) is None


def test_any_cut_is_noticed(path: str) -> None:
    write_block(path, b"v/7", b"some bytes")
    content = Path(path).read_bytes()
    for length in range(len(content)):
        Path(path).write_bytes(content[:length])
        assert read_block(path, b"v/7", wait=True) is None


def test_the_file_of_another_block_is_no_block(path: str) -> None:
    write_block(path, b"v/7", b"some bytes")
    assert read_block(path, b"v/8", wait=True) is None


def test_a_giant_stray_is_not_read(path: str) -> None:
    write_block(path, b"v/7", b"some bytes")
    os.truncate(path, 1 << 40)
    assert read_block(path, b"v/7", wait=True) is None


def test_a_failed_write_leaves_the_old_block_and_no_litter(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_block(path, b"v/7", b"old")
    monkeypatch.setattr(os, "writev", lambda _descriptor, pieces: len(pieces[0]) // 2)
    with pytest.raises(OSError, match="fitted"):
        write_block(path, b"v/7", b"new and longer")
    assert bytes(read_block(path, b"v/7", wait=True) or b"") == b"old"
    assert os.listdir(os.path.dirname(path)) == ["7"]


def test_a_missing_file_is_an_oserror(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_block(path, b"v/7", wait=False)

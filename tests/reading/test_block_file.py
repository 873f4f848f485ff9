from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from b2mount.reading.block_file import (
    BLOCK_SIZE,
    HEADER,
    LARGEST,
    Piece,
    erase_block,
    places_in,
    read_blocks,
    write_blocks,
)
from b2mount.reading.block_index import GROUP
from tests.reading.conftest import bytes_of

BLOCKS = [bytes_of(BLOCK_SIZE, seed) for seed in range(GROUP)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ab" / "cdef" / "7.blocks")


def put(path: str, places: Iterable[int], blocks: list[bytes] = BLOCKS) -> None:
    pieces = [Piece(place, blocks[place]) for place in places]
    assert write_blocks(path, b"v/7", pieces) == (len(pieces), "")


def read(path: str, places: range, identity: bytes = b"v/7") -> bytes | None:
    """As after a restart of the machine, when nothing is in memory yet."""
    data = read_blocks(path, identity, places, wait=True)
    return None if data is None else bytes(data)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("places", [range(32), range(3, 4), range(5, 13), range(31, 32)])
def test_neighbours_are_read_in_one_go(path: str, places: range, wait: bool) -> None:
    put(path, range(GROUP))
    assert os.stat(path).st_size == LARGEST
    data = read_blocks(path, b"v/7", places, wait=wait)
    assert bytes(data or b"") == b"".join(BLOCKS[places.start : places.stop])


@pytest.mark.parametrize("size", [1, 4095, BLOCK_SIZE - 1, BLOCK_SIZE])
def test_the_last_block_may_be_short(path: str, size: int) -> None:
    blocks = [*BLOCKS[:2], BLOCKS[2][:size]]
    put(path, range(3), blocks)
    assert read(path, range(3)) == b"".join(blocks)
    assert read(path, range(2, 3)) == blocks[2]
    if size < BLOCK_SIZE:
        put(path, [3])
        assert read(path, range(4)) is None, "there is a gap in it"


def test_blocks_come_in_any_order_and_holes_take_no_space(path: str) -> None:
    for places in ([9, 10], [30], [0], [8]):
        put(path, places)
    assert read(path, range(8, 11)) == b"".join(BLOCKS[8:11])
    assert read(path, range(7, 9)) is None
    assert read(path, range(11, 12)) is None
    assert places_in(path) == 1 << 0 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 30
    assert os.stat(path).st_blocks * 512 == HEADER + 5 * BLOCK_SIZE


def test_files_and_directories_are_private(path: str) -> None:
    put(path, [0])
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0


def test_any_flipped_bit_of_a_block_or_its_entry_is_noticed(path: str) -> None:
    blocks = [BLOCKS[0], b"some bytes"]
    put(path, range(2), blocks)
    content = Path(path).read_bytes()
    entry, data = range(8, 16), range(HEADER + BLOCK_SIZE, len(content))
    for position in (*entry, *data):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            Path(path).write_bytes(damaged)
            assert read(path, range(1, 2)) is None
            assert read(path, range(2)) is None
            assert read(path, range(1)) == BLOCKS[0], "its neighbour is well"


@pytest.mark.parametrize("wait", [True, False])
def test_any_cut_is_noticed(path: str, wait: bool) -> None:
    put(path, [0], [b"some bytes"])
    content = Path(path).read_bytes()
    assert len(content) == HEADER + 10
    for length in range(len(content)):
        Path(path).write_bytes(content[:length])
        try:
            assert read_blocks(path, b"v/7", range(1), wait=wait) is None
        except BlockingIOError:
            assert not wait, "a thread is to find out"


@pytest.mark.parametrize("lost", ["table", "block", "pages"])
def test_what_a_power_cut_left_out_is_noticed(path: str, lost: str) -> None:
    put(path, range(4))
    holes = {
        "table": (0, 1),
        "block": (HEADER + 2 * BLOCK_SIZE, 32),
        "pages": (HEADER + 3 * BLOCK_SIZE - 4096, 1),
    }
    offset, pages = holes[lost]
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), bytes(4096 * pages), offset)
    assert [read(path, range(place, place + 1)) is None for place in range(4)] == (
        [True] * 4 if lost == "table" else [False, False, True, False]
    )
    assert read(path, range(4)) is None
    put(path, [2] if lost != "table" else range(4))
    assert read(path, range(4)) == b"".join(BLOCKS[:4])


def test_misplaced_blocks_are_none(path: str) -> None:
    put(path, [3])
    assert read(path, range(3, 4), b"v/8") is None
    content = Path(path).read_bytes()
    entry, data = content[24:32], content[HEADER + 3 * BLOCK_SIZE :]
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), entry, 16)
        os.pwrite(file.fileno(), data, HEADER + 2 * BLOCK_SIZE)
    assert read(path, range(3, 4)) == BLOCKS[3]
    assert read(path, range(2, 3)) is None


def test_an_erased_block_is_none_and_may_come_again(path: str) -> None:
    put(path, range(3))
    erase_block(path, 1)
    assert read(path, range(3)) is None
    assert read(path, range(2, 3)) == BLOCKS[2]
    assert places_in(path) == 0b101
    put(path, [1])
    assert read(path, range(3)) == b"".join(BLOCKS[:3])
    erase_block(f"{path}.gone", 1)


def test_a_disk_that_fills_up_keeps_what_it_took(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def short(descriptor: int, pieces: list[bytes], offset: int) -> int:
        return real(descriptor, pieces, offset) if offset < HEADER + BLOCK_SIZE else 4096

    monkeypatch.setattr(os, "pwritev", short)
    pieces = [Piece(place, BLOCKS[place]) for place in (0, 2, 4)]
    count, reason = write_blocks(path, b"v/7", pieces)
    assert count == 1
    assert "fitted" in reason
    assert read(path, range(1)) == BLOCKS[0]
    assert places_in(path) == 1


def test_a_disk_that_takes_nothing_keeps_no_litter(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    count, reason = write_blocks(path, b"v/7", [Piece(0, BLOCKS[0])])
    assert count == 0
    assert "fitted" in reason
    assert os.listdir(os.path.dirname(path)) == []


def test_a_missing_file_is_an_oserror(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_blocks(path, b"v/7", range(1), wait=False)

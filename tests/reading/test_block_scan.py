"""What the next mount finds in a cache directory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from b2mount.reading import block_scan
from b2mount.reading.block_file import BLOCK_SIZE, HEADER, LARGEST, Piece, erase_block, write_blocks
from b2mount.reading.block_scan import scan
from b2mount.reading.cache_layout import file_of
from tests.reading.conftest import bytes_of

KEY = "0123456789abcdef" * 2


def put(root: Path, number: int, places: list[int], size: int = BLOCK_SIZE) -> Path:
    path = file_of(str(root), KEY, number)
    write_blocks(path, b"", [Piece(place, bytes_of(size, place)) for place in places])
    return Path(path)


def found(root: Path) -> dict[int, tuple[int, int]]:
    """The blocks and the size of each group."""
    return {number: (group.present, group.size) for _, number, group in scan(str(root)).groups}


def test_a_group_without_holes_is_found_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 0, list(range(32)))
    put(tmp_path, 1, [0, 1, 2])
    put(tmp_path, 2, [0], size=100)
    monkeypatch.setattr(block_scan, "places_in", None)
    assert found(tmp_path) == {
        0: (0xFFFF_FFFF, LARGEST),
        1: (0b111, HEADER + 3 * BLOCK_SIZE),
        2: (1, 2 * 4096),
    }


def test_of_a_group_with_holes_the_table_is_read(tmp_path: Path) -> None:
    put(tmp_path, 5, [3, 4, 31])
    erase_block(str(put(tmp_path, 6, [3, 4, 31])), 4)
    size = HEADER + 3 * BLOCK_SIZE
    assert found(tmp_path) == {5: (1 << 3 | 1 << 4 | 1 << 31, size), 6: (1 << 3 | 1 << 31, size)}


def test_least_recently_used_groups_come_first(tmp_path: Path) -> None:
    for number, used in enumerate([2000, 1000, 3000]):
        os.utime(put(tmp_path, number, [0]), (0, used))
    groups = scan(str(tmp_path)).groups
    assert [(key, number, group.touched) for key, number, group in groups] == [
        (KEY, 1, 1000),
        (KEY, 0, 2000),
        (KEY, 2, 3000),
    ]


def test_whatever_is_no_group_is_removed(tmp_path: Path) -> None:
    good = put(tmp_path, 0, [0])
    beside = good.parent
    (beside / "1.blocks").write_bytes(b"")
    (beside / "2.blocks").write_bytes(bytes(HEADER))
    (beside / "3.blocks").symlink_to(good)
    (beside / "4.blocks").write_bytes(b"x")
    os.truncate(beside / "4.blocks", LARGEST + 1)
    (beside / "5.blocks").write_bytes(b"x")
    os.truncate(beside / "5.blocks", LARGEST)
    for name in ("0", "17", "007.blocks", "-1.blocks", "٣.blocks", ".blocks", "digests.tmp", "x"):
        (beside / name).write_bytes(bytes(BLOCK_SIZE + 12))
    assert found(tmp_path) == {0: (1, HEADER + BLOCK_SIZE)}
    assert sorted(path.name for path in beside.iterdir()) == ["0.blocks"]


def test_directories_without_blocks_go_unless_their_checksums_are_recent(tmp_path: Path) -> None:
    beside = put(tmp_path, 0, [0]).parent
    for name, age in (("a", 0.0), ("b", 366 * 86400.0)):
        directory = tmp_path / "00" / (name * 30)
        directory.mkdir(parents=True)
        (directory / "digests").write_bytes(b"")
        os.utime(directory / "digests", (time.time() - age,) * 2)
    (tmp_path / "00" / ("c" * 30)).mkdir()
    doomed = tmp_path / "gone-1234" / "sub"
    doomed.mkdir(parents=True)
    assert scan(str(tmp_path)).with_checksums == {"00" + "a" * 30}
    assert sorted(path.name for path in (tmp_path / "00").iterdir()) == ["a" * 30]
    assert beside.exists()
    assert not doomed.parent.exists()

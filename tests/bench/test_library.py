"""What the files of the benchmarks hold is known, and no two of them are alike."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from tests.bench.library import KIB, LINE, MIB, Library, Piece, Spliced, small_files


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.write(tmp_path / "library", 200 * KIB)


def test_it_is_text_of_the_size_asked_for(library: Library) -> None:
    data = library.path.read_bytes()
    assert len(data) == library.size
    lines = data.split(b"\n")
    assert {len(line) for line in lines[:-1]} == {LINE - 1}
    assert len(set(lines)) == len(lines)


def test_it_is_the_same_each_time(library: Library, tmp_path: Path) -> None:
    again = Library.write(tmp_path / "again", library.size)
    assert again.path.read_bytes() == library.path.read_bytes()


def test_pieces_one_after_another(library: Library) -> None:
    data = library.path.read_bytes()
    spliced = Spliced((Piece(100, 50), Piece(7, 3)))
    assert spliced.size == 53
    assert library.read(spliced) == data[100:150] + data[7:10]
    assert library.sha1(spliced) == hashlib.sha1(data[100:150] + data[7:10]).hexdigest()


def test_only_whole_lines(library: Library) -> None:
    data = library.path.read_bytes().decode()
    assert library.lines(Piece(10, 3 * LINE)) == data.split("\n")[1:3]


def test_local_files(library: Library, tmp_path: Path) -> None:
    library.lay_out({"a/b": Piece(5, 10), "c": Piece(9, 0)}, tmp_path / "out")
    assert (tmp_path / "out/a/b").read_bytes() == library.path.read_bytes()[5:15]
    assert (tmp_path / "out/c").read_bytes() == b""


def test_small_files_share_no_line() -> None:
    files = small_files(folders=3, each=4, size=8 * KIB)
    assert len(files) == 12
    assert {name.partition("/")[0] for name in files} == {"d000", "d001", "d002"}
    pieces = sorted(files.values(), key=lambda piece: piece.offset)
    for piece, following in itertools.pairwise(pieces):
        assert following.offset - (piece.offset + piece.size) >= LINE
    assert pieces[-1].offset + pieces[-1].size < MIB

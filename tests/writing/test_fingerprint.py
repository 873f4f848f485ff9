from __future__ import annotations

import hashlib
import zlib
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b2mount.errors import CorruptData
from b2mount.model import ByteRange
from b2mount.threads import ThreadLane
from b2mount.writing import fingerprint
from b2mount.writing.extents import Run, Source
from b2mount.writing.fingerprint import Fingerprint, fill_from_base, fingerprint_of

BLOCK = 8

pieces_of_files = st.lists(st.tuples(st.sampled_from(Source), st.binary(min_size=1, max_size=30)), max_size=6)


def crcs(data: bytes) -> list[int]:
    return [zlib.crc32(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]


def runs_of(pieces: list[tuple[Source, bytes]], path: Path) -> tuple[list[Run], bytes]:
    runs, data = [], b""
    for source, piece in pieces:
        span = ByteRange(len(data), len(data) + len(piece))
        runs.append(Run(span, source, str(path) if source is Source.STAGED else ""))
        data += bytes(len(piece)) if source is Source.HOLE else piece
    path.write_bytes(data)
    return runs, data


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 40))))
def test_any_cut_gives_the_same_sums(pieces: list[bytes | int]) -> None:
    one, data, missing = Fingerprint(BLOCK), b"", set[int]()
    for piece in pieces:
        one = one.copy()
        if isinstance(piece, bytes):
            one.take(piece)
            data += piece
        else:
            one.skip(piece)
            missing |= set(range(len(data) // BLOCK, (len(data) + piece - 1) // BLOCK + 1))
            data += bytes(piece)
    one = one.ended()
    assert list(one.sums) == [0 if i in missing else crc for i, crc in enumerate(crcs(data))]
    assert one.sha1 == (None if missing else hashlib.sha1(data).hexdigest())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staging") / "file"


@given(pieces=pieces_of_files)
async def test_what_is_known_is_right(pieces: list[tuple[Source, bytes]], path: Path) -> None:
    runs, data = runs_of(pieces, path)
    found = await fingerprint_of(ThreadLane("disk", 1), runs, BLOCK)
    expected = crcs(data)
    assert len(found.sums) == len(expected)
    base_size = max((run.span.stop for run in runs if run.source is Source.BASE), default=0)
    known_before = list(found.sums)
    fill_from_base(found.sums, runs, len(data), array("I", crcs(data[:base_size])), base_size, BLOCK)
    for index, (sum_, before, right) in enumerate(zip(found.sums, known_before, expected, strict=True)):
        touched = {
            r.source for r in runs if r.span.start < (index + 1) * BLOCK and r.span.stop > index * BLOCK
        }
        assert sum_ in (0, right)
        assert (before != 0) == (Source.BASE not in touched)
        mixed = Source.BASE in touched and len(touched) > 1
        assert (sum_ != 0) or mixed or touched == {Source.BASE}


async def test_a_file_that_is_all_base_but_a_middle(path: Path) -> None:
    data = bytes(range(5 * BLOCK + 3))
    path.write_bytes(data)
    runs = [
        Run(ByteRange(0, 12), Source.BASE),
        Run(ByteRange(12, 26), Source.STAGED, str(path)),
        Run(ByteRange(26, len(data)), Source.BASE),
    ]
    found = await fingerprint_of(ThreadLane("disk", 1), runs, BLOCK)
    fill_from_base(found.sums, runs, len(data), array("I", crcs(data)), len(data), BLOCK)
    right = crcs(data)
    assert list(found.sums) == [right[0], 0, right[2], 0, right[4], right[5]]
    assert found.sha1 is None


@pytest.mark.parametrize(
    ("size", "base_size", "known"), [(20, 20, [1, 2, 3]), (20, 24, [1, 2, 0]), (16, 20, [1, 2])]
)
def test_the_last_block_is_the_same_only_at_the_same_size(
    size: int, base_size: int, known: list[int]
) -> None:
    sums = array("I", [0] * -(-size // BLOCK))
    fill_from_base(
        sums, [Run(ByteRange(0, size), Source.BASE)], size, array("I", [1, 2, 3]), base_size, BLOCK
    )
    assert list(sums) == known


async def test_in_several_calls_of_the_lane(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "HASHED_AT_ONCE", 10)
    monkeypatch.setattr(fingerprint, "STEP", 3)
    monkeypatch.setattr(fingerprint, "_ZEROS", bytes(3))
    runs, data = runs_of([(Source.STAGED, bytes(range(37))), (Source.HOLE, bytes(29))], path)
    found = await fingerprint_of(ThreadLane("disk", 1), runs, BLOCK)
    assert (found.sha1, list(found.sums)) == (hashlib.sha1(data).hexdigest(), crcs(data))


async def test_a_short_staging_file_is_told(path: Path) -> None:
    path.write_bytes(b"short")
    with pytest.raises(CorruptData, match="shorter"):
        await fingerprint_of(ThreadLane("disk", 1), [Run(ByteRange(0, 10), Source.STAGED, str(path))], BLOCK)

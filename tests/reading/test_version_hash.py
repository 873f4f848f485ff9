from __future__ import annotations

import hashlib
import zlib

import pytest

from b2mount.reading.block_file import BLOCK_SIZE
from b2mount.reading.version_hash import VersionHash, is_right
from b2mount.threads import ThreadLane
from tests.reading.conftest import bytes_of


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE, 2 * BLOCK_SIZE, 2 * BLOCK_SIZE + 1, 7 * BLOCK_SIZE + 5])
async def test_of_blocks_as_of_the_whole(lane: ThreadLane, size: int) -> None:
    data = bytes_of(size)
    sha1 = hashlib.sha1(data).hexdigest()
    chunk = memoryview(data)  # as a store hands them over: cut from one chunk
    for whole in (data, chunk):
        blocks = [whole[at : at + BLOCK_SIZE] for at in range(0, size, BLOCK_SIZE)]
        assert await is_right(blocks, sha1, lane)
        assert await is_right(blocks, sha1.upper(), lane)
        assert not await is_right(blocks, "0" * 40, lane)
        assert not await is_right(blocks, None, lane)
        assert not await is_right([*blocks, b"more"], sha1, lane)


def test_it_goes_on_where_it_stands() -> None:
    blocks = [bytes_of(BLOCK_SIZE, number) for number in range(5)]
    sha1 = hashlib.sha1(b"".join(blocks)).hexdigest()
    whole = VersionHash()
    assert whole.take(blocks[:2]) == [zlib.crc32(block) for block in blocks[:2]]
    assert not whole.matches(sha1)
    whole.add(blocks[2:])
    assert whole.matches(sha1)
    assert not whole.matches(None)

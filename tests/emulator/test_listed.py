"""A long listing is described piece by piece: others are answered in between, and the bytes are the same."""

from __future__ import annotations

import asyncio
import json

import pytest

from b2mount.emulator.gateway import listed_body
from b2mount.emulator.records import Folder, Version
from b2mount.emulator.replies import AT_ONCE, Document, Listed, as_json


def rows(count: int) -> tuple[Folder, ...]:
    return tuple(Folder(f"é\u2028{number}/") for number in range(count))


def described(row: Version | Folder) -> Document:
    return {"fileName": row.name, "fileInfo": {}, "fileId": None}


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_the_pieces_make_the_same_bytes_as_the_whole(count: int) -> None:
    rest: Document = {"nextFileName": 'x"y', "nextFileId": None}
    whole = {"files": [described(row) for row in rows(count)], **rest}
    body = b"".join(Listed(rows(count), described, rest).pieces())
    assert body == as_json(whole)
    assert json.loads(body) == whole


def test_nobody_waits_for_more_than_a_few_rows() -> None:
    """B2's longest page."""
    turns = [0]

    def counted(row: Version | Folder) -> Document:
        turns[-1] += 1
        return described(row)

    async def somebody_else() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(0)

    async def main() -> bytes:
        other = asyncio.create_task(somebody_else())
        body = await listed_body(Listed(rows(10_000), counted, {"nextFileName": None}))
        other.cancel()
        return body

    assert len(json.loads(asyncio.run(main()))["files"]) == 10_000
    assert sum(turns) == 10_000
    assert max(turns) <= AT_ONCE

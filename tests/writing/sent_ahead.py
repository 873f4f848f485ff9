"""What the tests of files that are sent ahead share: parts of a hundred bytes, and a file of twenty."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from b2mount.model import ObjectMetadata
from b2mount.writing import upload_plan
from b2mount.writing.sealed_file import SealedFile
from b2mount.writing.staged_file import StagedFile
from tests.writing.world import World, at, attributes, metadata

Expect = Callable[[str], None]
PART = 100
EARLY = ObjectMetadata("b2/x-auto", {"src_last_modified_millis": "0"})


def use_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MINIMUM_PART": 16, "SINGLE_PUT_LIMIT": 64, "SMALLEST_PUT_PART": PART, "COPY_PART": PART}
    for name, value in {**limits, "STREAM_FROM": 3 * PART, "STREAM_PART": PART}.items():
        monkeypatch.setattr(upload_plan, name, value)


async def idle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


async def write(world: World, staged: StagedFile, offset: int, data: bytes) -> None:
    for start in range(0, len(data), 30):
        staged.write(offset + start, data[start : start + 30])
        world.write_back.wrote(staged, at("big"), lambda: EARLY)
        await trio.lowlevel.checkpoint()
    await idle()


def seal(staged: StagedFile, mark: str = "1", key: str = "big") -> SealedFile:
    return staged.seal(at(key), metadata(mark), attributes(staged.size))

"""A walk while somebody else asks for names everywhere, twice in one life and once in the next."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from b2mount.namespace import children, name_index, planner, recalling, recollection, turns
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectPage
from tests.namespace.lives import Lives
from tests.namespace.test_planner import bucket, walk
from tests.namespace.world import WatchedStore

DIRECTORIES = 300
FILES = 10
LONGEST = 200


class FarStore(WatchedStore):
    """Its answers take some turns of the loop."""

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        page = await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)
        await rest(random.Random(len(self.calls)))
        return page


async def rest(rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 40)):
        await trio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def _small_pages_and_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (turns, name_index, recalling):
        monkeypatch.setattr(module, "TURN", 16)
    for part in (name_index, recollection):
        monkeypatch.setattr(part, "PART", LONGEST)
    for page in (planner, children):
        monkeypatch.setattr(page, "LONGEST_PAGE", LONGEST)


async def ask(names: Namespace, rng: random.Random) -> None:
    """From the end on, where the walk comes last."""
    for number in range(DIRECTORIES - 1, 0, -rng.randrange(1, 5)):
        directory = await names.lookup(names.root, f"dir{number:04}")
        await names.lookup(directory, f"file{number % FILES:03}")
        await rest(rng)


async def walk_among_questions(lives: Lives, rng: random.Random) -> tuple[list[str], int]:
    """What the walk found, and how many calls all of it cost."""
    before = len(lives.store.calls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lives.names.run)
        nursery.start_soon(lives.index.run)
        for _ in range(3):
            nursery.start_soon(ask, lives.names, rng)
        found = await walk(lives.names, lives.names.root)
        nursery.cancel_scope.cancel()
    return found, len(lives.store.calls) - before


@pytest.mark.parametrize("seed", range(4))
async def test_each_name_comes_once_and_what_is_known_is_not_asked_again(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    lives = Lives(tmp_path, bucket(DIRECTORIES, FILES, FarStore(LONGEST)))
    await lives.mount()
    found, _ = await walk_among_questions(lives, rng)
    assert len(found) == len(set(found)) == DIRECTORIES * (FILES + 1)
    assert await walk_among_questions(lives, rng) == (found, 0)
    await lives.remount()
    assert await walk_among_questions(lives, rng) == (found, 0)

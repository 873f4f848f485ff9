"""How many answers of B2, one after the other, somebody waits for who asks for a name that nobody knows.
Each takes a second of a clock that jumps."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio

from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectPage
from tests.namespace.test_planner import bucket, walk
from tests.namespace.world import WatchedStore, names_of

DIRECTORIES = 4500
FROM_THE_END = range(DIRECTORIES - 1, DIRECTORIES - 15, -1)


class DistantStore(WatchedStore):
    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        page = await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)
        await trio.sleep(1)
        return page


@pytest.fixture(scope="module")
def store() -> DistantStore:
    """More directories than the pages have names that are read for a single one."""
    store = DistantStore()
    bucket(DIRECTORIES, 3, store)
    return store


async def waits(names: Namespace, numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Answers that were waited for: for a directory, and for a file in it."""
    found = []
    for number in numbers:
        began = trio.current_time()
        directory = await names.lookup(names.root, f"dir{number:04}")
        then = trio.current_time()
        await names.lookup(directory, "file001")
        found.append((round(then - began), round(trio.current_time() - then)))
    return found


async def test_while_others_walk_it_is_one_page_and_the_question_itself(
    store: DistantStore, autojump_clock: object
) -> None:
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        nursery.start_soon(walk, names, names.root)
        await trio.sleep(0.5)
        found = await waits(names, FROM_THE_END)
        nursery.cancel_scope.cancel()
    assert found[0][0] <= 2
    assert all(directory <= 1 and file == 1 for directory, file in found[1:])


async def test_what_was_read_for_one_name_is_not_read_again_for_the_next(
    store: DistantStore, autojump_clock: object
) -> None:
    names = names_of(store)
    store.calls.seen.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        found = await waits(names, FROM_THE_END)
        nursery.cancel_scope.cancel()
    assert found == [(3, 1)] + [(1, 1)] * (len(FROM_THE_END) - 1)
    assert len(store.calls) <= 3 + 2 * len(FROM_THE_END)


async def test_without_pages_ahead_three_are_waited_for_but_once(
    store: DistantStore, autojump_clock: object
) -> None:
    names = names_of(store)
    assert await waits(names, FROM_THE_END) == [(4, 1)] + [(1, 1)] * (len(FROM_THE_END) - 1)

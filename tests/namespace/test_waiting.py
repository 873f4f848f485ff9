"""How many answers of B2, one after the other, somebody waits for who asks for a name that nobody knows.
Each takes a second of a clock that jumps."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio

from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectPage
from tests.namespace.test_planner import bucket, walk
from tests.namespace.world import WatchedStore, listed, names_of

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


async def test_pages_that_lead_to_a_directory_are_not_waited_for_one_after_the_other(
    autojump_clock: object,
) -> None:
    names = names_of(bucket(300, 100, DistantStore()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        await listed(names, names.root)
        found = await waits(names, [100, 101, 138])
        nursery.cancel_scope.cancel()
    assert found[:2] == [(0, 1), (0, 1)]
    assert found[2] == (0, 2)


async def parts_read(names: Namespace, seconds: float) -> tuple[list[str], list[float]]:
    """The root's names, read in parts as DirectoryHandle does, and how long each part took after the first;
    what is ready costs nothing."""
    stream, position = names.children(names.root), 0
    found: list[str] = []
    took: list[float] = []
    with trio.move_on_after(seconds):
        while True:
            began = trio.current_time()
            inode = await stream.get(position)
            took.append(trio.current_time() - began)
            if inode is None:
                break
            found.append(inode.path.name)
            position += 1
            while stream.ready(position) and (inode := await stream.get(position)) is not None:
                found.append(inode.path.name)
                position += 1
            await trio.sleep(0.001)
    return found, took[1:]


async def ask_from_the_end(names: Namespace, count: int) -> None:
    for number in range(count - 1, 0, -1):
        await names.lookup(names.root, f"{number:04}")


@pytest.mark.parametrize("is_asked", [True, False])
async def test_whoever_reads_a_directory_lets_those_in_who_ask_for_its_names(
    is_asked: bool, autojump_clock: object
) -> None:
    store = DistantStore()
    for number in range(2500):
        store.add(f"{number:04}")
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run)
        if is_asked:
            nursery.start_soon(ask_from_the_end, names, 2500)
        found, took = await parts_read(names, 60)
        nursery.cancel_scope.cancel()
    assert found == [f"{number:04}" for number in range(2500)]
    short = sum(0 < wait < 0.1 for wait in took)
    assert (short >= 30) == is_asked
    assert (max(took) < 0.5) == is_asked

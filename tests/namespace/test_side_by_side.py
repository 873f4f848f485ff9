"""Two listings of one directory side by side: one that somebody still reads although it is not to be believed
any more, and the one that came after it. Others change the directory meanwhile."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from b2mount.namespace.children import ChildStream
from b2mount.namespace.namespace import Namespace
from b2mount.store.interface import ObjectPage
from tests.namespace.world import TTL, WatchedStore, listed, names_of

FILES = [f"{number:02}" for number in range(12)]


async def rest_of(stream: ChildStream, position: int) -> list[str]:
    found = []
    while (inode := await stream.get(position)) is not None:
        found.append(inode.path.name)
        position += 1
    return found


async def size_of(names: Namespace, name: str) -> int:
    return (await names.lookup(names.root, name)).attributes.size


@pytest.fixture
def store() -> WatchedStore:
    store = WatchedStore(page_rows=4)
    for name in FILES:
        store.add(name, b"one")
    return store


@pytest.mark.parametrize("is_refreshed", [True, False])
async def test_whoever_reads_on_takes_nothing_from_those_who_began_later(
    store: WatchedStore, autojump_clock: object, *, is_refreshed: bool
) -> None:
    names = names_of(store)
    slow = names.children(names.root)
    assert await slow.get(0) is not None
    if is_refreshed:
        names.forget_listing(None)
    else:
        await trio.sleep(TTL + 1)
    assert await listed(names, names.root) == FILES
    store.add("05", b"three")
    assert await rest_of(slow, 1) == FILES[1:]
    assert await size_of(names, "05") in (3, 5)
    assert await listed(names, names.root) == FILES


class LateStore(WatchedStore):
    """The first answer is a long time on its way."""

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        is_first = not self.calls.seen
        page = await super().list_objects(bucket, prefix, delimiter=delimiter, start=start, limit=limit)
        await trio.sleep(10 if is_first else 0)
        return page


async def test_an_answer_from_before_a_refresh_takes_nothing_from_one_from_after_it(
    autojump_clock: object,
) -> None:
    store = LateStore()
    for name in FILES:
        store.add(name, b"one")
    names = names_of(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest_of, names.children(names.root), 0)
        await trio.sleep(1)
        names.forget_listing(None)
        store.add("05", b"three")
        assert await listed(names, names.root) == FILES
    assert await size_of(names, "05") == 5
    assert await listed(names, names.root) == FILES

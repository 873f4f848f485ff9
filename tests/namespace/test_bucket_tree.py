"""One name of a big directory costs one request, two at most; a listing always ends."""

from __future__ import annotations

import pytest

from b2mount.errors import StoreFailure
from b2mount.model import Kind
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.store.interface import ObjectPage
from tests.namespace.world import WatchedStore, path


@pytest.mark.parametrize(
    ("keys", "kind", "calls"),
    [
        (["d/name"], Kind.FILE, 1),
        (["d/name/x"], Kind.DIRECTORY, 1),
        (["d/name/.bzEmpty"], Kind.DIRECTORY, 1),
        (["d/name/"], Kind.DIRECTORY, 1),
        (["d/name", "d/name/x"], Kind.DIRECTORY, 1),
        (["d/name2", "d/nam"], None, 1),
        ([], None, 1),
        ([f"d/name-{n:02}" for n in range(30)], None, 2),
        (["d/name", *(f"d/name-{n:02}" for n in range(30))], Kind.FILE, 2),
        (["d/name", "d/name/x", *(f"d/name-{n:02}" for n in range(30))], Kind.DIRECTORY, 2),
        ([f"d/name2{n:02}" for n in range(30)], None, 1),
    ],
)
async def test_one_name(keys: list[str], kind: Kind | None, calls: int) -> None:
    store = WatchedStore()
    for key in keys:
        store.add(key)
    entry = await BucketTree(store).entry(path("d/"), "name")
    assert (entry.kind if entry else None) is kind
    assert len(store.calls) == calls


@pytest.mark.parametrize("within", ["d/na", "d/name"])
async def test_a_key_for_names_that_begin_so_asks_for_no_others(within: str) -> None:
    store = WatchedStore()
    for key in ("a", "d/m", "d/name", "d/name2/x", "d/z/y"):
        store.add(key)
    tree = BucketTree(store, within)
    level = await tree.page(path("d/"), "")
    assert [entry.name for entry in level.entries] == ["name", "name2"]
    found = {name: await tree.entry(path("d/"), name) for name in ("m", "n", "name", "name2", "z")}
    assert [name for name, entry in found.items() if entry] == ["name", "name2"]
    assert all(prefix.startswith(within) for prefix, _ in store.calls.seen)


async def test_the_placeholder_is_no_entry() -> None:
    store = WatchedStore()
    store.add("d/.bzEmpty")
    assert await BucketTree(store).entry(path("d/"), ".bzEmpty") is None


async def test_a_subtree_is_everything_below_and_nothing_else() -> None:
    store = WatchedStore(page_rows=2)
    for key in ("d", "d/", "d/.bzEmpty", "d/a", "d/b/c", "d/b//", "d0", "e/x"):
        store.add(key)
    found = await BucketTree(store).subtree(path("d/"))
    assert [version.path.key for version in found] == ["d/", "d/.bzEmpty", "d/a", "d/b//", "d/b/c"]


async def test_a_listing_that_does_not_advance_is_an_error() -> None:
    class Stuck(WatchedStore):
        async def list_objects(
            self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
        ) -> ObjectPage:
            return ObjectPage((), (), "d/m")

    tree = BucketTree(Stuck())
    assert (await tree.page(path("d/"), "")).cursor == "m"
    with pytest.raises(StoreFailure):
        await tree.page(path("d/"), "m")
    with pytest.raises(StoreFailure):
        await tree.subtree(path("d/"))

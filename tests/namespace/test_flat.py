"""Pages without a delimiter say of every directory what its own listing would have said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from b2mount.model import ObjectPath
from b2mount.namespace.bucket_tree import BucketTree
from b2mount.namespace.flat import pieces_of
from b2mount.namespace.listing import Listing
from tests.namespace.world import WatchedStore, path

letters = st.text(st.sampled_from("ab-/.0"), min_size=1, max_size=7)


async def listed(tree: BucketTree, directory: ObjectPath) -> Listing:
    listing = Listing()
    while listing.cursor is not None:
        listing.absorb(await tree.page(directory, listing.cursor))
    return listing


def told(listing: Listing) -> dict[str, str]:
    return {name: entry.kind.value for name, entry in listing.entries.items()}


@given(keys=st.sets(letters.map("d/".__add__), max_size=25), rows=st.integers(1, 6))
async def test_flat_pages_say_what_each_directory_would(keys: set[str], rows: int) -> None:
    store = WatchedStore(rows)
    for key in keys:
        store.add(key)
    tree, root = BucketTree(store), path("d/")
    listings: dict[ObjectPath, Listing] = {}
    start: str | None = root.key
    last = ""
    while start is not None:
        page = await tree.flat(root, start, 1000)
        for directory, piece in pieces_of(page, root, start, last).items():
            listing = listings.setdefault(directory, Listing())
            assert listing.cursor == piece.before, "no page leaves out anything"
            listing.absorb(piece.level)
        start = page.next_key
        last = page.objects[-1].path.key if page.objects else last
    assert root in listings
    for directory, listing in listings.items():
        assert listing.is_complete
        alone = await listed(tree, directory)
        assert told(listing) == told(alone)
        assert (listing.placeholder, listing.marker) == (alone.placeholder, alone.marker)
    below = {directory.directory(name) for directory, listing in listings.items() for name in listing.names
             if listing.entries[name].kind.value == "directory"}  # fmt: skip
    assert below | {root} == set(listings), "every directory is told of, and has its listing"

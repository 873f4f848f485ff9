"""Wherever B2 ends a page, a walk finds every file, and nothing else."""

from __future__ import annotations

import random

import pytest

from tests.namespace.world import WatchedStore, inodes_in, names_of
from tests.odd_names import files_shown, odd_keys


async def files_found(store: WatchedStore) -> set[str]:
    names = names_of(store)
    found, left, known = set(), [names.root], []
    while left:
        for inode in await inodes_in(names, left.pop()):
            known.append(inode)
            if inode.is_directory:
                left.append(inode)
            else:
                found.add(inode.path.key)
    return found


@pytest.mark.parametrize("page_rows", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("seed", range(4))
async def test_a_walk_in_short_pages(seed: int, page_rows: int) -> None:
    store = WatchedStore(page_rows)
    # `.b2` at the top is hidden elsewhere
    keys = [key for key in odd_keys(random.Random(seed), 150, controls=False) if key.split("/")[0] != ".b2"]
    for key in keys:
        store.add(key)
    assert await files_found(store) == files_shown(keys)


@pytest.mark.parametrize("page_rows", [1, 2, 3])
async def test_a_page_that_ends_just_before_a_directory_says_nothing_of_it(page_rows: int) -> None:
    """A long page that began far before it, so that it may be taken to have passed it."""
    keys = ["..//..", ".bzEmpty/b/back", "~0/e/x/a", "~0/e/y"]
    store = WatchedStore(page_rows)
    for key in keys:
        store.add(key)
    assert await files_found(store) == {"~0/e/x/a", "~0/e/y"}

"""What time travel needs of a store: the list of versions tells every moment, and a hide marker can go."""

from __future__ import annotations

import pytest

from b2mount.model import Action, ObjectMetadata, ObjectVersion
from b2mount.namespace.history import Rule, as_of, trashed
from b2mount.namespace.history_tree import HistoryTree
from b2mount.namespace.version_lists import VersionLists, named
from tests.contract.conftest import PART, Place
from tests.fakes.memory_store import literal


async def shown(place: Place, rule: Rule) -> list[ObjectVersion]:
    return await HistoryTree(place.store, rule).subtree(place.root)


async def test_without_its_hide_marker_a_name_is_back(place: Place) -> None:
    version = await place.put("file", b"bytes")
    await place.store.hide(version.path)
    lists = VersionLists(place.store)
    marker, below = await lists.of(version.path)
    assert (marker.action, marker.path, below) == (Action.HIDE, version.path, version)
    await place.store.delete_version(marker)
    assert await place.store.stat(version.path) == version
    await place.store.delete_version(marker)  # fine when it is gone already


async def test_every_moment_to_the_millisecond(place: Place) -> None:
    """Overwrites that follow each other at once, some of them in one millisecond."""
    versions = [await place.put("d/file", b"x" * size) for size in range(8)]
    other = await place.put("d/other")
    await place.store.hide(other.path)
    for moment in {version.uploaded_ms for version in versions}:
        newest = [version for version in versions if version.uploaded_ms <= moment][-1]
        assert newest in await shown(place, as_of(moment))
    assert await shown(place, as_of(versions[0].uploaded_ms - 1)) == []
    assert await shown(place, trashed) == [other]
    entries = list(named(await VersionLists(place.store).of(versions[0].path)))
    assert [entry.version for entry in entries] == versions[::-1]
    assert len({entry.name for entry in entries}) == len(versions)


async def test_a_large_file_counts_from_its_start(place: Place) -> None:
    small = await place.put("file", b"small")
    upload = await place.store.start_multipart(small.path, ObjectMetadata())
    parts = [await place.store.put_part(upload, number, literal(b"x" * PART)) for number in (1, 2)]
    assert await shown(place, as_of(10**14)) == [small]
    later = await place.put("later")
    large = await place.store.finish_multipart(upload, [part.sha1 for part in parts])
    assert small.uploaded_ms <= large.uploaded_ms <= later.uploaded_ms
    assert await shown(place, as_of(large.uploaded_ms)) in ([large], [large, later])


@pytest.mark.parametrize("rows", [1, 2, 1000])
async def test_a_file_that_became_a_directory(place: Place, rows: int) -> None:
    file = await place.put("x", b"file")
    await place.store.hide(file.path)
    hidden = (await VersionLists(place.store).of(file.path))[0]
    below = await place.put("x/y", b"below")
    tree = HistoryTree(place.store, as_of(file.uploaded_ms))
    assert [entry.version for entry in (await tree.page(place.root, "", rows)).entries] == [file]
    tree = HistoryTree(place.store, as_of(max(hidden.uploaded_ms, below.uploaded_ms)))
    assert [entry.version for entry in (await tree.page(place.root, "", rows)).entries] == [None]
    assert await tree.subtree(place.root) == [below]

"""ObjectStore's contract: listings, in pages, with and without a delimiter; buckets."""

from __future__ import annotations

import pytest

from b2mount.errors import AlreadyExists, BadName, NotEmpty, NotFound
from b2mount.model import Action, ObjectMetadata, ObjectVersion
from b2mount.store.interface import VersionCursor
from tests.contract.conftest import Place

KEYS = [
    "!",
    "a",
    "a b",
    "a!b",
    "a/1",
    "a/2/x",
    "a/2/y",
    "a0",
    "b/c/d",
    "z",
    "zz/only",
    "\u00e9",
    "\uffee",
    "\U0001f600",
]
"""In the order of their UTF-8 bytes."""


@pytest.fixture
async def tree(place: Place) -> Place:
    for key in reversed(KEYS):
        await place.put(key, key.encode())
    await place.put("hidden/one")
    await place.store.hide(place.root.file("hidden/one"))
    return place


async def walk(
    place: Place, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
) -> tuple[list[str], list[str], int]:
    """All pages: names and prefixes, without the root, and how many pages there were."""
    names: list[str] = []
    prefixes: list[str] = []
    position: str | None = place.root.key + start if start else ""
    pages = 0
    root = place.root.key
    while position is not None:
        page = await place.store.list_objects(
            place.bucket, root + prefix, delimiter=delimiter, start=position, limit=limit
        )
        assert len(page.objects) + len(page.prefixes) <= limit
        names += [each.path.key.removeprefix(root) for each in page.objects]
        prefixes += [each.removeprefix(root) for each in page.prefixes]
        position = page.next_key
        pages += 1
        assert pages < 100
    return names, prefixes, pages


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
async def test_flat(tree: Place, limit: int) -> None:
    names, prefixes, pages = await walk(tree, "", limit=limit)
    assert names == KEYS
    assert prefixes == []
    assert pages >= len(KEYS) / limit


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_one_level(tree: Place, limit: int) -> None:
    names, prefixes, _ = await walk(tree, "", delimiter="/", limit=limit)
    assert names == ["!", "a", "a b", "a!b", "a0", "z", "\u00e9", "\uffee", "\U0001f600"]
    assert prefixes == ["a/", "b/", "zz/"]


async def test_inside_a_directory(tree: Place) -> None:
    assert (await walk(tree, "a/", delimiter="/"))[:2] == (["a/1"], ["a/2/"])
    assert (await walk(tree, "zz/", delimiter="/"))[:2] == (["zz/only"], [])
    assert (await walk(tree, "b/", delimiter="/"))[:2] == ([], ["b/c/"])
    assert (await walk(tree, "nothing/", delimiter="/"))[:2] == ([], [])
    assert (await walk(tree, "hidden/", delimiter="/"))[:2] == ([], [])


async def test_from_a_name_on(tree: Place) -> None:
    assert (await walk(tree, "", start="z"))[0] == KEYS[9:]
    assert (await walk(tree, "a", start="a/2/y"))[0] == ["a/2/y", "a0"]


async def test_rows_are_whole(place: Place) -> None:
    version = await place.put("file", b"data", ObjectMetadata("text/x-test", {"k": "v"}))
    assert (await place.store.list_objects(place.bucket, place.root.key)).objects == (version,)


async def walk_versions(
    place: Place, *, delimiter: str = "", limit: int
) -> tuple[list[ObjectVersion], list[str]]:
    versions: list[ObjectVersion] = []
    prefixes: list[str] = []
    cursor: VersionCursor | None = None
    for _ in range(100):
        page = await place.store.list_versions(
            place.bucket, place.root.key, delimiter=delimiter, start=cursor, limit=limit
        )
        assert len(page.versions) + len(page.prefixes) <= limit
        versions += page.versions
        prefixes += [each.removeprefix(place.root.key) for each in page.prefixes]
        cursor = page.next_cursor
        if cursor is None:
            return versions, prefixes
    raise AssertionError("a listing without an end")


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_versions(place: Place, limit: int) -> None:
    first = await place.put("file", b"1")
    second = await place.put("file", b"2")
    await place.store.hide(second.path)
    third = await place.put("file", b"3")
    other = await place.put("dir/other", b"4")
    versions, prefixes = await walk_versions(place, limit=limit)
    marker = versions[2]
    assert versions == [other, third, marker, second, first]
    assert marker.action is Action.HIDE
    assert prefixes == []
    below, prefixes = await walk_versions(place, delimiter="/", limit=limit)
    assert below == [third, marker, second, first]
    assert prefixes == ["dir/"]


async def test_hidden_names_are_in_the_list_of_versions(place: Place) -> None:
    version = await place.put("dir/file", b"1")
    await place.store.hide(version.path)
    assert (await walk_versions(place, delimiter="/", limit=10))[1] == ["dir/"]


# -- buckets -------------------------------------------------------------------------------


async def test_no_such_bucket(account: Place) -> None:
    with pytest.raises(NotFound):
        await account.store.list_objects("absent-bucket", "")
    with pytest.raises(NotFound):
        await account.store.list_versions("absent-bucket", "")


async def test_make_and_remove_a_bucket(account: Place) -> None:
    made = await account.store.create_bucket("made-for-this-test")
    assert made in await account.store.list_buckets()
    assert not made.is_public
    with pytest.raises(AlreadyExists):
        await account.store.create_bucket("made-for-this-test")
    await account.store.delete_bucket("made-for-this-test")
    assert made not in await account.store.list_buckets()
    with pytest.raises(NotFound):
        await account.store.delete_bucket("made-for-this-test")


async def test_a_bucket_made_anew(account: Place) -> None:
    first = await account.store.create_bucket("twice-made")
    assert (await account.store.list_objects("twice-made", "")).objects == ()
    await account.store.delete_bucket("twice-made")
    second = await account.store.create_bucket("twice-made")
    assert second.bucket_id != first.bucket_id
    assert (await account.store.list_objects("twice-made", "")).objects == ()
    await account.store.delete_bucket("twice-made")


async def test_buckets_that_cannot_be(account: Place) -> None:
    await account.put("something")
    with pytest.raises(NotEmpty):
        await account.store.delete_bucket(account.bucket)
    for name in ("short", "b2-reserved", "under_score"):
        with pytest.raises(BadName):
            await account.store.create_bucket(name)


async def test_links(place: Place) -> None:
    version = await place.put("with space+plus", b"linked")
    assert place.store.url(version.path).endswith("/with%20space%2Bplus")
    assert place.store.url_of(version).endswith(f"/b2_download_file_by_id?fileId={version.version_id}")
    assert await place.store.authorize_download(place.bucket, place.root.key, 60)

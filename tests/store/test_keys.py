"""Keys that may do less: bound to buckets, to a prefix, without some capability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import requests

from b2mount.errors import AccessDenied, InvalidArgument, NotAuthorized
from b2mount.model import ObjectMetadata, ObjectPath
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.credentials import Credentials
from tests.fakes.memory_store import literal
from tests.store.conftest import Site

READING = ("listFiles", "readFiles")
WRITING = (*READING, "writeFiles", "deleteFiles", "shareFiles")


@asynccontextmanager
async def store_with(
    site: Site, capabilities: tuple[str, ...], buckets: tuple[str, ...] = (), prefix: str | None = None
) -> AsyncIterator[B2Store]:
    ids = {each.name: each.bucket_id for each in await site.store.list_buckets()}
    key = site.store._client.session.create_key(
        site.store.account.account_id,
        list(capabilities),
        "test",
        None,
        [ids[name] for name in buckets] or None,
        prefix,
    )
    store = await open_b2_store(
        Credentials(key["applicationKeyId"], key["applicationKey"], site.server.url), retry_for=1
    )
    try:
        yield store
    finally:
        store.close()


async def works(store: B2Store, path: ObjectPath) -> None:
    """Everything that a mount does with one name."""
    version = await store.put(path, literal(b"data"), ObjectMetadata())
    assert await store.stat(path) == version
    assert version in (await store.list_objects(path.bucket, path.parent.key, delimiter="/")).objects
    await store.copy(version, path, ObjectMetadata("text/plain"))
    await store.hide(path)
    await store.delete_version(version)


async def test_bound_to_one_bucket(site: Site) -> None:
    await site.store.create_bucket("another")
    async with store_with(site, ("listBuckets", *WRITING), ("bucket",)) as store:
        assert store.account.buckets == ("bucket",)
        assert [each.name for each in await store.list_buckets()] == ["bucket"]
        await works(store, ObjectPath("bucket", "dir/file"))
        with pytest.raises(AccessDenied):
            await store.list_objects("another", "")
        with pytest.raises(AccessDenied):
            await store.stat(ObjectPath("another", "file"))


async def test_bound_to_several_buckets(site: Site) -> None:
    await site.store.create_bucket("another")
    await site.store.create_bucket("a-third")
    async with store_with(site, ("listBuckets", *WRITING), ("bucket", "another")) as store:
        assert [each.name for each in await store.list_buckets()] == ["another", "bucket"]
        await works(store, ObjectPath("another", "dir/file"))


async def test_a_bound_bucket_that_was_deleted(site: Site) -> None:
    await site.store.create_bucket("another")
    async with store_with(site, ("listBuckets", *WRITING), ("bucket", "another")) as store:
        await site.store.delete_bucket("another")
        assert [each.name for each in await store.list_buckets()] == ["bucket"]


async def test_without_the_right_to_list_buckets(site: Site) -> None:
    async with store_with(site, WRITING, ("bucket",)) as store:
        assert [each.name for each in await store.list_buckets()] == ["bucket"]
        await works(store, ObjectPath("bucket", "dir/file"))


async def test_bound_to_a_prefix(site: Site) -> None:
    async with store_with(site, ("listBuckets", *WRITING), ("bucket",), "mine/") as store:
        assert store.account.prefix == "mine/"
        await works(store, ObjectPath("bucket", "mine/file"))
        with pytest.raises(AccessDenied):
            await store.list_objects("bucket", "")
        with pytest.raises(AccessDenied):
            await store.stat(ObjectPath("bucket", "yours"))


async def test_a_key_that_only_reads(site: Site) -> None:
    version = await site.put("file")
    async with store_with(site, READING, ("bucket",)) as store:
        assert "writeFiles" not in store.account.capabilities
        assert await store.stat(version.path) == version
        path = site.path("new")
        verbs: list[Callable[[], Awaitable[object]]] = [
            lambda: store.put(path, literal(b""), ObjectMetadata()),
            lambda: store.copy(version, path),
            lambda: store.hide(version.path),
            lambda: store.delete_version(version),
            lambda: store.start_multipart(path, ObjectMetadata()),
            lambda: store.authorize_download("bucket", "", 60),
            lambda: store.create_bucket("new-bucket"),
        ]
        for verb in verbs:
            with pytest.raises(AccessDenied):
                await verb()


async def test_a_key_that_b2_does_not_know(site: Site) -> None:
    with pytest.raises(NotAuthorized, match="does not know"):
        await open_b2_store(Credentials("wrong", "key", site.server.url))


def fetch(url: str, query: dict[str, str]) -> tuple[int, bytes | None]:
    answer = requests.get(url, params=query, timeout=5)
    return answer.status_code, answer.content if answer.ok else None


async def test_a_link_that_anybody_can_follow(site: Site) -> None:
    version = await site.put("dir/with space+plus%41.txt", b"shared")
    token = await site.store.authorize_download("bucket", "dir/", 60)
    url = site.store.url(version.path)
    assert fetch(url, {}) == (401, None)
    assert fetch(url, {"Authorization": token}) == (200, b"shared")
    with pytest.raises(InvalidArgument):
        await site.store.authorize_download("bucket", "dir/", 7 * 86_400 + 1)

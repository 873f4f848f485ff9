"""Retention and legal hold with keys that lack a capability: what fails, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from b2sdk.v3 import BucketRetentionSetting, RetentionPeriod
from b2sdk.v3 import RetentionMode as SdkMode

from b2mount.errors import AccessDenied, NoAttribute, NotPermitted
from b2mount.model import ObjectMetadata, ObjectPath, ObjectVersion, Protection, Retention, RetentionMode
from b2mount.store.b2_store import B2Store
from tests.fakes.memory_store import literal
from tests.filesystem.world import World, world
from tests.store.conftest import Site
from tests.store.test_keys import WRITING, store_with

LOCKS = (
    "readFileRetentions",
    "writeFileRetentions",
    "readFileLegalHolds",
    "writeFileLegalHolds",
    "bypassGovernance",
)
RETENTION, HOLD = b"user.b2.retention", b"user.b2.legal_hold"
LONG, SHORT = "governance 30d", "governance 1d"


@pytest.fixture
async def file(site: Site) -> ObjectVersion:
    """In a bucket with Object Lock."""
    session, account = site.store._client.session, site.store.account
    session.create_bucket(account.account_id, "locked", "allPrivate", is_file_lock_enabled=True)
    return await site.store.put(ObjectPath("locked", "file"), literal(b"data"), ObjectMetadata())


@asynccontextmanager
async def without(site: Site, capability: str) -> AsyncIterator[B2Store]:
    rest = [name for name in ("listBuckets", *WRITING, *LOCKS) if name != capability]
    async with store_with(site, tuple(rest)) as store:
        yield store


@asynccontextmanager
async def mounted(store: B2Store, directory: Path, *, deletes: bool = False) -> AsyncIterator[World]:
    async with world(store, directory, root=ObjectPath("locked", ""), deletes=deletes) as w:
        yield w


async def refusals(w: World) -> dict[str, str]:
    """What is refused of all that can be asked about a file, and why."""
    number = (await w.node("file")).number
    steps = {
        "set": lambda: w.fs.setxattr(number, RETENTION, LONG.encode()),
        "shorten": lambda: w.fs.setxattr(number, RETENTION, SHORT.encode()),
        "get": lambda: w.fs.getxattr(number, RETENTION),
        "remove": lambda: w.fs.removexattr(number, RETENTION),
        "hold": lambda: w.fs.setxattr(number, HOLD, b"on"),
        "held": lambda: w.fs.getxattr(number, HOLD),
        "release": lambda: w.fs.removexattr(number, HOLD),
    }
    refused = {}
    for name, step in steps.items():
        try:
            await step()
        except AccessDenied as error:
            refused[name] = str(error)
        except NoAttribute:
            pass
    return refused


@pytest.mark.parametrize(
    ("capability", "refused"),
    [
        ("", set()),
        ("readFileRetentions", {"get", "remove"}),
        ("writeFileRetentions", {"set", "shorten"}),
        ("readFileLegalHolds", {"held"}),
        ("writeFileLegalHolds", {"hold", "release"}),
        ("bypassGovernance", {"shorten", "remove"}),
    ],
)
async def test_what_a_key_may_not_do_is_said_with_the_capability_that_it_lacks(
    site: Site, file: ObjectVersion, tmp_path: Path, capability: str, refused: set[str]
) -> None:
    async with without(site, capability) as store, mounted(store, tmp_path) as w:
        found = await refusals(w)
        assert set(found) == refused
        assert all(f"(no {capability})" in text for text in found.values()), found
        assert await w.read("file") == b"data"


async def test_without_read_files_nothing_is_told(site: Site, file: ObjectVersion) -> None:
    async with without(site, "readFiles") as store:
        with pytest.raises(AccessDenied, match=r"no readFiles"):
            await store.protection(file)


async def test_what_the_key_may_not_see_is_not_taken_for_nothing(site: Site, file: ObjectVersion) -> None:
    await site.store.set_legal_hold(file, on=True)
    async with without(site, "readFileLegalHolds") as store:
        assert await store.protection(file) == Protection(unseen=frozenset({"readFileLegalHolds"}))
        assert (await store.list_versions("locked", "")).protections == {}


@pytest.mark.parametrize("capability", ["", "readFileLegalHolds", "readFileRetentions", "bypassGovernance"])
@pytest.mark.parametrize("held", [True, False])
async def test_a_delete_is_refused_whatever_the_key_may_see(
    site: Site, file: ObjectVersion, tmp_path: Path, capability: str, held: bool
) -> None:
    newest = await site.store.put(file.path, literal(b"newest"), ObjectMetadata())
    if held:
        await site.store.set_legal_hold(newest, on=True)
    else:
        until_ms = time.time_ns() // 1_000_000 + 86_400_000
        await site.store.set_retention(newest, Retention(RetentionMode.GOVERNANCE, until_ms))
    async with without(site, capability) as store, mounted(store, tmp_path, deletes=True) as w:
        with pytest.raises(NotPermitted, match="file"):
            await w.unlink("file")
        assert await w.read("file") == b"newest"
    is_seen = capability != ("readFileLegalHolds" if held else "readFileRetentions")
    rows = (await site.store.list_versions("locked", "")).versions
    assert rows == ((newest, file) if is_seen else (newest,))


async def test_the_default_of_the_bucket_holds(site: Site, file: ObjectVersion, tmp_path: Path) -> None:
    (bucket,) = [each for each in await site.store.list_buckets() if each.name == "locked"]
    site.store._client.session.update_bucket(
        site.store.account.account_id,
        bucket.bucket_id,
        default_retention=BucketRetentionSetting(SdkMode.GOVERNANCE, RetentionPeriod(days=7)),
    )
    async with mounted(site.store, tmp_path, deletes=True) as w:
        await w.write("new", b"new")
        text = (await w.fs.getxattr((await w.node("new")).number, RETENTION)).decode()
        assert text.startswith("governance ")
        with pytest.raises(NotPermitted, match="governance retention until"):
            await w.unlink("new")
        await w.rename("new", "moved")  # hides the old name
        await w.fs.removexattr((await w.node("moved")).number, RETENTION)
        await w.unlink("moved")
        assert await w.names() == ["file"]

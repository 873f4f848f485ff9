"""ObjectStore's contract: retention and legal hold, and what they keep from being deleted."""

from __future__ import annotations

import time

import attrs
import pytest

from b2mount.errors import InvalidArgument, NotFound, NotPermitted, NotSupported
from b2mount.model import ObjectVersion, Protection, Retention, RetentionMode
from tests.contract.conftest import Place

DAY = 86_400_000
GOVERNANCE, COMPLIANCE = RetentionMode


def in_days(mode: RetentionMode, days: int) -> Retention:
    return Retention(mode, time.time_ns() // 1_000_000 // 1000 * 1000 + days * DAY)


async def protections(place: Place, version: ObjectVersion) -> list[Protection | None]:
    """What both ways of asking say."""
    page = await place.store.list_versions(place.bucket, version.path.key)
    return [await place.store.protection(version), page.protections.get(version.version_id)]


async def test_nothing_protects_what_was_just_written(locked: Place) -> None:
    version = await locked.put("file")
    assert await protections(locked, version) == [Protection(), None]
    await locked.store.delete_version(version)


@pytest.mark.parametrize("mode", RetentionMode)
async def test_retention(locked: Place, mode: RetentionMode) -> None:
    version, retention = await locked.put("file"), in_days(mode, 1)
    await locked.store.set_retention(version, retention)
    assert await protections(locked, version) == [Protection(retention)] * 2
    with pytest.raises(NotPermitted):
        await locked.store.delete_version(version)
    longer = attrs.evolve(retention, until_ms=retention.until_ms + DAY)
    await locked.store.set_retention(version, longer)
    assert await protections(locked, version) == [Protection(longer)] * 2
    await locked.store.hide(version.path)
    assert await locked.read(version) == b""


async def test_governance_can_be_made_less_with_a_key_that_may(locked: Place) -> None:
    version = await locked.put("file")
    await locked.store.set_retention(version, in_days(GOVERNANCE, 9))
    shorter = in_days(GOVERNANCE, 1)
    await locked.store.set_retention(version, shorter)
    assert (await locked.store.protection(version)).retention == shorter
    with pytest.raises(NotPermitted):
        await locked.store.delete_version(version)  # that would be less, too, but nobody has asked for it
    await locked.store.set_retention(version, None)
    assert await protections(locked, version) == [Protection(), None]
    await locked.store.delete_version(version)


async def test_compliance_cannot_be_made_less(locked: Place) -> None:
    version, retention = await locked.put("file"), in_days(COMPLIANCE, 9)
    await locked.store.set_retention(version, retention)
    for less in (in_days(COMPLIANCE, 1), in_days(GOVERNANCE, 99), None):
        with pytest.raises(NotPermitted):
            await locked.store.set_retention(version, less)
    assert (await locked.store.protection(version)).retention == retention


async def test_legal_hold(locked: Place) -> None:
    version = await locked.put("file")
    await locked.store.set_legal_hold(version, on=True)
    assert await protections(locked, version) == [Protection(legal_hold=True)] * 2
    with pytest.raises(NotPermitted):
        await locked.store.delete_version(version)
    await locked.store.set_legal_hold(version, on=False)
    assert await protections(locked, version) == [Protection(), None]
    await locked.store.delete_version(version)


async def test_both_at_once(locked: Place) -> None:
    version, retention = await locked.put("file"), in_days(GOVERNANCE, 1)
    await locked.store.set_retention(version, retention)
    await locked.store.set_legal_hold(version, on=True)
    assert await protections(locked, version) == [Protection(retention, legal_hold=True)] * 2


async def test_it_belongs_to_one_version(locked: Place) -> None:
    old = await locked.put("file", b"old")
    await locked.store.set_legal_hold(old, on=True)
    new = await locked.store.copy(old, old.path)
    assert await protections(locked, new) == [Protection(), None]
    await locked.store.delete_version(new)
    with pytest.raises(NotPermitted):
        await locked.store.delete_version(old)


async def test_a_retention_that_is_over_before_it_begins(locked: Place) -> None:
    version = await locked.put("file")
    with pytest.raises(InvalidArgument):
        await locked.store.set_retention(version, in_days(GOVERNANCE, -1))
    assert await locked.store.protection(version) == Protection()


async def test_a_version_that_is_gone(locked: Place) -> None:
    version = await locked.put("file")
    await locked.store.delete_version(version)
    with pytest.raises(NotFound):
        await locked.store.protection(version)
    with pytest.raises(NotFound):
        await locked.store.set_retention(version, in_days(GOVERNANCE, 1))
    with pytest.raises(NotFound):
        await locked.store.set_legal_hold(version, on=True)


async def test_a_bucket_without_object_lock(account: Place) -> None:
    version = await account.put("file")
    assert await protections(account, version) == [Protection(), None]
    with pytest.raises(NotSupported, match="no Object Lock"):
        await account.store.set_retention(version, in_days(GOVERNANCE, 1))
    with pytest.raises(NotSupported, match="no Object Lock"):
        await account.store.set_legal_hold(version, on=True)

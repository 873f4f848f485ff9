"""ObjectStore's contract: what is encrypted with what, and who can read it."""

from __future__ import annotations

import pytest

from b2mount.errors import B2MountError, KeyMissing
from b2mount.model import Action, ByteRange, Encryption, ObjectMetadata, ObjectVersion
from b2mount.store.interface import VersionCursor
from tests.contract.conftest import PART, Place
from tests.fakes.memory_store import literal

ONE, OTHER = bytes(range(32)), bytes(32)
BOTH = pytest.mark.parametrize(
    ("mode", "key"), [(Encryption.SSE_B2, b""), (Encryption.SSE_C, ONE)], ids=["b2", "c"]
)


async def in_parts(place: Place, name: str, base: ObjectVersion) -> ObjectVersion:
    """A large file of what is put and what is copied from `base`."""
    upload = await place.store.start_multipart(place.root.file(name), ObjectMetadata())
    put = await place.store.put_part(upload, 1, literal(b"p" * PART))
    copied = await place.store.copy_part(upload, 2, base, ByteRange(1, 1 + PART))
    assert await place.store.list_parts(upload) == (put, copied)
    return await place.store.finish_multipart(upload, [put.sha1, copied.sha1])


async def seen(place: Place, version: ObjectVersion) -> set[Encryption]:
    """What every way of looking at a version says of it."""
    page = await place.store.list_objects(place.bucket, version.path.key)
    rows = await place.store.list_versions(
        place.bucket, version.path.key, start=VersionCursor(version.path.key, None)
    )
    found = [*page.objects, *rows.versions, await place.store.stat(version.path), version]
    return {each.encryption for each in found if each.version_id == version.version_id}


async def test_nothing_is_asked_for_unless_it_is_wished(place: Place) -> None:
    assert place.store.setting == ""
    assert await seen(place, await place.put("file", b"data")) == {Encryption.NONE}


@BOTH
async def test_every_write_is_encrypted(place: Place, mode: Encryption, key: bytes) -> None:
    data = bytes(i % 251 for i in range(3 * PART))
    async with place.encrypting(mode, key) as there:
        put = await there.put("put", data)
        copy = await there.store.copy(put, there.root.file("copy"))
        changed = await there.store.copy(
            put, there.root.file("changed"), ObjectMetadata("text/x", {"a": "b"})
        )
        parts = await in_parts(there, "parts", put)
        for version in (put, copy, changed, parts):
            assert await seen(there, version) == {mode}
            assert await there.store.stat(version.path) == version
        for version in (put, copy, changed):
            assert await there.read(version) == data
        assert changed.info == {"a": "b"}
        assert await there.read(parts) == b"p" * PART + data[1 : 1 + PART]
        assert await there.read(parts, ByteRange(PART - 1, PART + 1)) == b"p\1"


async def test_without_its_key_an_object_is_there_and_cannot_be_read(place: Place) -> None:
    async with place.encrypting(Encryption.SSE_C, ONE) as there:
        version = await there.put("file", b"x" * 2 * PART)
    assert await place.store.stat(version.path) == version
    assert await seen(place, version) == {Encryption.SSE_C}
    with pytest.raises(KeyMissing, match="file"):
        place.store.check_key(version)
    with pytest.raises(KeyMissing):
        await place.store.try_key(version)
    await cannot_be_read(place, version)
    plain = await place.put("file", b"new")
    assert plain.encryption is Encryption.NONE
    assert await place.read(plain) == b"new"
    await place.store.hide(version.path)
    await place.store.delete_version(version)


async def test_another_key_opens_nothing(place: Place) -> None:
    async with place.encrypting(Encryption.SSE_C, ONE) as there:
        version = await there.put("file", b"x" * 2 * PART)
        unread = await there.put("unread", b"x")
        setting = there.store.setting
    async with place.encrypting(Encryption.SSE_C, OTHER) as there:
        assert there.store.setting != setting
        there.store.check_key(version)  # nobody has asked B2 yet
        await cannot_be_read(there, version)
        with pytest.raises(KeyMissing):
            there.store.check_key(version)
        with pytest.raises(KeyMissing):
            await there.store.try_key(unread)
        assert await there.store.stat(version.path) == version
        mine = await there.put("mine", b"mine")
        await there.store.try_key(mine)
    async with place.encrypting(Encryption.SSE_C, ONE) as there:
        assert there.store.setting == setting
        await there.store.try_key(version)
        assert await there.read(version) == b"x" * 2 * PART


async def cannot_be_read(place: Place, version: ObjectVersion) -> None:
    store, target = place.store, place.root.file("target")
    with pytest.raises(KeyMissing):
        await place.read(version)
    with pytest.raises(KeyMissing):
        await store.copy(version, target)
    with pytest.raises(KeyMissing):
        await store.copy(version, target, ObjectMetadata("text/plain"))
    upload = await store.start_multipart(target, ObjectMetadata())
    with pytest.raises(KeyMissing):
        await store.copy_part(upload, 1, version, ByteRange(0, PART))
    await store.abort_multipart(upload)
    page = await store.list_versions(place.bucket, target.key)
    assert page.versions == ()


async def test_what_is_not_encrypted_goes_into_what_is(place: Place) -> None:
    plain = await place.put("plain", b"x" * 2 * PART)
    async with place.encrypting(Encryption.SSE_C, ONE) as there:
        await there.store.try_key(plain)
        assert await there.read(plain) == b"x" * 2 * PART
        copy = await there.store.copy(plain, plain.path)
        parts = await in_parts(there, "parts", plain)
        assert {copy.encryption, parts.encryption} == {Encryption.SSE_C}
        assert await there.read(copy) == b"x" * 2 * PART
    async with place.encrypting(Encryption.SSE_B2) as there:
        again = await there.store.copy(plain, plain.path)
        assert again.encryption is Encryption.SSE_B2


async def test_a_large_file_takes_parts_with_its_own_key_only(place: Place) -> None:
    async with place.encrypting(Encryption.SSE_C, ONE) as there:
        upload = await there.store.start_multipart(place.root.file("large"), ObjectMetadata())
    for mode, key in [(Encryption.SSE_C, OTHER), (Encryption.NONE, b"")]:
        async with place.encrypting(mode, key) as there:
            with pytest.raises(B2MountError):
                await there.store.put_part(upload, 1, literal(b"x" * PART))
    page = await place.store.list_versions(place.bucket, upload.path.key)
    assert [each.action for each in page.versions] == [Action.START]
    await place.store.abort_multipart(upload)

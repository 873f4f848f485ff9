"""ObjectStore's contract: objects in parts."""

from __future__ import annotations

import hashlib

import pytest

from b2mount.errors import Conflict, NotFound, StoreFailure
from b2mount.model import Action, ByteRange, ObjectMetadata
from b2mount.store.interface import MultipartUpload, PartRecord
from tests.contract.conftest import Place
from tests.fakes.memory_store import literal


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
async def upload(place: Place) -> MultipartUpload:
    metadata = ObjectMetadata("text/x-large", {"k": "v"})
    return await place.store.start_multipart(place.root.file("large"), metadata)


def part(place: Place, number: int) -> bytes:
    """A part of the smallest size that is allowed."""
    return bytes([number]) * place.store.account.minimum_part_size


async def put(place: Place, upload: MultipartUpload, number: int, data: bytes) -> PartRecord:
    return await place.store.put_part(upload, number, literal(data))


async def test_put_parts(place: Place, upload: MultipartUpload) -> None:
    second = await put(place, upload, 2, b"the last may be small")
    first = await put(place, upload, 1, part(place, 1))
    assert first == PartRecord(1, len(part(place, 1)), sha1(part(place, 1)))
    assert await place.store.list_parts(upload) == (first, second)
    version = await place.store.finish_multipart(upload, [first.sha1, second.sha1])
    assert version.path == upload.path
    assert (version.action, version.sha1, version.content_type) == (Action.UPLOAD, None, "text/x-large")
    assert dict(version.info) == {"k": "v"}
    assert await place.read(version) == part(place, 1) + b"the last may be small"
    assert await place.store.stat(version.path) == version


async def test_the_sha1_that_the_writer_gives(place: Place) -> None:
    data = part(place, 1) + b"end"
    metadata = ObjectMetadata(info={"large_file_sha1": sha1(data)})
    upload = await place.store.start_multipart(place.root.file("large"), metadata)
    parts = [await put(place, upload, 1, part(place, 1)), await put(place, upload, 2, b"end")]
    version = await place.store.finish_multipart(upload, [each.sha1 for each in parts])
    assert version.sha1 == sha1(data)
    assert await place.read(version) == data


async def test_copied_parts(place: Place, upload: MultipartUpload) -> None:
    source = await place.put("source", part(place, 7) + b"0123456789")
    size = len(part(place, 7))
    copied = await place.store.copy_part(upload, 1, source, ByteRange(3, 3 + size))
    assert (copied.number, copied.size) == (1, size)
    added = await put(place, upload, 2, b"new")
    version = await place.store.finish_multipart(upload, [copied.sha1, added.sha1])
    assert await place.read(version) == part(place, 7)[3:] + b"012" + b"new"


async def test_a_part_sent_again(place: Place, upload: MultipartUpload) -> None:
    await put(place, upload, 1, part(place, 1))
    first = await put(place, upload, 1, part(place, 9))
    second = await put(place, upload, 2, b"end")
    version = await place.store.finish_multipart(upload, [first.sha1, second.sha1])
    assert await place.read(version) == part(place, 9) + b"end"


async def test_invisible_until_finished(place: Place, upload: MultipartUpload) -> None:
    await put(place, upload, 1, part(place, 1))
    assert (await place.store.list_objects(place.bucket, place.root.key)).objects == ()
    with pytest.raises(NotFound):
        await place.store.stat(upload.path)
    (row,) = (await place.store.list_versions(place.bucket, place.root.key)).versions
    assert (row.action, row.version_id) == (Action.START, upload.upload_id)
    assert await place.store.list_unfinished(place.bucket, place.root.key) == (upload,)
    assert await place.store.list_unfinished(place.bucket, place.root.key + "other") == ()
    await place.store.abort_multipart(upload)


async def test_abort(place: Place, upload: MultipartUpload) -> None:
    await put(place, upload, 1, part(place, 1))
    await place.store.abort_multipart(upload)
    await place.store.abort_multipart(upload)
    assert await place.store.list_unfinished(place.bucket, place.root.key) == ()
    with pytest.raises(NotFound):
        await place.store.list_parts(upload)


async def test_finishing_again_is_fine(place: Place, upload: MultipartUpload) -> None:
    parts = [await put(place, upload, 1, part(place, 1)), await put(place, upload, 2, b"end")]
    first = await place.store.finish_multipart(upload, [each.sha1 for each in parts])
    assert await place.store.finish_multipart(upload, [each.sha1 for each in parts]) == first
    await place.store.abort_multipart(upload)
    assert await place.store.stat(upload.path) == first


async def test_finishing_what_is_incomplete(place: Place, upload: MultipartUpload) -> None:
    first = await put(place, upload, 1, part(place, 1))
    third = await put(place, upload, 3, b"end")
    refused = (Conflict, StoreFailure)
    for sha1s in ([first.sha1], [first.sha1, third.sha1], [first.sha1, sha1(b"?"), third.sha1]):
        with pytest.raises(refused):
            await place.store.finish_multipart(upload, sha1s)
    await put(place, upload, 2, b"too small for the middle")
    with pytest.raises(refused):
        await place.store.finish_multipart(
            upload, [first.sha1, sha1(b"too small for the middle"), third.sha1]
        )
    await place.store.abort_multipart(upload)


async def test_finishing_what_is_gone(place: Place, upload: MultipartUpload) -> None:
    await place.store.abort_multipart(upload)
    with pytest.raises(NotFound):
        await place.store.finish_multipart(upload, [sha1(b"a"), sha1(b"b")])


async def test_many_parts(place: Place, upload: MultipartUpload) -> None:
    size = place.store.account.minimum_part_size
    source = await place.put("source", bytes(size))
    records = [
        await place.store.copy_part(upload, number, source, ByteRange(0, size)) for number in range(1, 4)
    ]
    assert await place.store.list_parts(upload) == tuple(records)
    version = await place.store.finish_multipart(upload, [each.sha1 for each in records])
    assert version.size == 3 * size

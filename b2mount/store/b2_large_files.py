"""LargeFileCalls: large files from their start to their end, one request a verb.

Invariants: what B2 says that it has is what was sent or copied; a finish whose reply was lost counts
as done; every part of a large file carries the key that it was started with.

Must not know: which bytes make which part.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
from b2sdk.v3 import B2Session

from b2mount.errors import B2MountError, Conflict, NotFound, StoreFailure
from b2mount.model import Action, ByteRange, ByteSource, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store import b2_calls, b2_records
from b2mount.store.b2_buckets import Buckets
from b2mount.store.b2_calls import UploadAddress
from b2mount.store.b2_client import B2Client, UploadTarget
from b2mount.store.encryption import Keyring
from b2mount.store.interface import MultipartUpload, PartRecord
from b2mount.store.upload_body import UploadBody

PARTS_PER_PAGE: Final = 1000
UNFINISHED_PER_PAGE: Final = 100


@attrs.define(eq=False)
class LargeFileCalls:
    """What ObjectStore promises of large files."""

    _client: B2Client
    _buckets: Buckets
    _keyring: Keyring

    async def start(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        """Begin one."""
        tries = 0
        encryption = self._keyring.for_objects

        def start(bucket_id: str, session: B2Session) -> object:
            nonlocal tries
            tries += 1
            return b2_calls.start_large_file(session, bucket_id, path.key, metadata, encryption)

        async def ask(bucket_id: str) -> object:
            return await self._client.change("b2_start_large_file", partial(start, bucket_id))

        started = b2_records.version(await self._buckets.within(path.bucket, ask), path.bucket)
        if started.path != path:
            raise StoreFailure(f"B2 says that it started another large file than {path}")
        upload = b2_records.multipart_upload(started)
        if tries > 1:
            await self._cancel_doubles(upload)
        return upload

    async def _cancel_doubles(self, upload: MultipartUpload) -> None:
        """A try whose reply was lost may have started a large file that nobody would finish."""
        with suppress(B2MountError):  # it costs nothing without parts; nothing hangs on it
            for other in await self.unfinished(upload.path.bucket, upload.path.key):
                same = (other.path, other.metadata) == (upload.path, upload.metadata)
                if same and other.upload_id != upload.upload_id:
                    await self.abort(other)

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        """Send a part."""
        b2_calls.check_size(source.size)
        encryption = self._keyring.for_parts

        def send(session: B2Session, address: UploadAddress, body: UploadBody) -> object:
            return b2_calls.upload_part(session, address, number, encryption, body)

        target = UploadTarget(
            path=upload.path,
            pool=upload.upload_id,
            address_call="b2_get_upload_part_url",
            address=lambda s: s.get_upload_part_url(upload.upload_id),
            call="b2_upload_part",
            send=send,
        )
        reply, sha1 = await self._client.upload(target, source)
        return _checked(b2_records.part(reply), PartRecord(number, source.size, sha1))

    async def copy_part(
        self, upload: MultipartUpload, number: int, version: ObjectVersion, span: ByteRange
    ) -> PartRecord:
        """Make a part of what B2 has. Raises KeyMissing."""
        b2_calls.check_size(span.size)
        source, destination = self._keyring.for_reading(version), self._keyring.for_parts
        version_id, upload_id = version.version_id, upload.upload_id
        with self._keyring.reading(version):
            reply = await self._client.call(
                "b2_copy_part",
                lambda s: b2_calls.copy_part(s, version_id, upload_id, number, span, source, destination),
                lane=self._client.lanes.copy,
            )
        record = b2_records.part(reply)
        return _checked(record, PartRecord(number, span.size, record.sha1))

    async def finish(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        """Make it a version; fine when it is one already."""
        upload_id = upload.upload_id
        try:
            reply = await self._client.change(
                "b2_finish_large_file", lambda s: s.finish_large_file(upload_id, list(sha1s))
            )
        except (StoreFailure, NotFound, Conflict):
            reply = await self._client.file_info(upload_id)
            if b2_records.version(reply, upload.path.bucket).action is not Action.UPLOAD:
                raise
        self._client.forget_urls(upload_id)
        return self._keyring.wrote(b2_records.version(reply, upload.path.bucket))

    async def abort(self, upload: MultipartUpload) -> None:
        """Drop it; fine when it is gone, or finished."""
        self._client.forget_urls(upload.upload_id)
        await self._client.change("b2_cancel_large_file", lambda s: b2_calls.cancel(s, upload.upload_id))

    async def parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        """What B2 has of it."""
        found: list[PartRecord] = []
        start: int | None = 1
        while start is not None:
            ask = partial(_list_parts, upload.upload_id, start)
            reply = await self._client.call("b2_list_parts", ask)
            page = b2_records.parts(reply)
            found += page
            self._client.ledger.listed("b2_list_parts", len(page))
            start = _onward(start, b2_records.next_part_number(reply))
        return tuple(found)

    async def unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
        """Those that were neither finished nor cancelled."""
        found: list[MultipartUpload] = []
        seen: set[str | None] = {None}
        start: str | None = None
        while True:
            reply = await self._buckets.within(bucket, partial(self._unfinished_page, prefix, start))
            found += b2_records.multipart_uploads(reply, bucket, prefix)
            start = b2_records.next_file_id(reply)
            if start in seen:
                return tuple(found)
            seen.add(start)

    async def _unfinished_page(self, prefix: str, start: str | None, bucket_id: str) -> object:
        return await self._client.call(
            "b2_list_unfinished_large_files",
            lambda s: s.list_unfinished_large_files(bucket_id, start, UNFINISHED_PER_PAGE, prefix or None),
        )


def _list_parts(upload_id: str, start: int, session: B2Session) -> object:
    return session.list_parts(upload_id, start, PARTS_PER_PAGE)


def _onward(start: int, following: int | None) -> int | None:
    if following is not None and following <= start:
        raise StoreFailure("B2's list of parts does not move on")
    return following


def _checked(record: PartRecord, wanted: PartRecord) -> PartRecord:
    if record != wanted:
        raise StoreFailure("B2 says that it has another part than was sent")
    return record

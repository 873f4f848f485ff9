"""B2Store: the ObjectStore that is Backblaze B2.

Invariants: one verb is one B2 request for each try (a token or an upload URL aside); only
`errors.py` types and OSError of the local disk leave; a verb whose reply was lost and whose work was
done succeeds.

Must not know: trio's threads, b2sdk's exceptions: that is `b2_client`, `b2_calls`, `b2_errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import quote

import attrs
from b2sdk.v3 import B2Session

from b2mount.errors import (
    AccessDenied,
    B2MountError,
    BadName,
    Conflict,
    IllegalCharacters,
    InvalidArgument,
    NotFound,
    NotPermitted,
    StoreFailure,
    TooLarge,
)
from b2mount.model import (
    Action,
    ByteRange,
    ByteSource,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
)
from b2mount.store import b2_calls, b2_records
from b2mount.store.b2_buckets import Buckets
from b2mount.store.b2_calls import UploadAddress
from b2mount.store.b2_client import B2Client, Lanes, Limits, UploadTarget
from b2mount.store.b2_session import Timeouts, open_account
from b2mount.store.credentials import Credentials
from b2mount.store.interface import (
    Account,
    Bucket,
    MultipartUpload,
    ObjectPage,
    ObjectStore,
    PartRecord,
    VersionCursor,
    VersionPage,
)
from b2mount.store.ledger import Ledger
from b2mount.store.rate_limit import RateLimit
from b2mount.store.upload_body import UploadBody

LARGEST_REQUEST: Final = 5_000_000_000
LONGEST_AUTHORIZATION: Final = 7 * 86_400
PARTS_PER_PAGE: Final = 1000
UNFINISHED_PER_PAGE: Final = 100


class B2Store(ObjectStore):
    """One B2 account, seen with one application key. Made by `open_b2_store`."""

    def __init__(self, client: B2Client) -> None:
        self._client = client
        self._buckets = Buckets(client)
        self.ledger = client.ledger

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @property
    def account(self) -> Account:
        return self._client.authorization.account

    # -- buckets -------------------------------------------------------------------------------

    async def list_buckets(self) -> tuple[Bucket, ...]:
        return await self._buckets.list()

    async def create_bucket(self, name: str) -> Bucket:
        return await self._buckets.create(name)

    async def delete_bucket(self, name: str) -> None:
        await self._buckets.delete(name)

    # -- listings ------------------------------------------------------------------------------

    async def list_objects(
        self, bucket: str, prefix: str, *, delimiter: str = "", start: str = "", limit: int = 1000
    ) -> ObjectPage:
        def work(bucket_id: str, session: B2Session) -> tuple[ObjectPage, int]:
            reply = b2_calls.list_names(session, bucket_id, prefix, delimiter, start, limit)
            return b2_records.object_page(reply, bucket, prefix, start), b2_records.row_count(reply)

        async def ask(bucket_id: str) -> tuple[ObjectPage, int]:
            return await self._client.call("b2_list_file_names", partial(work, bucket_id))

        page, rows = await self._buckets.within(bucket, ask)
        self.ledger.listed("b2_list_file_names", rows)
        return page

    async def list_versions(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        start: VersionCursor | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        begin = (start.key or None, start.version_id) if start else (None, None)

        def work(bucket_id: str, session: B2Session) -> tuple[VersionPage, int]:
            reply = b2_calls.list_versions(session, bucket_id, prefix, delimiter, begin, limit)
            return b2_records.version_page(reply, bucket, prefix, start), b2_records.row_count(reply)

        async def ask(bucket_id: str) -> tuple[VersionPage, int]:
            return await self._client.call("b2_list_file_versions", partial(work, bucket_id))

        page, rows = await self._buckets.within(bucket, ask)
        self.ledger.listed("b2_list_file_versions", rows)
        return page

    async def stat(self, path: ObjectPath) -> ObjectVersion:
        if {".", ".."} & set(path.key.split("/")):
            return await self._stat_by_listing(path)  # a URL can't spell such a name
        headers = await self._client.call(
            "b2_head_file_by_name", lambda s: s.get_file_info_by_name(path.bucket, path.key)
        )
        return b2_records.version_in_headers(headers, path)

    async def _stat_by_listing(self, path: ObjectPath) -> ObjectVersion:
        page = await self.list_objects(path.bucket, path.key, start=path.key, limit=1)
        if not page.objects or page.objects[0].path != path:
            raise NotFound(f"no such object: {path}")
        return page.objects[0]

    # -- bytes ---------------------------------------------------------------------------------

    async def read_range(
        self, version: ObjectVersion, span: ByteRange, deliver: Callable[[bytes], None]
    ) -> None:
        await self._client.download(version, span, deliver)

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        _check_size(source.size)
        _check_name(path)

        def send(session: B2Session, address: UploadAddress, body: UploadBody) -> object:
            return b2_calls.upload_file(session, address, path.key, metadata, body)

        async def ask(bucket_id: str) -> tuple[object, str]:
            url = partial(B2Session.get_upload_url, bucket_id=bucket_id)
            target = UploadTarget(path, bucket_id, "b2_get_upload_url", url, "b2_upload_file", send)
            return await self._client.upload(target, source)

        reply, sha1 = await self._buckets.within(path.bucket, ask)
        version = b2_records.version(reply, path.bucket)
        if version.path != path or version.size != source.size or version.sha1 not in (None, sha1):
            raise StoreFailure(f"B2 says that it has something else than was sent for {path}")
        return attrs.evolve(version, sha1=sha1)

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        _check_size(version.size)
        _check_name(path)

        async def ask(bucket_id: str) -> object:
            return await self._client.call(
                "b2_copy_file",
                lambda s: b2_calls.copy(s, version.version_id, bucket_id, path.key, metadata),
                lane=self._client.lanes.upload,
            )

        made = b2_records.version(await self._buckets.within(path.bucket, ask), path.bucket)
        if made.path != path or made.size != version.size:
            raise StoreFailure(f"B2 says that it made something else than a copy at {path}")
        return made

    # -- large files ---------------------------------------------------------------------------

    async def start_multipart(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        _check_name(path)
        tries = 0

        def start(bucket_id: str, session: B2Session) -> object:
            nonlocal tries
            tries += 1
            return session.start_large_file(bucket_id, path.key, metadata.content_type, dict(metadata.info))

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
            for other in await self.list_unfinished(upload.path.bucket, upload.path.key):
                same = (other.path, other.metadata) == (upload.path, upload.metadata)
                if same and other.upload_id != upload.upload_id:
                    await self.abort_multipart(other)

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        _check_size(source.size)

        def send(session: B2Session, address: UploadAddress, body: UploadBody) -> object:
            return b2_calls.upload_part(session, address, number, body)

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
        _check_size(span.size)
        reply = await self._client.call(
            "b2_copy_part",
            lambda s: s.copy_part(
                version.version_id, upload.upload_id, number, bytes_range=(span.start, span.stop - 1)
            ),
            lane=self._client.lanes.upload,
        )
        record = b2_records.part(reply)
        return _checked(record, PartRecord(number, span.size, record.sha1))

    async def finish_multipart(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        upload_id = upload.upload_id
        try:
            reply = await self._client.change(
                "b2_finish_large_file", lambda s: s.finish_large_file(upload_id, list(sha1s))
            )
        except (StoreFailure, NotFound, Conflict):
            reply = await self._info(upload_id)
            if b2_records.version(reply, upload.path.bucket).action is not Action.UPLOAD:
                raise
        self._client.forget_urls(upload_id)
        return b2_records.version(reply, upload.path.bucket)

    async def _info(self, version_id: str) -> object:
        return await self._client.call("b2_get_file_info", lambda s: s.get_file_info_by_id(version_id))

    async def abort_multipart(self, upload: MultipartUpload) -> None:
        self._client.forget_urls(upload.upload_id)
        await self._client.change("b2_cancel_large_file", lambda s: b2_calls.cancel(s, upload.upload_id))

    async def list_parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        found: list[PartRecord] = []
        start: int | None = 1
        while start is not None:
            ask = partial(_list_parts, upload.upload_id, start)
            reply = await self._client.call("b2_list_parts", ask)
            page = b2_records.parts(reply)
            found += page
            self.ledger.listed("b2_list_parts", len(page))
            start = _onward(start, b2_records.next_part_number(reply))
        return tuple(found)

    async def list_unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
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

    # -- removing ------------------------------------------------------------------------------

    async def hide(self, path: ObjectPath) -> None:
        async def ask(bucket_id: str) -> None:
            await self._client.change("b2_hide_file", lambda s: b2_calls.hide(s, bucket_id, path.key))

        await self._buckets.within(path.bucket, ask)

    async def delete_version(self, version: ObjectVersion) -> None:
        version_id, key = version.version_id, version.path.key
        try:
            await self._client.change(
                "b2_delete_file_version", lambda s: b2_calls.delete_version(s, version_id, key)
            )
        except AccessDenied:
            if "deleteFiles" not in self.account.capabilities:
                raise
            raise NotPermitted(f"retention or a legal hold protects {version.path}") from None

    # -- links ---------------------------------------------------------------------------------

    async def authorize_download(self, bucket: str, prefix: str, seconds: int) -> str:
        if not 1 <= seconds <= LONGEST_AUTHORIZATION:
            raise InvalidArgument("a download may be authorized for 1 second to 7 days")

        async def ask(bucket_id: str) -> object:
            return await self._client.call(
                "b2_get_download_authorization",
                lambda s: s.get_download_authorization(bucket_id, prefix, seconds),
            )

        return b2_records.text(
            b2_records.record(await self._buckets.within(bucket, ask)), "authorizationToken"
        )

    def under_way(self, path: ObjectPath) -> int:
        return self._client.under_way(path)

    def url(self, path: ObjectPath) -> str:
        return f"{self.account.download_url}/file/{path.bucket}/{quote(path.key)}"


async def open_b2_store(
    credentials: Credentials,
    *,
    lanes: Lanes | None = None,
    retry_for: float = 60.0,
    limit_download: float | None = None,
    limit_upload: float | None = None,
    ledger: Ledger | None = None,
    timeouts: Timeouts | None = None,
) -> B2Store:
    """An authorized store; close it. Limits are bytes a second. Raises NotAuthorized, Unavailable."""
    lanes = lanes or Lanes()
    session = open_account(credentials, connections=lanes.width, timeouts=timeouts)
    limits = Limits(
        download=RateLimit(limit_download) if limit_download else None,
        upload=RateLimit(limit_upload) if limit_upload else None,
    )
    client = B2Client(session, credentials, lanes, ledger or Ledger(), limits, retry_for)
    try:
        await client.authorize()
    except BaseException:
        client.close()
        raise
    return B2Store(client)


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


def _check_size(size: int) -> None:
    if size > LARGEST_REQUEST:
        raise TooLarge("one request to B2 carries at most 5 GB")


def _check_name(path: ObjectPath) -> None:
    if not path.key:
        raise BadName("an object needs a name")
    try:
        path.key.encode()
    except UnicodeEncodeError:
        raise IllegalCharacters("B2 stores only names that are valid Unicode") from None

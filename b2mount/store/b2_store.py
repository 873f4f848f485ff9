"""B2Store: the ObjectStore that is Backblaze B2.

Invariants: one verb is one B2 request for each try (a token or an upload URL aside); only
`errors.py` types and OSError of the local disk leave; a verb whose reply was lost and whose work was
done succeeds.

Must not know: trio's threads, b2sdk's exceptions: that is `b2_client`, `b2_calls`, `b2_errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote

import attrs
from b2sdk.v3 import B2Session

from b2mount.errors import (
    AccessDenied,
    InvalidArgument,
    NotFound,
    NotPermitted,
    StoreFailure,
)
from b2mount.model import (
    ByteRange,
    ByteSource,
    ObjectMetadata,
    ObjectPath,
    ObjectVersion,
    Protection,
    Retention,
)
from b2mount.store import b2_calls, b2_records
from b2mount.store.b2_buckets import Buckets
from b2mount.store.b2_calls import UploadAddress
from b2mount.store.b2_client import B2Client, Lanes, Limits, UploadTarget
from b2mount.store.b2_large_files import LargeFileCalls
from b2mount.store.b2_protection import ProtectionCalls
from b2mount.store.b2_session import Timeouts, open_account
from b2mount.store.credentials import Credentials
from b2mount.store.encryption import Keyring
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

LONGEST_AUTHORIZATION: Final = 7 * 86_400


class B2Store(ObjectStore):
    """One B2 account, seen with one application key. Made by `open_b2_store`."""

    def __init__(self, client: B2Client, keyring: Keyring) -> None:
        self._client = client
        self._keyring = keyring
        self._buckets = Buckets(client)
        self._large = LargeFileCalls(client, self._buckets, keyring)
        self._protection = ProtectionCalls(client)
        self.ledger = client.ledger

    def on_new_key(self, call: Callable[[], None]) -> None:
        """Call this when another key has taken the place of one that B2 does not know any more."""
        self._client.login.on_new_key = call

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @property
    def account(self) -> Account:
        return self._client.authorization.account

    @property
    def setting(self) -> str:
        return self._keyring.setting

    @property
    def now_ms(self) -> int:
        return self._client.now_ms

    def check_key(self, version: ObjectVersion) -> None:
        self._keyring.check(version)

    async def try_key(self, version: ObjectVersion) -> None:
        self._keyring.check(version)
        if self._keyring.is_unsure(version) and version.size:
            await self.read_range(version, ByteRange(0, 1), lambda data: None)

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
        try:
            headers = await self._client.call(
                "b2_head_file_by_name", lambda s: s.get_file_info_by_name(path.bucket, path.key)
            )
        except StoreFailure:  # B2 answers for SSE-C only who has the key: 400, as to a GET
            return await self._stat_by_listing(path)
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
        encryption = self._keyring.for_reading(version)
        with self._keyring.reading(version):
            await self._client.download(version, span, encryption, deliver)

    async def put(self, path: ObjectPath, source: ByteSource, metadata: ObjectMetadata) -> ObjectVersion:
        b2_calls.check_size(source.size)
        b2_calls.check_name(path)

        encryption = self._keyring.for_objects

        def send(session: B2Session, address: UploadAddress, body: UploadBody) -> object:
            return b2_calls.upload_file(session, address, path.key, metadata, encryption, body)

        async def ask(bucket_id: str) -> tuple[object, str]:
            url = partial(B2Session.get_upload_url, bucket_id=bucket_id)
            target = UploadTarget(path, bucket_id, "b2_get_upload_url", url, "b2_upload_file", send)
            return await self._client.upload(target, source)

        reply, sha1 = await self._buckets.within(path.bucket, ask)
        version = b2_records.version(reply, path.bucket)
        if version.path != path or version.size != source.size or version.sha1 not in (None, sha1):
            raise StoreFailure(f"B2 says that it has something else than was sent for {path}")
        return self._keyring.wrote(attrs.evolve(version, sha1=sha1))

    async def copy(
        self, version: ObjectVersion, path: ObjectPath, metadata: ObjectMetadata | None = None
    ) -> ObjectVersion:
        b2_calls.check_size(version.size)
        b2_calls.check_name(path)

        source, destination = self._keyring.for_reading(version), self._keyring.for_objects
        version_id, key = version.version_id, path.key

        async def ask(bucket_id: str) -> object:
            return await self._client.call(
                "b2_copy_file",
                lambda s: b2_calls.copy(s, version_id, bucket_id, key, metadata, source, destination),
                lane=self._client.lanes.copy,
            )

        with self._keyring.reading(version):
            reply = await self._buckets.within(path.bucket, ask)
        made = b2_records.version(reply, path.bucket)
        if made.path != path or made.size != version.size:
            raise StoreFailure(f"B2 says that it made something else than a copy at {path}")
        return self._keyring.wrote(made)

    # -- large files ---------------------------------------------------------------------------

    async def start_multipart(self, path: ObjectPath, metadata: ObjectMetadata) -> MultipartUpload:
        b2_calls.check_name(path)
        return await self._large.start(path, metadata)

    async def put_part(self, upload: MultipartUpload, number: int, source: ByteSource) -> PartRecord:
        return await self._large.put_part(upload, number, source)

    async def copy_part(
        self, upload: MultipartUpload, number: int, version: ObjectVersion, span: ByteRange
    ) -> PartRecord:
        return await self._large.copy_part(upload, number, version, span)

    async def finish_multipart(self, upload: MultipartUpload, sha1s: Sequence[str]) -> ObjectVersion:
        return await self._large.finish(upload, sha1s)

    async def abort_multipart(self, upload: MultipartUpload) -> None:
        await self._large.abort(upload)

    async def list_parts(self, upload: MultipartUpload) -> tuple[PartRecord, ...]:
        return await self._large.parts(upload)

    async def list_unfinished(self, bucket: str, prefix: str) -> tuple[MultipartUpload, ...]:
        return await self._large.unfinished(bucket, prefix)

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

    # -- protecting ----------------------------------------------------------------------------

    async def protection(self, version: ObjectVersion) -> Protection:
        return await self._protection.get(version)

    async def set_retention(self, version: ObjectVersion, retention: Retention | None) -> None:
        await self._protection.set_retention(version, retention)

    async def set_legal_hold(self, version: ObjectVersion, *, on: bool) -> None:
        await self._protection.set_legal_hold(version, on=on)

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

    def url_of(self, version: ObjectVersion) -> str:
        return str(self._client.session.get_download_url_by_id(quote(version.version_id, safe="")))


async def open_b2_store(
    credentials: Credentials,
    *,
    lanes: Lanes | None = None,
    retry_for: float = 60.0,
    limit_download: float | None = None,
    limit_upload: float | None = None,
    ledger: Ledger | None = None,
    timeouts: Timeouts | None = None,
    keyring: Keyring | None = None,
    find_again: Callable[[], Credentials] | None = None,
) -> B2Store:
    """An authorized store; close it. Limits are bytes a second. `find_again` looks for the credentials when
    B2 does not know the key any more. Raises NotAuthorized, Unavailable."""
    lanes = lanes or Lanes()
    session = open_account(credentials, connections=lanes.width, timeouts=timeouts)
    limits = Limits(
        download=RateLimit(limit_download) if limit_download else None,
        upload=RateLimit(limit_upload) if limit_upload else None,
    )
    client = B2Client(session, credentials, lanes, ledger or Ledger(), limits, retry_for, find_again)
    try:
        await client.authorize()
    except BaseException:
        client.close()
        raise
    return B2Store(client, keyring or Keyring())

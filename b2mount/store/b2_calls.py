"""What runs in the lanes: one function per request to B2 that b2sdk does not offer as we need it.

Invariants: each sends one request (b2sdk's session here tries once); what has been done already
counts as done; no state is kept.

Must not know: trio, retries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import quote

import attrs
import requests
from b2sdk._internal import exception as sdk
from b2sdk.v3 import B2Session, EncryptionSetting, MetadataDirectiveMode

from b2mount.errors import BadName, IllegalCharacters, StoreFailure, TooLarge
from b2mount.model import ByteRange, ObjectMetadata, ObjectPath
from b2mount.store.download_body import PIECE, pieces_of
from b2mount.store.rate_limit import RateLimit
from b2mount.store.upload_body import SourceUnreadable, UploadBody

LARGEST_REQUEST: Final = 5_000_000_000


class Digest(Protocol):
    """A hash that grows."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...


@attrs.frozen
class UploadAddress:
    """Where to upload to, with the token that opens it."""

    url: str
    token: str = attrs.field(repr=False)


def check_size(size: int) -> None:
    """Raises TooLarge for what B2 would refuse at the end of the request."""
    if size > LARGEST_REQUEST:
        raise TooLarge("one request to B2 carries at most 5 GB")


def check_name(path: ObjectPath) -> None:
    """Raises BadName, IllegalCharacters for what no request could carry."""
    if not path.key:
        raise BadName("an object needs a name")
    try:
        path.key.encode()
    except UnicodeEncodeError:
        raise IllegalCharacters("B2 stores only names that are valid Unicode") from None


def list_names(
    session: B2Session, bucket_id: str, prefix: str, delimiter: str, start: str, limit: int
) -> object:
    """A page of b2_list_file_names; b2sdk's own has no delimiter."""
    return _post(
        session,
        "b2_list_file_names",
        bucketId=bucket_id,
        prefix=prefix or None,
        delimiter=delimiter or None,
        startFileName=start or None,
        maxFileCount=limit,
    )


def list_versions(
    session: B2Session,
    bucket_id: str,
    prefix: str,
    delimiter: str,
    start: tuple[str | None, str | None],
    limit: int,
) -> object:
    """A page of b2_list_file_versions."""
    return _post(
        session,
        "b2_list_file_versions",
        bucketId=bucket_id,
        prefix=prefix or None,
        delimiter=delimiter or None,
        startFileName=start[0],
        startFileId=start[1],
        maxFileCount=limit,
    )


def _post(session: B2Session, endpoint: str, **parameters: object) -> object:
    given = {name: value for name, value in parameters.items() if value is not None}
    return session._wrap_default_token(
        lambda api_url, token: session.raw_api._post_json(api_url, endpoint, token, **given)
    )


def hide(session: B2Session, bucket_id: str, key: str) -> None:
    """b2_hide_file; a name that is hidden already is fine."""
    try:
        session.hide_file(bucket_id, key)
    except sdk.FileAlreadyHidden:
        return


def delete_version(session: B2Session, version_id: str, key: str) -> None:
    """b2_delete_file_version; a version that is gone already is fine."""
    try:
        session.delete_file_version(version_id, key)
    except sdk.FileNotPresent:
        return


def cancel(session: B2Session, upload_id: str) -> None:
    """b2_cancel_large_file; an upload that is gone, or finished, is fine."""
    try:
        session.cancel_large_file(upload_id)
    except (sdk.BadRequest, sdk.ResourceNotFound):
        return


def start_large_file(
    session: B2Session,
    bucket_id: str,
    key: str,
    metadata: ObjectMetadata,
    encryption: EncryptionSetting | None,
) -> object:
    """b2_start_large_file."""
    return session.start_large_file(
        bucket_id,
        key,
        metadata.content_type,
        dict(metadata.info),
        server_side_encryption=encryption,
    )


def copy(
    session: B2Session,
    version_id: str,
    bucket_id: str,
    key: str,
    metadata: ObjectMetadata | None,
    source: EncryptionSetting | None,
    destination: EncryptionSetting | None,
) -> object:
    """b2_copy_file, with the source's metadata or with other."""
    if metadata is None:
        return session.copy_file(
            version_id,
            key,
            metadata_directive=MetadataDirectiveMode.COPY,
            destination_bucket_id=bucket_id,
            source_server_side_encryption=source,
            destination_server_side_encryption=destination,
        )
    return session.copy_file(
        version_id,
        key,
        metadata_directive=MetadataDirectiveMode.REPLACE,
        content_type=metadata.content_type,
        file_info=dict(metadata.info),
        destination_bucket_id=bucket_id,
        source_server_side_encryption=source,
        destination_server_side_encryption=destination,
    )


def copy_part(
    session: B2Session,
    version_id: str,
    upload_id: str,
    number: int,
    span: ByteRange,
    source: EncryptionSetting | None,
    destination: EncryptionSetting | None,
) -> object:
    """b2_copy_part."""
    return session.copy_part(
        version_id,
        upload_id,
        number,
        bytes_range=(span.start, span.stop - 1),
        source_server_side_encryption=source,
        destination_server_side_encryption=destination,
    )


def upload_file(
    session: B2Session,
    address: UploadAddress,
    key: str,
    metadata: ObjectMetadata,
    encryption: EncryptionSetting | None,
    body: UploadBody,
) -> object:
    """Send a whole object. Raises SourceUnreadable when the local bytes fail."""
    return _sending(
        body,
        lambda: session.raw_api.upload_file(
            address.url,
            address.token,
            key,
            len(body),
            metadata.content_type,
            "hex_digits_at_end",
            metadata.info,
            body,
            server_side_encryption=encryption,
        ),
    )


def upload_part(
    session: B2Session,
    address: UploadAddress,
    number: int,
    encryption: EncryptionSetting | None,
    body: UploadBody,
) -> object:
    """Send one part. Raises SourceUnreadable when the local bytes fail."""
    return _sending(
        body,
        lambda: session.raw_api.upload_part(
            address.url,
            address.token,
            number,
            len(body),
            "hex_digits_at_end",
            body,
            server_side_encryption=encryption,
        ),
    )


def _sending(body: UploadBody, send: Callable[[], object]) -> object:
    """b2sdk takes an unreadable file for a broken connection; only the body knows better."""
    try:
        return send()
    except Exception:
        if body.failure is not None:
            raise SourceUnreadable(body.failure) from body.failure
        raise
    finally:
        body.close()


def download(
    emit: Callable[[bytes], None],
    session: B2Session,
    version_id: str,
    span: ByteRange,
    encryption: EncryptionSetting | None,
    digest: Digest | None,
    limit: RateLimit | None,
) -> None:
    """Fetch `span` of a version, or its beginning when the connection breaks; `digest` sees every
    byte that `emit` gets."""
    url = session.get_download_url_by_id(quote(version_id, safe=""))
    range_ = (span.start, span.stop - 1)
    with session.download_file_from_url(url, range_=range_, encryption=encryption) as response:
        try:
            _check_range(response.status_code, response.headers, span)
            _pass_on(response, span.size, emit, digest, limit)
        finally:
            response.close()


def _check_range(status: int, headers: Mapping[str, str], span: ByteRange) -> None:
    """A server may answer with the whole object; then only its beginning is of use."""
    if status == 206 and "Content-Range" in headers:
        found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/[0-9]{1,19}", headers["Content-Range"])
        if found and int(found[1]) == span.start and int(found[2]) < span.stop:
            return
    elif span.start == 0:
        return
    raise StoreFailure("B2 sent other bytes than were asked for")


def _pass_on(
    response: requests.Response,
    size: int,
    emit: Callable[[bytes], None],
    digest: Digest | None,
    limit: RateLimit | None,
) -> None:
    left = size
    most = PIECE if limit is None else limit.piece_size
    for piece in pieces_of(response, size, most):
        left -= len(piece)
        if digest is not None:
            digest.update(piece)
        emit(piece)
        if limit is not None:
            limit.take(len(piece))
    if left:
        raise sdk.TruncatedOutput(size - left, size)

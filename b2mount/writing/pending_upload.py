"""PendingUpload: what people are told of a file that is on its way to B2.

Must not know: how it gets there.
"""

from __future__ import annotations

import attrs

from b2mount.model import ObjectPath
from b2mount.writing.upload_queue import Entry, UploadState


@attrs.frozen
class PendingUpload:
    """A file that is not in B2 yet."""

    staging_id: str
    path: ObjectPath
    size: int
    sent: int
    """Bytes that B2 has."""
    state: UploadState
    """QUEUED, UPLOADING or FAILED."""
    reason: str | None
    """What went wrong the last time."""
    since: float
    """Unix seconds of the close."""


def pending_upload(entry: Entry) -> PendingUpload:
    """An entry of the queue as people see it."""
    recording = entry.state is UploadState.RECORDING
    return PendingUpload(
        entry.staging_id,
        entry.path,
        entry.sealed.size,
        entry.sent,
        UploadState.QUEUED if recording else entry.state,
        str(entry.error) if entry.error else None,
        entry.sealed.since,
    )

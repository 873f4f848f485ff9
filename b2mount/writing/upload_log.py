"""UploadLog: the large files that were started in B2 and are not finished yet, in the journal.

Invariants: a large file is on record from its start until it is finished or cancelled; the record of
one that became its generation's version goes with that generation's. A crash between the request and
the record leaves one that is found by its name and info when the file is sent. What B2 has finished
counts only with the bytes that were on record before B2 was asked for it.

Must not know: the store, who sends what.
"""

from __future__ import annotations

import json
import logging
from typing import Final, TypedDict

import attrs

from b2mount.store.interface import MultipartUpload
from b2mount.writing.journal import Journal
from b2mount.writing.journal_change import Statement
from b2mount.writing.records import UNREADABLE, metadata_of, path_of, text_of

log = logging.getLogger(__name__)

STREAMED: Final = "streamed"
"""The layout of what is sent ahead of its close: part numbers tell places, whatever the size becomes. It
never becomes its generation's version, only what that one is copied from."""
UNWANTED: Final = "unwanted"
"""The layout of one that nobody wants: the next mount removes it, be it finished or not."""


@attrs.frozen
class UploadRecord:
    """A large file that was started for a generation."""

    staging_id: str
    """Its own upload id where it belongs to no generation."""
    upload: MultipartUpload
    layout: str
    """Large files of one layout have the same parts under the same numbers."""
    contents: str = ""
    """`Fingerprint.contents` of what it is finished as; empty while nobody knows that."""
    setting: str = ""
    """`ObjectStore.setting` when it was started: B2 takes no part under another key."""

    @property
    def is_intent(self) -> bool:
        """Whether it was about to be started: nobody knows its id, if it was."""
        return not self.upload.upload_id

    @property
    def key(self) -> str:
        """What the record is found by."""
        return self.upload.upload_id or f"?{self.staging_id}"

    @property
    def is_of_nobody(self) -> bool:
        """Whether it belongs to no generation."""
        return self.staging_id == self.upload.upload_id


@attrs.define(eq=False)
class UploadLog:
    """See the module."""

    _journal: Journal

    async def begin(self, record: UploadRecord, *, instead_of: UploadRecord | None = None) -> None:
        """One was started, or is another than was on record. Raises OSError, StoreFailure."""
        upload = record.upload
        text = json.dumps(
            {
                "staging_id": record.staging_id,
                "path": [upload.path.bucket, upload.path.key],
                "content_type": upload.metadata.content_type,
                "info": dict(upload.metadata.info),
                "layout": record.layout,
                "contents": record.contents,
                "setting": record.setting,
            }
        )
        insert = "INSERT OR REPLACE INTO large_files (upload_id, staging_id, record) VALUES (?, ?, ?)"
        before = [_deletion(instead_of)] if instead_of is not None else []
        await self._journal.write([*before, (insert, (record.key, record.staging_id, text))])

    async def end(self, record: UploadRecord) -> None:
        """It is finished or cancelled. Raises OSError, StoreFailure."""
        await self._journal.write([_deletion(record)])

    async def left(self) -> list[UploadRecord]:
        """Those that were begun and not ended. What can't be read is left out, and stays."""
        found = []
        for upload_id, text in await self._journal.read("SELECT upload_id, record FROM large_files"):
            try:
                found.append(_upload_record(str(upload_id), json.loads(str(text))))
            except UNREADABLE:
                log.exception("the record of large file %s can't be read; it stays", upload_id)
        return found


def _deletion(record: UploadRecord) -> Statement:
    return "DELETE FROM large_files WHERE upload_id = ?", (record.key,)


class _Record(TypedDict):
    staging_id: str
    path: list[str]
    content_type: str
    info: dict[str, str]
    layout: str
    contents: str
    setting: str


def _upload_record(upload_id: str, record: _Record) -> UploadRecord:
    metadata = metadata_of(record["content_type"], record["info"])
    upload = MultipartUpload(upload_id if upload_id[0] != "?" else "", path_of(record["path"]), metadata)
    return UploadRecord(
        text_of(record["staging_id"]),
        upload,
        text_of(record["layout"]),
        text_of(record.get("contents", "")),
        text_of(record.get("setting", "")),
    )

"""The versions of files: uploads, hide markers, unfinished large files. No HTTP.

Invariants: versions of a name are ordered newest first by (timestamp, tie); exactly the first of
them, unfinished ones aside, is `visible`, and only if it is an upload.
"""

from __future__ import annotations

import sqlite3

from b2mount.emulator.clock import LARGE, SMALL, Clock, file_id, parse_file_id
from b2mount.emulator.contents import Contents
from b2mount.emulator.database import Database
from b2mount.emulator.errors import (
    ApiError,
    access_denied,
    bad_request,
    file_not_present,
    not_found,
    unauthorized,
)
from b2mount.emulator.names import check_file_name, check_header_value, check_info, to_bytes
from b2mount.emulator.records import (
    EMPTY_MD5,
    EMPTY_SHA1,
    HIDE,
    HIDE_TYPE,
    START,
    UPLOAD,
    Attributes,
    Bucket,
    Content,
    Encryption,
    Retention,
    Version,
)

COLUMNS = "v.*, b.bucket_id FROM versions v JOIN buckets b ON b.number = v.bucket"
"""What `version_of` needs of a row."""

INSERT = "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Takes what `row_of` makes."""


class FileTable:
    """Every version of every file."""

    def __init__(self, database: Database, contents: Contents, clock: Clock) -> None:
        self.contents = contents
        self.clock = clock
        self._database = database
        row = database.one("SELECT seq FROM sqlite_sequence WHERE name = 'versions'")
        self._last_number: int = row["seq"] if row else 0

    def put(
        self,
        bucket: Bucket,
        name: str,
        content: Content,
        attributes: Attributes,
        *,
        timestamp: int | None = None,
        expected_action: str = UPLOAD,
    ) -> Version:
        """A new version with these bytes; the bucket's defaults fill what `attributes` leave open.
        Raises ApiError 400 for a name or info that B2 does not take."""
        self.check(bucket, name, attributes)
        now = self.clock.now()
        attributes = self.with_defaults(bucket, attributes, now)
        with self.contents.changes():
            moment = now if timestamp is None else timestamp
            version = self.add(bucket, name, expected_action, content, attributes, moment)
            self.contents.give(version.number, content.segments)
            self.refresh(bucket, name)
        return version

    def check(self, bucket: Bucket, name: str, attributes: Attributes) -> None:
        """Raises ApiError 400 for a name or info that B2 does not take."""
        locked = bucket.file_lock or bucket.encryption is not None or attributes.encryption is not None
        check_file_name(name)
        check_info(name, attributes.info, locked=locked)
        check_header_value(attributes.content_type)

    def hide(self, bucket: Bucket, name: str) -> Version:
        """A hide marker on top. Raises ApiError 400 no_such_file, already_hidden."""
        with self.contents.changes():
            newest = self._newest(bucket, name)
            if newest is None:
                raise bad_request(f"File not present: {name}", "no_such_file")
            if newest["action"] == HIDE:
                raise bad_request(f"File already hidden: {name}", "already_hidden")
            marker = Content((), 0, EMPTY_SHA1, EMPTY_MD5)
            version = self.add(bucket, name, HIDE, marker, Attributes(HIDE_TYPE), None)
            self.refresh(bucket, name)
        return version

    def get(self, file_id: str) -> Version:
        """Any version by its id. Raises ApiError 400 for what can't be an id, else 404."""
        parsed = parse_file_id(file_id)
        if parsed is None:
            raise bad_request(f"Bad fileId: {file_id}", "bad_request")
        row = self._database.one(f"SELECT {COLUMNS} WHERE v.number = ?", parsed[0])
        if row is None or row["file_id"] != file_id:
            raise not_found(f"File with id {file_id} does not exist")
        return version_of(row)

    def visible(self, bucket: Bucket, name: str) -> Version | None:
        """What a download by name gets."""
        row = self._database.one(
            f"SELECT {COLUMNS} WHERE v.bucket = ? AND v.name = ? AND v.visible = 1",
            bucket.number,
            to_bytes(name),
        )
        return None if row is None else version_of(row)

    def delete(self, name: str, file_id: str, *, bypass_governance: bool = False) -> Version:
        """Remove one version, its bytes, its parts. Raises ApiError 400 file_not_present; 401 or 403
        when it is locked."""
        try:
            version = self.get(file_id)
        except ApiError as exc:
            raise file_not_present(name, file_id) from exc
        if version.name != name:
            raise file_not_present(name, file_id)
        self._check_unlocked(version, bypass_governance)
        with self.contents.changes():
            self.remove(version)
        return version

    def remove(self, version: Version) -> None:
        """Delete without asking whether it may be. Inside `changes`."""
        for part in self._database.all("SELECT part FROM parts WHERE version = ?", version.number):
            self.contents.release(-part["part"])
        self._database.execute("DELETE FROM parts WHERE version = ?", version.number)
        self.contents.release(version.number)
        self._database.execute("DELETE FROM versions WHERE number = ?", version.number)
        self.refresh(self.bucket_number(version), version.name)

    def change(self, version: Version, attributes: Attributes) -> None:
        """Other attributes for a version: retention and legal hold are all that B2 can change."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE versions SET attributes = ? WHERE number = ?", attributes.to_json(), version.number
            )

    def with_defaults(self, bucket: Bucket, attributes: Attributes, now: int) -> Attributes:
        """The bucket's default encryption and retention from `now` on, where nothing was said."""
        encryption, retention = attributes.encryption, attributes.retention
        if encryption is None and bucket.encryption is not None:
            encryption = Encryption(bucket.encryption)
        if bucket.retention_mode is not None and retention.mode is None and bucket.retention_period:
            days = bucket.retention_period["duration"]
            days *= 365 if bucket.retention_period["unit"] == "years" else 1
            retention = Retention(bucket.retention_mode, now + days * 86_400_000)
        return attributes.__class__(
            attributes.content_type, attributes.info, encryption, retention, attributes.legal_hold
        )

    def add(
        self,
        bucket: Bucket,
        name: str,
        action: str,
        content: Content,
        attributes: Attributes,
        timestamp: int | None,
    ) -> Version:
        """A row for a version, without its bytes. Inside `changes`; `refresh` afterwards."""
        moment = self.clock.now() if timestamp is None else timestamp
        (number,) = self.take_numbers(1)
        kind = LARGE if action == START else SMALL
        id_ = file_id(bucket.bucket_id, kind, number, moment)
        version = Version(
            number,
            id_,
            bucket.bucket_id,
            name,
            action,
            moment,
            content.size,
            content.sha1,
            content.md5,
            attributes,
        )
        row = row_of(version, bucket.number, self.clock.tie(number), attributes.to_json(), visible=False)
        self._database.execute(INSERT, *row)
        return version

    def take_numbers(self, count: int) -> range:
        """Numbers for so many new versions; never given twice."""
        first = self._last_number + 1
        self._last_number += count
        return range(first, first + count)

    def refresh(self, bucket: Bucket | int, name: str) -> None:
        """Decide anew which version of the name is visible. Inside `changes`."""
        number = bucket if isinstance(bucket, int) else bucket.number
        newest = self._newest(number, name)
        top = newest["number"] if newest is not None and newest["action"] == UPLOAD else -1
        key = to_bytes(name)
        self._database.execute(
            "UPDATE versions SET visible = 0 WHERE bucket = ? AND name = ? AND visible = 1 AND number != ?",
            number,
            key,
            top,
        )
        self._database.execute("UPDATE versions SET visible = 1 WHERE number = ? AND visible = 0", top)

    def _newest(self, bucket: Bucket | int, name: str) -> sqlite3.Row | None:
        return self._database.one(
            "SELECT number, action FROM versions WHERE bucket = ? AND name = ? AND action != 'start'"
            " ORDER BY timestamp DESC, tie DESC LIMIT 1",
            bucket if isinstance(bucket, int) else bucket.number,
            to_bytes(name),
        )

    def bucket_number(self, version: Version) -> int:
        row = self._database.one("SELECT number FROM buckets WHERE bucket_id = ?", version.bucket_id)
        return int(row["number"]) if row else -1

    def _check_unlocked(self, version: Version, bypass_governance: bool) -> None:
        retention = version.attributes.retention
        if version.attributes.legal_hold == "on":
            raise access_denied()
        if retention.mode is None or (retention.until or 0) <= self.clock.now():
            return
        if retention.mode == "compliance":
            raise access_denied()
        if not bypass_governance:
            raise unauthorized("Access Denied")


def version_of(row: sqlite3.Row) -> Version:
    """A row of COLUMNS as a Version."""
    return Version(
        row["number"],
        row["file_id"],
        row["bucket_id"],
        bytes(row["name"]).decode(),
        row["action"],
        row["timestamp"],
        row["size"],
        row["sha1"],
        row["md5"],
        Attributes.from_json(row["attributes"]),
    )


def row_of(
    version: Version, bucket: int, tie: int, attributes: str, *, visible: bool
) -> tuple[int | str | bytes | None, ...]:
    """A version as a row of its table; `attributes` are its attributes' JSON."""
    return (
        version.number,
        bucket,
        to_bytes(version.name),
        version.timestamp,
        tie,
        version.action,
        visible,
        version.file_id,
        version.size,
        version.sha1,
        version.md5,
        attributes,
    )

"""The account's buckets. No HTTP.

Invariants: a bucket's name is unique, without regard to case; its revision grows with each update.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

import attrs

from b2mount.emulator.database import Database
from b2mount.emulator.errors import ApiError, bad_request, no_such_bucket
from b2mount.emulator.names import check_bucket_name
from b2mount.emulator.records import Bucket

MAX_BUCKETS: Final = 100


class BucketTable:
    """Every bucket by id and by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, type: str = "allPrivate", **fields: Any) -> Bucket:
        """A new, empty bucket; `fields` as in records.Bucket. Raises ApiError 400."""
        check_bucket_name(name)
        if self.named(name) is not None:
            raise bad_request("Bucket name is already in use.", "duplicate_bucket_name")
        if len(self.all()) >= MAX_BUCKETS:
            raise bad_request(f"More than {MAX_BUCKETS} buckets", "too_many_buckets")
        bucket = Bucket(0, secrets.token_hex(12), name, type, **fields)
        with self._database.transaction():
            cursor = self._database.execute(
                "INSERT INTO buckets (bucket_id, name, document) VALUES (?, ?, ?)",
                bucket.bucket_id,
                name,
                _document(bucket),
            )
        return attrs.evolve(bucket, number=cursor.lastrowid or 0)

    def get(self, bucket_id: str) -> Bucket:
        """Raises ApiError 400 bad_bucket_id."""
        row = self._database.one("SELECT * FROM buckets WHERE bucket_id = ?", bucket_id)
        if row is None:
            raise no_such_bucket(bucket_id)
        return _bucket(row)

    def named(self, name: str) -> Bucket | None:
        row = self._database.one("SELECT * FROM buckets WHERE name = ?", name)
        return None if row is None else _bucket(row)

    def all(self) -> list[Bucket]:
        """By name."""
        return [_bucket(row) for row in self._database.all("SELECT * FROM buckets ORDER BY name")]

    def update(
        self, bucket_id: str, change: Callable[[Bucket], Bucket], *, revision: int | None = None
    ) -> Bucket:
        """Replace the bucket by what `change` makes of it. Raises ApiError 409 when `revision` is not
        the bucket's."""
        with self._database.transaction():
            bucket = self.get(bucket_id)
            if revision is not None and revision != bucket.revision:
                raise ApiError(409, "conflict", "Conflict: the bucket has been changed")
            changed = attrs.evolve(change(bucket), revision=bucket.revision + 1)
            self._database.execute(
                "UPDATE buckets SET document = ? WHERE number = ?", _document(changed), bucket.number
            )
        return changed

    def delete(self, bucket_id: str) -> Bucket:
        """Raises ApiError 400 when it holds anything, be it a hide marker or an unfinished file."""
        with self._database.transaction():
            bucket = self.get(bucket_id)
            if self._database.one("SELECT 1 FROM versions WHERE bucket = ? LIMIT 1", bucket.number):
                raise bad_request(
                    f"Cannot delete non-empty bucket: {bucket.name}", "cannot_delete_non_empty_bucket"
                )
            self._database.execute("DELETE FROM buckets WHERE number = ?", bucket.number)
        return bucket


def _document(bucket: Bucket) -> str:
    return json.dumps(attrs.asdict(bucket))


def _bucket(row: Any) -> Bucket:
    fields = json.loads(row["document"])
    for name in ("cors_rules", "lifecycle_rules", "notification_rules"):
        fields[name] = tuple(fields[name])
    return Bucket(**{**fields, "number": row["number"]})

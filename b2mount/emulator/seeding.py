"""Many small files at once, for tests and demos: all share one blob, none was uploaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.clock import SMALL, file_id
from b2mount.emulator.files import INSERT, row_of
from b2mount.emulator.names import to_bytes
from b2mount.emulator.records import UPLOAD, Attributes, Bucket, Content, Version

BATCH: Final = 10_000


def numbered(count: int, *, prefix: str = "", per_folder: int | None = None) -> Iterator[str]:
    """`count` names, distinct and in order; with `per_folder` that many in each numbered folder."""
    for number in range(count):
        if per_folder is None:
            yield f"{prefix}file-{number:08d}"
        else:
            yield f"{prefix}dir-{number // per_folder:06d}/file-{number % per_folder:06d}"


def seed(
    state: BucketState, bucket: Bucket, names: Iterable[str], content: Content, attributes: Attributes
) -> Iterator[int]:
    """Give each name a new version with this content, batch by batch; yields the size of each
    batch. The names must be distinct; they are not checked."""
    remaining = iter(names)
    while batch := list(itertools.islice(remaining, BATCH)):
        with state.contents.changes():
            _insert(state, bucket, batch, content, attributes)
        yield len(batch)


def _insert(
    state: BucketState, bucket: Bucket, names: list[str], content: Content, attributes: Attributes
) -> None:
    numbers, text = state.files.take_numbers(len(names)), attributes.to_json()
    _cover(state, bucket, names)
    state.database.executemany(
        INSERT,
        (
            row_of(version, bucket.number, state.clock.tie(version.number), text, visible=True)
            for version in _versions(state, bucket, zip(numbers, names, strict=True), content, attributes)
        ),
    )
    state.database.executemany(
        "INSERT INTO segments VALUES (?, 0, ?, ?, ?)",
        ((number, s.blob, s.offset, s.length) for number in numbers for s in content.segments),
    )


def _cover(state: BucketState, bucket: Bucket, names: list[str]) -> None:
    """What these names showed so far is no longer visible."""
    database = state.database
    database.execute("CREATE TEMP TABLE IF NOT EXISTS seeded (name BLOB PRIMARY KEY) WITHOUT ROWID")
    database.execute("DELETE FROM seeded")
    database.executemany("INSERT INTO seeded VALUES (?)", ((to_bytes(name),) for name in names))
    database.execute(
        "UPDATE versions SET visible = 0 WHERE number IN (SELECT v.number FROM seeded s JOIN versions v"
        " ON v.bucket = ? AND v.name = s.name AND v.visible = 1)",
        bucket.number,
    )


def _versions(
    state: BucketState,
    bucket: Bucket,
    numbered_names: Iterable[tuple[int, str]],
    content: Content,
    attributes: Attributes,
) -> Iterator[Version]:
    now, size, sha1, md5 = state.clock.now(), content.size, content.sha1, content.md5
    for number, name in numbered_names:
        id_ = file_id(bucket.bucket_id, SMALL, number, now)
        yield Version(number, id_, bucket.bucket_id, name, UPLOAD, now, size, sha1, md5, attributes)

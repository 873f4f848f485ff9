"""Many small files at once, for tests and demos: all share one blob, none was uploaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.clock import SMALL, file_id
from b2mount.emulator.names import to_bytes
from b2mount.emulator.records import UPLOAD, Attributes, Bucket, Content

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
    now, text = state.clock.now(), attributes.to_json()
    numbers = state.files.take_numbers(len(names))
    state.database.execute("CREATE TEMP TABLE IF NOT EXISTS seeded (name BLOB PRIMARY KEY) WITHOUT ROWID")
    state.database.execute("DELETE FROM seeded")
    state.database.executemany("INSERT INTO seeded VALUES (?)", ((to_bytes(name),) for name in names))
    state.database.execute(
        "UPDATE versions SET visible = 0 WHERE number IN (SELECT v.number FROM seeded s JOIN versions v"
        " ON v.bucket = ? AND v.name = s.name AND v.visible = 1)",
        bucket.number,
    )
    state.database.executemany(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)",
        (
            (
                number,
                bucket.number,
                to_bytes(name),
                now,
                state.clock.tie(number),
                UPLOAD,
                file_id(bucket.bucket_id, SMALL, number, now),
                content.size,
                content.sha1,
                content.md5,
                text,
            )
            for number, name in zip(numbers, names, strict=True)
        ),
    )
    state.database.executemany(
        "INSERT INTO segments VALUES (?, 0, ?, ?, ?)",
        ((number, s.blob, s.offset, s.length) for number in numbers for s in content.segments),
    )

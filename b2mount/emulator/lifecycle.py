"""Lifecycle rules, run when asked: what the service does about once a day."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from b2mount.emulator.bucket_rules import LIFECYCLE_DAYS
from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.keys import DAY
from b2mount.emulator.pages import LARGEST_PAGE
from b2mount.emulator.records import HIDE, START, UPLOAD, Bucket, Version

TO_HIDING, TO_DELETING, TO_CANCELING = LIFECYCLE_DAYS


@attrs.define
class LifecycleReport:
    """How many versions a run has hidden, deleted and cancelled."""

    hidden: int = 0
    deleted: int = 0
    cancelled: int = 0


def run_lifecycle(state: BucketState, *, days: float = 0) -> LifecycleReport:
    """Apply every bucket's rules as if `days` more had passed."""
    report = LifecycleReport()
    now = state.clock.now() + int(days * DAY)
    for bucket in state.buckets.all():
        for rule in bucket.lifecycle_rules:
            for _, versions in itertools.groupby(
                _versions(state, bucket, rule["fileNamePrefix"]), key=lambda version: version.name
            ):
                _apply(state, bucket, list(versions), now, rule, report)
    return report


def _apply(
    state: BucketState,
    bucket: Bucket,
    versions: list[Version],
    now: int,
    rule: Mapping[str, Any],
    report: LifecycleReport,
) -> None:
    """One rule on all versions of one name, newest first."""
    cancel, delete, hide = rule.get(TO_CANCELING), rule.get(TO_DELETING), rule.get(TO_HIDING)
    for version in [v for v in versions if v.action == START]:
        if cancel is not None and now - version.timestamp >= cancel * DAY:
            state.large_files.cancel(version.file_id)
            report.cancelled += 1
    finished = [v for v in versions if v.action != START]
    gone = set() if delete is None else _hidden_for(finished, now, delete * DAY)
    for file_id in gone:
        with state.contents.changes():
            state.files.remove(state.files.get(file_id))
        report.deleted += 1
    newest = finished[0] if finished else None
    if hide is None or newest is None or newest.action != UPLOAD:
        return
    if now - newest.timestamp >= hide * DAY:
        state.files.hide(bucket, newest.name)
        report.hidden += 1


def _hidden_for(versions: list[Version], now: int, least: int) -> set[str]:
    """Ids of the uploads that something newer has covered for that long, and of the hide markers that
    then have nothing left to hide."""
    gone: set[str] = set()
    for newer, version in itertools.pairwise(versions):
        if now - newer.timestamp >= least:
            gone.add(version.file_id)
    left = [version for version in versions if version.file_id not in gone]
    if left and all(version.action == HIDE for version in left) and now - left[0].timestamp >= least:
        gone.update(version.file_id for version in left)
    return gone


def _versions(state: BucketState, bucket: Bucket, prefix: str) -> Iterator[Version]:
    """Every version under a prefix; each page is read before its versions change."""
    start, start_id = "", None
    while True:
        page = state.pages.versions(bucket, prefix=prefix, start=start, start_id=start_id, limit=LARGEST_PAGE)
        yield from (row for row in page.rows if isinstance(row, Version))
        if page.next_name is None:
            return
        start, start_id = page.next_name, page.next_id

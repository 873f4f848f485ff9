"""Lifecycle rules as if days had passed."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from b2mount.emulator.bucket_rules import check_lifecycle
from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.errors import ApiError
from b2mount.emulator.lifecycle import LifecycleReport, run_lifecycle
from b2mount.emulator.records import Attributes, Bucket
from tests.emulator.conftest import put

HIDING = {"fileNamePrefix": "log/", "daysFromUploadingToHiding": 7, "daysFromHidingToDeleting": 1}
KEEP_LAST = {"fileNamePrefix": "", "daysFromUploadingToHiding": None, "daysFromHidingToDeleting": 1}
CANCEL = {"fileNamePrefix": "", "daysFromStartingToCancelingUnfinishedLargeFiles": 2}


def rule(state: BucketState, bucket: Bucket, *rules: dict[str, Any]) -> Bucket:
    checked = check_lifecycle(rules)
    return state.buckets.update(
        bucket.bucket_id, lambda bucket: attrs.evolve(bucket, lifecycle_rules=checked)
    )


def rows(state: BucketState, bucket: Bucket) -> list[tuple[str, str]]:
    return [(row.name, row.action) for row in state.pages.versions(bucket).rows]  # type: ignore[union-attr]  # it is there, or the test fails


def test_hidden_then_deleted(state: BucketState, bucket: Bucket) -> None:
    rule(state, bucket, HIDING)
    put(state, bucket, "log/a")
    put(state, bucket, "other")
    assert run_lifecycle(state, days=6.9) == LifecycleReport()
    assert run_lifecycle(state, days=7) == LifecycleReport(hidden=1)
    assert rows(state, bucket) == [("log/a", "hide"), ("log/a", "upload"), ("other", "upload")]
    assert run_lifecycle(state, days=0.5) == LifecycleReport()
    assert run_lifecycle(state, days=1) == LifecycleReport(deleted=2)
    assert rows(state, bucket) == [("other", "upload")]
    assert len(list(state.blobs.names())) == 1


def test_only_the_last_version_stays(state: BucketState, bucket: Bucket) -> None:
    rule(state, bucket, KEEP_LAST)
    for _ in range(3):
        newest = put(state, bucket, "n")
    assert run_lifecycle(state, days=30) == LifecycleReport(deleted=2)
    assert state.pages.versions(bucket).rows == (newest,)


def test_unfinished_ones_are_cancelled(state: BucketState, bucket: Bucket) -> None:
    rule(state, bucket, CANCEL)
    state.large_files.start(bucket, "n", Attributes("text/plain"))
    assert run_lifecycle(state, days=1) == LifecycleReport()
    assert run_lifecycle(state, days=2) == LifecycleReport(cancelled=1)


@pytest.mark.parametrize(
    "rules",
    [
        [{"daysFromUploadingToHiding": 1}],
        [{"fileNamePrefix": "a"}],
        [{"fileNamePrefix": "a", "daysFromUploadingToHiding": 0}],
        [{"fileNamePrefix": "a", "daysFromHidingToDeleting": "1"}],
        [{**HIDING, "fileNamePrefix": "a"}, {**HIDING, "fileNamePrefix": "ab"}],
        [{**HIDING, "fileNamePrefix": f"{n:03}"} for n in range(101)],
    ],
)
def test_bad_rules(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ApiError):
        check_lifecycle(rules)

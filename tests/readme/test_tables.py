"""What README tells of `status --json` is all there is, and the other way round."""

from __future__ import annotations

import re

import attrs

from b2mount.filesystem.status import BudgetStatus, CallCounts, MountStatus, PendingFile, TroubleStatus
from tests.readme.blocks import README


def names_of(*kinds: type) -> set[str]:
    return {field.name for kind in kinds for field in attrs.fields(kind)}


def test_every_field_of_status_is_told() -> None:
    table = README.partition("`b2mount status --json MOUNTPOINT` is")[2].partition("\n\nCompletion")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    fields = {name for row in rows for name in re.findall("`([a-z_]+)`", row.split("|")[1])}
    assert fields == names_of(MountStatus)
    inside = {name for row in rows for name in re.findall("`([a-z_]+)`", row.split("|")[2])}
    assert inside == names_of(PendingFile, CallCounts, BudgetStatus, TroubleStatus)


def test_links_within_readme_lead_somewhere() -> None:
    headings = re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors

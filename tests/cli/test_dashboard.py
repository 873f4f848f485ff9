"""The Grafana dashboard shows metrics that there are, with the labels that they have."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import combinations
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from b2mount.cli.main import main
from b2mount.control.metrics import OperationCounts, StatusCollector
from tests.control.test_metrics import STATUS

Board = dict[str, Any]


@pytest.fixture
def board(capsys: pytest.CaptureFixture[str]) -> Board:
    assert main(["dashboard"]) == 0
    made: Board = json.loads(capsys.readouterr().out)
    return made


def exported() -> dict[str, set[str]]:
    """The labels of every series that a mount serves; `instance` is Prometheus's own."""
    counts = OperationCounts()
    counts.registry.register(StatusCollector(lambda: STATUS))
    counts.observe("read", 0.1, "EIO")
    found: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(generate_latest(counts.registry).decode()):
        for sample in family.samples:
            found[sample.name] |= {*sample.labels, "instance"}
    return found


def test_every_metric_and_label_is_one_of_ours(board: Board) -> None:
    series = exported()
    shown = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"b2mount_\w+", target["expr"]))
            assert used, panel["title"]
            assert used <= series.keys()
            labels = set.intersection(*(series[name] for name in used))
            given = re.findall(r"by \(([^)]*)\)", target["expr"])
            asked = {label.strip() for group in given for label in group.split(",")}
            asked |= set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            asked |= set(re.findall(r'(\w+)=~?"', target["expr"]))
            assert asked <= labels, panel["title"]
            shown |= used
    assert {name for name in series if not name.endswith(("_created", "_sum"))} == shown
    (variable,) = (each for each in board["templating"]["list"] if each["name"] == "instance")
    assert set(re.findall(r"b2mount_\w+", variable["query"])) <= series.keys()


def test_no_panel_lies_on_another(board: Board) -> None:
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below

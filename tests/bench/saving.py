"""Every round's figures in a file, written as they come, so that an interrupted run keeps its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.bench.measure import Failure, Measurement, Result, Traffic, median
from tests.bench.table import Row

Round = Mapping[tuple[str, str], Result]
"""By row and peer."""


@attrs.define(eq=False)
class Saved:
    """A run: what was compared on what, and its rounds. The last round may lack rows."""

    heading: list[str]
    peers: list[str]
    """The reference first."""
    rounds: list[dict[tuple[str, str], Result]] = attrs.field(factory=list)

    def rows(self) -> list[Row]:
        """The medians of what there is, in the order of the run."""
        titles = dict.fromkeys(title for results in self.rounds for title, _ in results)
        return [Row(title, self._row(title)) for title in titles]

    def _row(self, title: str) -> dict[str, Result]:
        found = {
            peer: [results[title, peer] for results in self.rounds if (title, peer) in results]
            for peer in self.peers
        }
        return {peer: median(results) for peer, results in found.items() if results}

    def write(self, path: Path) -> None:
        """All of it, or what was there before."""
        text = json.dumps(
            {
                "heading": self.heading,
                "peers": self.peers,
                "rounds": [as_documents(results) for results in self.rounds],
            }
        )
        new = path.with_name(f"{path.name}.new")
        new.write_text(text + "\n")
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> Saved:
        """What `write` wrote. Raises OSError, ValueError, KeyError for anything else."""
        document = json.loads(path.read_text())
        rounds = [{_key(item): _result(item) for item in results} for results in document["rounds"]]
        return cls(document["heading"], document["peers"], rounds)


def as_documents(results: Round) -> list[dict[str, object]]:
    """One object for each row and peer."""
    return [{"row": row, "peer": peer, **attrs.asdict(result)} for (row, peer), result in results.items()]


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["row"], item["peer"]


def _result(item: Mapping[str, Any]) -> Result:
    if "reason" in item:
        return Failure(item["reason"])
    return Measurement(
        item["seconds"],
        Traffic(**item["traffic"]),
        item["cpu_seconds"],
        item["peak_memory"],
        progress=tuple((sent, received) for sent, received in item["progress"]),
    )

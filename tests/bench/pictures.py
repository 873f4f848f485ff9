"""`python -m tests.bench.pictures FILE FOLDER`: what `python -m tests.bench --save FILE` found, as SVG.

Bars of time, calls and bytes for each row and peer, on log scales, with lines from the shortest to the
longest round; and the bytes of the first read and of the first copy over time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
from matplotlib.figure import Figure

from tests.bench.drawing import COLOURS, INK, legend, number, panel, save, title
from tests.bench.measure import Measurement
from tests.bench.sampler import INTERVAL, Progress
from tests.bench.saving import Saved
from tests.bench.table import MB, Row

THICK: Final = 0.8
"""Of the bars of one row together; rows are 1 apart."""
COURSES: Final = (("reading", "read 512 MiB, cold", 1), ("writing", "cp of 256 MiB", 0))
"""A picture's name, the row that it is of, and which bytes of its progress count."""
SMOOTHED: Final = 5
"""Samples in a point of a course: half a second."""


@attrs.frozen
class Bars:
    """One picture: a figure of every measurement."""

    name: str
    title: str
    figure: Callable[[Measurement], float]
    least: float
    """Where the scale begins; what is less is not drawn, only said."""


BARS: Final = (
    Bars("time", "Seconds, less is better", lambda m: m.seconds, 0.01),
    Bars(
        "calls",
        "Calls that B2 counts, less is better",
        lambda m: m.traffic.class_a + m.traffic.class_b + m.traffic.class_c,
        0.5,
    ),
    Bars(
        "bytes",
        "MB to and from B2, less is better",
        lambda m: (m.traffic.sent + m.traffic.received) / MB,
        0.01,
    ),
)


def draw_bars(rows: Sequence[Row], peers: Sequence[str], bars: Bars) -> Figure:
    """A group of bars for each row, from the top down."""
    figure = Figure(figsize=(8, 0.8 + len(rows) * (0.12 + 0.16 * len(peers))))
    axes = panel(figure)
    step = THICK / len(peers)
    axes.set_xscale("log")
    for index, (peer, colour) in enumerate(zip(peers, COLOURS, strict=False)):
        for place, row in enumerate(rows):
            result = row.results.get(peer)
            y = place - THICK / 2 + (index + 0.5) * step
            if not isinstance(result, Measurement):
                axes.text(
                    bars.least,
                    y,
                    " failed" if result else " not measured",
                    va="center",
                    fontsize=6.5,
                    color=colour,
                )
                continue
            value = bars.figure(result)
            axes.barh(y, max(0.0, value - bars.least), step * 0.85, left=bars.least, color=colour)
            end = max(value, bars.least)
            if bars.name == "time" and result.span:
                axes.plot(result.span, (y, y), color=INK, linewidth=0.8)
                end = max(end, result.span[1])
            axes.text(end, y, f" {number(value)}", va="center", fontsize=6.5, color=colour)
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=bars.least)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    title(axes, bars.title)
    legend(axes, peers)
    return figure


def rates(progress: Progress, which: int) -> list[tuple[float, float]]:
    """MB/s over the seconds since the beginning, each the mean of SMOOTHED samples around it."""
    done = [0, *(sample[which] for sample in progress)]
    points: list[tuple[float, float]] = []
    for end in range(1, len(done)):
        first = max(0, end - SMOOTHED)
        points.append((end * INTERVAL, (done[end] - done[first]) / ((end - first) * INTERVAL) / MB))
    return points


def draw_course(row: Row, peers: Sequence[str], which: int) -> Figure:
    """A line for each peer, that ends where it was done."""
    figure = Figure(figsize=(8, 3))
    axes = panel(figure)
    for peer, colour in zip(peers, COLOURS, strict=False):
        result = row.results.get(peer)
        if not isinstance(result, Measurement) or not result.progress:
            continue
        points = rates(result.progress, which)
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6)
        axes.plot(*points[-1], "o", color=colour, markersize=4)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds; the dot is where the work was done")
    axes.set_ylabel("MB/s between B2 and the mount")
    title(axes, row.title)
    legend(axes, peers)
    return figure


def draw_all(saved: Saved, folder: Path, kind: str) -> list[Path]:
    """The pictures' files."""
    rows = saved.rows()
    made = {bars.name: draw_bars(rows, saved.peers, bars) for bars in BARS}
    for name, row_title, which in COURSES:
        for row in rows:
            if row.title == row_title:
                made[name] = draw_course(row, saved.peers, which)
    paths = [folder / f"{name}.{kind}" for name in made]
    for path, figure in zip(paths, made.values(), strict=True):
        save(figure, path)
    return paths


def main() -> None:
    """Print the names of the files."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pictures", description=__doc__)
    parser.add_argument("file", type=Path, help="what --save wrote")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=("svg", "png"), default="svg")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in draw_all(Saved.read(options.file), options.folder, options.kind):
        print(path)


if __name__ == "__main__":
    main()

"""`python -m tests.bench.growth`: what 1, 10, 100, 1,000, ... of something cost a mount.

Each figure is of a fresh mount with an empty cache. The slope is that of a straight line through the
logarithms: 1 is in proportion, 0 is the same however many. `--save` keeps each figure as it comes, and
`--picture` draws them. Files grow in a bucket by pieces of one text that take no room there; what is written
takes room twice.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

import attrs
from matplotlib.figure import Figure

from tests.bench.drawing import COLOURS, number, panel, save
from tests.bench.emulator import Emulator, emulator
from tests.bench.growing import AXES, Axis
from tests.bench.library import MIB, Library
from tests.bench.line import UNSHAPED, add_line_options, chosen_line
from tests.bench.peers import B2MOUNT, MountPlan, mounted
from tests.bench.watchdog import limit

WITHIN: Final = 3600.0
FIGURES: Final = ("seconds", "calls", "MB moved", "CPU s", "peak MB")


@attrs.frozen
class Point:
    """What `count` of something cost."""

    count: int
    figures: Mapping[str, float]
    """By FIGURES."""


def slope(points: Sequence[Point], figure: str) -> float | None:
    """Of the logarithms; None when fewer than two points have a figure above zero."""
    pairs = [(math.log(p.count), math.log(p.figures[figure])) for p in points if p.figures[figure] > 0]
    if len({x for x, _ in pairs}) < 2:
        return None
    return statistics.linear_regression(*zip(*pairs, strict=True)).slope


def table(axis: str, points: Sequence[Point]) -> str:
    """In Markdown, the slopes in the last line."""
    out = [f"| {axis} | {' | '.join(FIGURES)} |", f"| ---: |{' ---: |' * len(FIGURES)}"]
    out += [
        f"| {point.count:,} | {' | '.join(f'{point.figures[name]:,.2f}' for name in FIGURES)} |"
        for point in points
    ]
    slopes = [slope(points, name) for name in FIGURES]
    return "\n".join([*out, f"| slope | {' | '.join('-' if s is None else f'{s:.2f}' for s in slopes)} |"])


def draw(found: Mapping[str, Sequence[Point]]) -> Figure:
    """A panel for each figure, a line for each axis, named at its end."""
    shown = FIGURES[:2] + FIGURES[3:]
    figure = Figure(figsize=(10, 8), layout="tight")
    for place, name in enumerate(shown, 1):
        axes = panel(figure, 2, 2, place)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(name, loc="left", fontweight="bold")
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        axes.yaxis.set_major_formatter(lambda value, _: number(value))
        axes.margins(x=0.25)
        lines = {axis: _line(points, name) for axis, points in found.items()}
        lowest, highest = decades(figure for line in lines.values() for _, figure in line)
        axes.set_ylim(lowest, highest)
        axes.minorticks_off()
        heights = apart([line[-1][1] if line else 1 for line in lines.values()], lowest, highest)
        for colour, height, (axis, line) in zip(cycle(COLOURS), heights, lines.items(), strict=False):
            if line:
                axes.plot(*zip(*line, strict=True), "o-", color=colour, markersize=3, linewidth=1.2)
                axes.annotate(f" {axis}", (line[-1][0], height), color=colour, fontsize=7, va="center")
    return figure


def _line(points: Sequence[Point], name: str) -> list[tuple[int, float]]:
    return [(point.count, point.figures[name]) for point in points if point.figures[name] > 0]


def decades(figures: Iterable[float]) -> tuple[float, float]:
    """The powers of ten around all figures."""
    logs = [math.log10(figure) for figure in figures] or [0]
    lowest = math.floor(min(logs))
    return 10.0**lowest, 10.0 ** max(lowest + 1, math.ceil(max(logs)))


def apart(heights: Sequence[float], lowest: float, highest: float) -> list[float]:
    """Places for names beside these, in the same order of height and none on another, on a log scale."""
    step = math.log10(highest / lowest) / 24
    places, free = list(heights), -math.inf
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        free = max(free, math.log10(heights[index]))
        places[index] = 10.0**free
        free += step
    return places


def play(server: Emulator, axis: Axis, counts: Sequence[int], folder: Path) -> Iterator[Point]:
    """A mount for each count."""
    for count in counts:
        place = folder / f"{axis.name}-{count}"
        place.mkdir()
        bucket = f"growth-{axis.name}-{count}"
        axis.fill(server, bucket, count)
        plan = MountPlan(server.access(), bucket, place)
        with server.shaped(), mounted(B2MOUNT, plan) as mount:
            server.wait_until_quiet()
            before, used = server.activity(), mount.use()
            with limit(WITHIN, mount.destroy):
                seconds = axis.work(mount.path, count)
            server.wait_until_quiet()
            traffic, use = server.activity().traffic.since(before.traffic), mount.use()
            mount.unmount()
        calls = server.activity().requests - before.requests
        moved = (traffic.sent + traffic.received) / 1e6
        costs = (seconds, calls, moved, use.cpu_seconds - used.cpu_seconds, use.peak_memory / 1e6)
        yield Point(count, dict(zip(FIGURES, costs, strict=True)))
        server.remove_bucket(bucket)


def powers(most: int) -> list[int]:
    """1, 10, 100, ... up to and with `most` itself."""
    found = [10**power for power in range(len(str(most))) if 10**power < most]
    return [*found, most]


def main() -> int:
    """Print a table for each axis, as soon as it is complete."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES), metavar="NAME")
    parser.add_argument("--up-to", type=int, metavar="N", help="instead of each axis's own end")
    parser.add_argument("--save", type=Path, metavar="FILE", help="each figure as it comes, in JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="an SVG or PNG")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on a disk with room")
    add_line_options(parser, UNSHAPED)
    parser.epilog = "; ".join(f"{a.name}: {a.what}, up to {a.most:,}" for a in AXES.values())
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: what is mounted is unmounted
    found: dict[str, list[Point]] = {}
    line = chosen_line(options)
    temporary = tempfile.TemporaryDirectory(prefix="b2mount-bench-", dir=options.folder)
    with temporary as name, emulator(Path(name) / "emulator", line) as server:
        server.store_library(Library.write(Path(name) / "library", 64 * MIB).path)
        for axis in (AXES[name] for name in options.axis):
            points = found.setdefault(axis.name, [])
            for point in play(server, axis, powers(options.up_to or axis.most), Path(name)):
                points.append(point)
                print(f"{axis.name}, {point.count:,}: {point.figures['seconds']:.2f} s", file=sys.stderr)
                if options.save:
                    document = {axis: [attrs.asdict(p) for p in points] for axis, points in found.items()}
                    options.save.write_text(json.dumps(document, indent=1) + "\n")
            print(f"{axis.what}; {line}", "", table(axis.name, points), "", sep="\n", flush=True)
            if options.picture:
                save(draw(found), options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())

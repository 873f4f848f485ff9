"""How all pictures of the benchmarks look: light, named beside the data, text as text in small SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = ("#0b62a4", "#d9730d", "#8a8a8a", "#3a9d5d", "#9b51a5", "#b5a21a", "#444444")
"""The first one is the reference's."""
INK: Final = "#333333"
FAINT: Final = "#dddddd"

mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "b2mount",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.edgecolor": FAINT,
    }
)


def panel(figure: Figure, *position: int) -> Axes:
    """A place for data with nothing but a faint grid."""
    axes = figure.add_subplot(*position)
    axes.spines[:].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)
    return axes


def title(axes: Axes, text: str) -> None:
    """Above, at the left."""
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", pad=24)


def legend(axes: Axes, names: Sequence[str]) -> None:
    """The names in their colours, under the title."""
    handles = [
        axes.plot([], [], color=colour, linewidth=5)[0] for colour, _ in zip(COLOURS, names, strict=False)
    ]
    axes.legend(
        handles, names, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(names), frameon=False,
        labelcolor="linecolor", handlelength=0.8, borderaxespad=0.1, columnspacing=1.4,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """The same bytes for the same data."""
    figure.savefig(
        path,
        bbox_inches="tight",
        facecolor="white",
        metadata=None if path.suffix == ".png" else {"Date": None},
    )


def number(value: float) -> str:
    """In three digits or fewer where it can be, as people write it."""
    if value >= 1e6:
        return f"{value / 1e6:,.3g} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

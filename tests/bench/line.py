"""The line between a peer and its B2: how slow it is, and how many requests fail on it."""

from __future__ import annotations

import argparse
from types import MappingProxyType
from typing import Final

import attrs

from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.shaping import Shape


@attrs.frozen
class Line:
    """A line by name."""

    name: str
    words: str
    shape: Shape
    failing: float = 0.0
    """The share of requests that fail: half of them are refused (503, nothing was done), of the others
    the connection is cut when the work is done."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The same each time."""
        if not self.failing:
            return ()
        refused = Fault(probability=self.failing / 2, seed=1, status=503)
        cut = Fault(FaultKind.DROP_AFTER, probability=self.failing / 2, seed=2)
        return (refused, cut)

    def __str__(self) -> str:
        return f"{self.words}; {self.failing:.1%} of requests fail" if self.failing else self.words


def far(milliseconds: float) -> Line:
    """The usual rates, and so long to the first byte."""
    return Line(
        f"{milliseconds:g} ms",
        f"{milliseconds:g} ms to the first byte, 25 MB/s a connection, 125 MB/s in all",
        Shape(milliseconds, 25e6, 125e6),
    )


def narrow(name: str, bits: float) -> Line:
    """40 ms to the first byte, and so many bits a second in all."""
    return Line(name, f"40 ms to the first byte, {name} in all", Shape(40, total_bytes_per_second=bits / 8))


USUAL: Final = far(40)
UNSHAPED: Final = Line("unshaped", "a line without limits", Shape())
LINES: Final = MappingProxyType(
    {
        line.name: line
        for line in (
            far(5),
            USUAL,
            far(150),
            narrow("10 Mbit/s", 10e6),
            narrow("1 Gbit/s", 1e9),
            UNSHAPED,
            attrs.evolve(USUAL, name="40 ms, 1 % fail", failing=0.01),
        )
    }
)


def add_line_options(parser: argparse.ArgumentParser, default: Line) -> None:
    """`--line` and `--failing`."""
    names = ", ".join(f'"{name}"' for name in LINES).replace("%", "%%")
    parser.add_argument("--line", choices=LINES, default=default.name, metavar="NAME", help=f"one of {names}")
    parser.add_argument("--failing", type=float, metavar="SHARE", help="of the requests, as 0.01")


def chosen_line(options: argparse.Namespace) -> Line:
    """What the two options say."""
    line: Line = LINES[options.line]
    return line if options.failing is None else attrs.evolve(line, failing=options.failing)

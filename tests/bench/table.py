"""The report: rows of results as aligned text or as Markdown.

Each row of the benchmark is one line for each peer; a figure of another peer is followed by how
many times the first peer's it is. Pure: results in, text out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.bench.measure import Failure, Measurement, Result

MB = 1_000_000


@attrs.frozen
class Row:
    """One thing that was measured, and what each peer made of it, the reference first."""

    title: str
    results: Mapping[str, Result]


@attrs.frozen
class Column:
    """One figure of a measurement, as text; `floor` is below what a ratio would mean nothing."""

    title: str
    figure: Callable[[Measurement], float]
    decimals: int
    floor: float


COLUMNS = (
    Column("seconds", lambda m: m.seconds, 2, 0.005),
    Column("A", lambda m: m.traffic.class_a, 0, 1),
    Column("B", lambda m: m.traffic.class_b, 0, 1),
    Column("C", lambda m: m.traffic.class_c, 0, 1),
    Column("sent MB", lambda m: m.traffic.sent / MB, 1, 0.1),
    Column("received MB", lambda m: m.traffic.received / MB, 1, 0.1),
    Column("CPU s", lambda m: m.cpu_seconds, 2, 0.02),
    Column("peak MB", lambda m: m.peak_memory / MB, 0, 1),
)


def ratio(value: float, reference: float, floor: float) -> str:
    """How many times `reference` is `value`, in few digits; empty where either is too small to tell."""
    if min(value, reference) < floor:
        return ""
    times = value / reference
    return f"{times:.0f}x" if times >= 9.95 else f"{times:.1f}x" if times >= 0.095 else f"{times:.2f}x"


def cell(column: Column, result: Measurement, reference: Measurement | None) -> str:
    """One figure, with its ratio to the reference where there is one."""
    value = column.figure(result)
    text = f"{value:,.{column.decimals}f}"
    times = ratio(value, column.figure(reference), column.floor) if reference else ""
    return f"{text} ({times})" if times else text


def cells(rows: Sequence[Row]) -> tuple[list[list[str]], list[str]]:
    """The table without its heading, and the numbered notes that it refers to."""
    lines: list[list[str]] = []
    notes: list[str] = []
    for row in rows:
        reference: Measurement | None = None
        for index, (peer, result) in enumerate(row.results.items()):
            title = row.title if index == 0 else ""
            if isinstance(result, Failure):
                notes.append(f"{row.title}, {peer}: {result.reason}")
                lines.append([title, peer, f"failed [{len(notes)}]", *("" for _ in COLUMNS[1:])])
                continue
            lines.append([title, peer, *(cell(column, result, reference) for column in COLUMNS)])
            reference = result if index == 0 else reference
    return lines, notes


def span_cells(rows: Sequence[Row]) -> list[str]:
    """The shortest and the longest round of each line; nothing where no row had several."""
    results = [result for row in rows for result in row.results.values()]
    spans = [result.span if isinstance(result, Measurement) else None for result in results]
    return [f"{span[0]:.2f} - {span[1]:.2f}" if span else "" for span in spans] if any(spans) else []


def whole(rows: Sequence[Row]) -> tuple[list[list[str]], list[str]]:
    """The table with its heading, the spread of the rounds after their seconds, and the notes."""
    lines, notes = cells(rows)
    table = [["", "", *(column.title for column in COLUMNS)], *lines]
    if spans := span_cells(rows):
        table = [[*line[:3], span, *line[3:]] for line, span in zip(table, ["rounds", *spans], strict=True)]
    return table, notes


def text_table(rows: Sequence[Row]) -> str:
    """Aligned columns for a terminal, a blank line between rows, the notes below."""
    table, notes = whole(rows)
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    out: list[str] = []
    for line in table:
        padded = [text.rjust(width) for text, width in zip(line, widths, strict=True)]
        padded[:2] = [text.ljust(width) for text, width in zip(line[:2], widths, strict=False)]
        out += ["", "  ".join(padded).rstrip()] if line[0] else ["  ".join(padded).rstrip()]
    return "\n".join([*out, *_notes(notes)])


def markdown_table(rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    table, notes = whole(rows)
    rule = ["---", "---", *("---:" for _ in table[0][2:])]
    out = [f"| {' | '.join(_escaped(text) for text in line)} |" for line in [table[0], rule, *table[1:]]]
    return "\n".join([*out, *_notes(notes)])


def _notes(notes: Sequence[str]) -> list[str]:
    return ["", *(f"[{number}] {note}" for number, note in enumerate(notes, 1))] if notes else []


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")

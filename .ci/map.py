"""Prints which part of b2mount imports which, lowest first, from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "b2mount"


def imported(module: Path) -> Iterator[str]:
    """The parts of b2mount that a module imports."""
    for node in ast.walk(ast.parse(module.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.split(".")[1] for name in names if name.startswith("b2mount."))


def part(module: Path) -> str:
    """The top-level module or folder that a module belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def edges() -> dict[str, set[str]]:
    """What each part imports of the others."""
    found: dict[str, set[str]] = {}
    for module in sorted(PACKAGE.rglob("*.py")):
        name = part(module)
        if not name.startswith("__"):
            found.setdefault(name, set()).update(set(imported(module)) - {name})
    return found


def main() -> None:
    """Print each part once everything that it imports has been printed."""
    left = edges()
    done: set[str] = set()
    while left:
        ready = sorted(name for name, below in left.items() if below <= done)
        for name in ready:
            print(f"{name:<12} {' '.join(sorted(left.pop(name))) or '-'}")
        if not ready:
            raise SystemExit(f"a cycle among {', '.join(left)}")
        done.update(ready)


if __name__ == "__main__":
    main()

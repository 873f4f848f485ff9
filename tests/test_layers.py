"""The import map of b2mount, held: who may import whom, and what stands where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import b2mount

PACKAGE = Path(b2mount.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = {
    "model",
    "errors",
    "options",
    "option_values",
    "budget",
    "moments",
    "plain_text",
    "private_directory",
}
STACK = {"store", "namespace", "reading", "writing", "filesystem"}
ENDING = {"draining", "service_manager", "waking", "recent_troubles"}
BELOW: dict[str, set[str]] = {
    "model": set(),
    "errors": set(),
    "budget": set(),
    "option_values": set(),
    "options": {"errors", "model", "budget", "option_values", "moments"},
    "moments": set(),
    "plain_text": set(),
    "private_directory": {"errors"},
    "threads": set(),
    "emulator": set(),
    "store": {*LEAVES, "threads"},
    "namespace": {*LEAVES, "threads", "store"},
    "reading": {*LEAVES, "threads", "store"},
    "writing": {*LEAVES, "threads", "store"},
    "filesystem": {*LEAVES, "threads", "store", "namespace", "reading", "writing"},
    "fuse": {*LEAVES, "filesystem"},
    "control": {*LEAVES, "threads", "filesystem"},
    "access": {*LEAVES, "store"},
    "costs": {*LEAVES, "threads", "store", "filesystem"},
    "process": set(),
    "service_manager": set(),
    "waking": set(),
    "recent_troubles": set(),
    "draining": {*LEAVES, "filesystem", "writing"},
    "answers": {*LEAVES, "filesystem", "namespace", "reading", "access", "costs", "recent_troubles"},
    "mount": {*LEAVES, "threads", *STACK, "access", "answers", "costs", "process", "fuse", "control"}
    | ENDING,
    "cli": {*LEAVES, "mount", "access", "control", "emulator", "store", "filesystem", "writing"},
    "__main__": {"cli"},
    "__init__": set(),
}
SERVICES = {"namespace", "reading", "writing", "filesystem"}
"""They know the store as a protocol only; the class is chosen in mount."""


def unit(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_module(module: Path) -> None:
    own = unit(module)
    names = set(imports(module))
    ours = {name.split(".")[1] for name in names if name.startswith("b2mount.")}
    assert ours - {own} <= BELOW[own], f"{module} may not import {ours - {own} - BELOW[own]}"
    if own in SERVICES:
        stores = {name for name in names if name.startswith("b2mount.store.")}
        assert all(name.startswith("b2mount.store.interface") for name in stores)
    if own in {"cli", "control"}:  # the doors know what a mount says of itself, not how it works
        inside = {name for name in names if name.startswith("b2mount.filesystem.")}
        assert all(name.startswith("b2mount.filesystem.status") for name in inside)
        inside = {name for name in names if name.startswith("b2mount.writing.")}
        assert all(name.startswith("b2mount.writing.leftovers") for name in inside)
    top = {name.split(".")[0] for name in names}
    assert "b2sdk" not in top or own == "store"
    assert "pyfuse3" not in top or own in {"fuse", "mount"}
    assert "errno" not in top or module.name == "errno_map.py"
    text = module.read_text()
    assert "to_thread" not in text or own == "threads"
    assert "TYPE_CHECKING" not in text
    assert text.count("\n") < 400, f"{module} has grown past 400 lines"
    nodes = list(ast.walk(ast.parse(text)))
    functions = (n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    inner = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not inner, f"{module}: import inside a function"


def test_siblings_are_strangers() -> None:
    for name in ("namespace", "reading", "writing"):
        assert not BELOW[name] & {"namespace", "reading", "writing"}


def test_no_cycle_between_modules() -> None:
    graph: dict[str, set[str]] = {}
    known = {".".join(m.relative_to(PACKAGE.parent).with_suffix("").parts) for m in MODULES}
    for module in MODULES:
        name = ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts)
        graph[name] = {i for i in imports(module) if i in known and i != name}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"cycle: {' -> '.join((*above, name))}"
        if name not in done:
            for below in graph[name]:
                visit(below, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())

"""The cases by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.mounted.conformance.scene import Scene

Case = Callable[[Scene], None]
CASES: Final[dict[str, Case]] = {}


def case(name: str) -> Callable[[Case], Case]:
    """Registers a case."""

    def register(function: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return register

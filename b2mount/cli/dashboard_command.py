"""b2mount dashboard: a Grafana dashboard of what `--metrics` serves."""

from __future__ import annotations

from argparse import Namespace
from importlib import resources

import b2mount.control


def execute(arguments: Namespace) -> int:
    """Prints it, to be imported by Grafana."""
    print(resources.files(b2mount.control).joinpath("grafana.json").read_text(encoding="utf-8"), end="")
    return 0

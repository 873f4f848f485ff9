"""The process that libFuzzer runs in: python -m tests.fuzz.under_atheris TARGET [libFuzzer's arguments]."""

from __future__ import annotations

import logging
import sys
import warnings
from importlib import import_module

import atheris

with atheris.instrument_imports(include=["b2mount", "dateparser"]):
    import_module("dateparser")  # b2mount loads it when it is needed
    from tests.fuzz.all_targets import TARGETS


def main() -> None:
    """Ends the process, as libFuzzer does."""
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

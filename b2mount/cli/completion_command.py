"""b2mount completion: what makes a shell complete b2mount's command lines, made from the grammar."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Final

import shtab

from b2mount.cli.parser import Parser, make_parser
from b2mount.options import LOG_LEVELS

FILES: Final = frozenset({"PATH", "FILE"})
DIRECTORIES: Final = frozenset({"MOUNTPOINT", "DIR"})
WORDS: Final = {"LEVEL": LOG_LEVELS, "hide|delete": ("hide", "delete")}


def execute(arguments: Namespace) -> int:
    """Prints it."""
    print(completion(arguments.shell))
    return 0


def completion(shell: str) -> str:
    """The script for a shell, a name of SHELLS."""
    parser = make_parser(listed=True)
    for part in (parser, *subparsers(parser).values()):
        for action in part._actions:
            _teach(action)
    return str(shtab.complete(parser, shell))


def subparsers(parser: Parser) -> dict[str, Parser]:
    """The grammar of each command."""
    found = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def _teach(action: argparse.Action) -> None:
    """What a value is, where the shell knows values of that kind."""
    if action.metavar in WORDS:
        action.choices = WORDS[str(action.metavar)]
    elif action.metavar in FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's way of telling it
    elif action.metavar in DIRECTORIES:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as above

"""b2mount man: the manual pages b2mount(1) and mount.b2(8), made from the grammar and the options."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import Final

import b2mount
from b2mount.cli.completion_command import subparsers
from b2mount.cli.exit_codes import exit_code_rows
from b2mount.cli.parser import Parser, make_helper_parser, make_parser
from b2mount.options import OPTIONS

ESCAPES: Final = str.maketrans(
    {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha", '"': "\\(dq"}
)
ENVIRONMENT: Final = (
    ("B2_APPLICATION_KEY_ID, B2_APPLICATION_KEY", "The application key, unless --credentials names a file."),
    ("B2_ACCOUNT_INFO", "Where the login of the b2 command line tool is, if not at its usual places."),
    ("B2_ENVIRONMENT", "Another B2, as for the b2 tool, or a URL."),
    ("XDG_CONFIG_HOME, XDG_CACHE_HOME", "Instead of ~/.config and ~/.cache."),
)
FILES: Final = (
    ("~/.config/b2mount/config.toml", "key_id and application_key, [defaults] and [mounts.NAME]."),
    ("~/.cache/b2mount", "Cached blocks, what is unsent, and logs. Without HOME: /var/cache/b2mount."),
)
CONFIGURATION: Final = """\
[defaults]
ttl = "5m"

[mounts.photos]
source = "my-bucket/photos"
mountpoint = "/mnt/photos"
write-back = true"""
FSTAB: Final = "my-bucket  /mnt/b2  b2  _netdev,nofail,allow_other,credentials=/etc/b2mount.json  0  0"


def execute(arguments: Namespace) -> int:
    """Prints one, for `man -l -` or a directory of manual pages."""
    print(main_page() if arguments.page == "b2mount" else helper_page())
    return 0


def main_page() -> str:
    """b2mount(1), in troff."""
    parser = make_parser()
    return "\n".join(
        [
            *_head("b2mount", "1", "mount a Backblaze B2 bucket as a directory"),
            *_synopsis("b2mount [mount] SOURCE [MOUNTPOINT] [options]", "b2mount COMMAND ..."),
            *_section("DESCRIPTION", str(parser.description), str(parser.epilog)),
            *_section("COMMANDS"),
            *(line for name, made in subparsers(parser).items() for line in _command(name, made)),
            *_section("OPTIONS OF A MOUNT", "Each has the same name after -o: -o read-only,ttl=5m."),
            *_list((option.usage, _meaning(option.help, option.shown)) for option in OPTIONS.values()),
            *_section(
                "CONFIGURATION FILE",
                "Options of every mount and mounts with names, as for `b2mount mount photos`. The command "
                "line counts more than the named mount, and that more than the defaults; b2://NAME is "
                "always a bucket.",
            ),
            *_example(CONFIGURATION),
            *_section("ENVIRONMENT"),
            *_list(ENVIRONMENT),
            *_section("FILES"),
            *_list(FILES),
            *_end("mount.b2(8), fusermount3(1), systemd.service(5)"),
        ]
    )


def helper_page() -> str:
    """mount.b2(8), in troff."""
    parser = make_helper_parser()
    return "\n".join(
        [
            *_head("mount.b2", "8", "mount a Backblaze B2 bucket from fstab"),
            *_synopsis(_usage(parser)),
            *_section("DESCRIPTION", str(parser.description)),
            *_list(_arguments(parser)),
            *_section("OPTIONS", "After -o, beside the words of fstab that are of every file system:"),
            *_list(
                (option.usage.removeprefix("--").replace(" ", "="), _meaning(option.help, option.shown))
                for option in OPTIONS.values()
            ),
            *_section("EXAMPLE", "In /etc/fstab:"),
            *_example(FSTAB),
            *_end("b2mount(1), mount(8), fstab(5)"),
        ]
    )


def _command(name: str, parser: Parser) -> Iterator[str]:
    yield f".SS {name}"
    yield from (".B " + _escaped(_usage(parser)), ".PP", _text(str(parser.description)))
    yield from _list(_arguments(parser))


def _arguments(parser: Parser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        value = "|".join(action.choices) if action.choices else str(action.metavar or "")
        names = ", ".join(action.option_strings)
        if action.nargs == 0:
            value = ""
        yield " ".join(word for word in (names, value) if word), action.help or ""


def _usage(parser: Parser) -> str:
    return " ".join(parser.format_usage().removeprefix("usage:").split())


def _meaning(text: str, default: str) -> str:
    return f"{text} Default: {default}." if default else text


# -- troff -------------------------------------------------------------------------------------


def _escaped(text: str) -> str:
    return text.translate(ESCAPES)


def _text(text: str) -> str:
    """A line of text; one that began with a dot would be a request."""
    escaped = _escaped(text)
    return "\\&" + escaped if escaped.startswith(".") else escaped


def _head(name: str, section: str, purpose: str) -> list[str]:
    title = f'.TH {name.upper()} {section} "" "b2mount {b2mount.__version__}"'
    return [title, ".SH NAME", f"{name} \\- {_escaped(purpose)}"]


def _synopsis(*lines: str) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for number, line in enumerate(lines):
        yield from ([".br"] if number else [])
        yield ".B " + _escaped(line)


def _section(title: str, *paragraphs: str) -> Iterator[str]:
    yield f".SH {title}"
    for number, paragraph in enumerate(paragraphs):
        yield from ([".PP"] if number else [])
        yield _text(paragraph)


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", ".B " + _escaped(term), _text(text))


def _example(text: str) -> list[str]:
    return [".PP", ".nf", ".RS 4", *(_text(line) for line in text.splitlines()), ".RE", ".fi"]


def _end(see_also: str) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    yield from _list((str(code), meaning) for code, meaning in exit_code_rows())
    yield from _section("SEE ALSO", see_also)

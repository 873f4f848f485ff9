"""The command line's grammar; the options of a mount come from the table in options.py."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Final, NoReturn

import b2mount
from b2mount.errors import UsageError
from b2mount.option_values import parse_duration
from b2mount.options import OPTIONS, Option, find_option, parse_words

COMMANDS: Final = {
    "mount": "mount a bucket, or a directory of it",
    "umount": "wait until everything is in B2, then unmount",
    "status": "what is mounted, what is unsent, cache, calls and cost",
    "flush": "send what is unsent now, and wait until it is in B2",
    "warm": "fetch files or trees into the cache",
    "evict": "drop files or trees from the cache",
    "refresh": "forget cached names, so that the next look asks B2",
    "versions": "the versions of a file, newest first",
    "restore": "make an old version of a file current again",
    "undelete": "bring back a deleted file, or all deleted files below a directory",
    "cp": "copy files and trees of a mount inside B2, without moving bytes",
    "url": "the URL of a file",
    "doctor": "what would keep a mount from working, and how to mend it",
    "unit": "print a systemd unit for the mounts of the configuration file",
    "dashboard": "print a Grafana dashboard of what --metrics serves",
    "completion": "print what makes a shell complete b2mount's command lines",
    "man": "print a manual page",
    "emulator": "a local B2 on 127.0.0.1, to try things out",
}


SHELLS: Final = ("bash", "zsh", "fish")
PAGES: Final = ("b2mount", "mount.b2")


class Parser(argparse.ArgumentParser):
    """An argparse parser that says what is wrong on one line, by raising UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


class _Setting(argparse.Action):
    """One option of a mount in its long form."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, name: object = None
    ) -> None:
        option = find_option(str(name).removeprefix("--"))
        text = None if isinstance(values, list) else str(values)
        namespace.settings = [*namespace.settings, (option.name.replace("-", "_"), option.value(text))]


class _Words(argparse.Action):
    """`-o name,name=value`."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, name: object = None
    ) -> None:
        namespace.settings = [*namespace.settings, *parse_words(str(values)).items()]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the arguments ask for; `command` names the command. A mount may leave its name out.

    Raises UsageError; help and version end the program, as argparse does.
    """
    words = _expand_bare(list(arguments))
    if not words:
        raise UsageError("what to do? see `b2mount --help`")
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    if words[0] not in COMMANDS and words[0] not in ("-h", "--help", "--version"):
        words.insert(0, "mount")
    parsed, unknown = make_parser().parse_known_args(words)
    if parsed.command == "mount" and parsed.mountpoint is None and unknown and unknown[0][:1] != "-":
        parsed.mountpoint = unknown.pop(0)  # argparse gives up on it at an option before it
    if unknown:
        name = unknown[0]
        if parsed.command in ("mount", "doctor") and name.startswith("--"):
            find_option(name[2:].partition("=")[0])
        raise UsageError(f"unknown argument {name!r} (see `b2mount {parsed.command} --help`)")
    return parsed


def parse_helper(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of a mount(8) helper. Raises UsageError."""
    return make_helper_parser().parse_args(arguments)


def make_helper_parser() -> Parser:
    """SOURCE DIRECTORY [-sfnvN] [-o words] [-t type]."""
    parser = Parser(prog="mount.b2", allow_abbrev=False, description="Called by mount(8) and from fstab.")
    _add_places(parser, both=True)
    parser.add_argument(
        "-o", dest="words", action="append", default=[], metavar="WORDS", help="options as name,name=value"
    )
    parser.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="leave out unknown words")
    parser.add_argument("-n", "-v", action="store_true", dest="ignored", help=argparse.SUPPRESS)
    parser.add_argument("-t", "-N", dest="ignored_value", help=argparse.SUPPRESS)
    return parser


def make_parser(*, listed: bool = False) -> Parser:
    """The whole grammar. The options of a mount are no part of argparse's own help (the epilog has them,
    with what argparse can't say), unless they are to be `listed` for other readers of the grammar."""
    parser = Parser(
        prog="b2mount",
        allow_abbrev=False,
        description="Mount a Backblaze B2 bucket as a directory.",
        epilog="`b2mount SOURCE MOUNTPOINT` is short for `b2mount mount SOURCE MOUNTPOINT`.",
    )
    parser.add_argument("--version", action="version", version=f"b2mount {b2mount.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made = {
        name: commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, text in COMMANDS.items()
    }
    _add_mount(made["mount"], listed=listed)
    _add_control(made)
    _add_doctor(made["doctor"], listed=listed)
    made["completion"].add_argument("shell", choices=SHELLS, help="whose")
    made["man"].add_argument("page", nargs="?", choices=PAGES, default=PAGES[0], help="which one")
    made["emulator"].add_argument("--data", required=True, metavar="DIR", help="where it keeps everything")
    made["emulator"].add_argument("--port", type=_port, default=0, metavar="N", help="default: a free one")
    made["emulator"].add_argument(
        "--bucket", action="append", default=[], metavar="NAME", help="make this bucket if it is missing"
    )
    return parser


def _add_places(parser: Parser, *, both: bool) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="BUCKET[/DIRECTORY], b2://BUCKET[/DIRECTORY], b2:// for all buckets, or the NAME of a mount "
        "in the configuration file",
    )
    parser.add_argument(
        "mountpoint",
        nargs=None if both else "?",
        metavar="MOUNTPOINT",
        help="an empty directory" + ("" if both else "; default: that of the named mount"),
    )


def _add_mount(parser: Parser, *, listed: bool) -> None:
    parser.usage = "b2mount mount SOURCE [MOUNTPOINT] [options]"
    _add_places(parser, both=False)
    _add_options(parser, listed=listed)


def _add_doctor(parser: Parser, *, listed: bool) -> None:
    parser.usage = "b2mount doctor [SOURCE] [--json] [options of the mount]"
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="what you want to mount; its old versions are counted too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_options(parser, listed=listed)


def _add_options(parser: Parser, *, listed: bool) -> None:
    parser.set_defaults(settings=[])
    parser.add_argument(
        "-o", action=_Words, metavar="WORDS", help="options as name,name=value; ro is read-only"
    )
    for option in OPTIONS.values():
        parser.add_argument(
            f"--{option.name}",
            action=_Setting,
            # without its value it is a word of its own: see _expand_bare
            nargs=0 if not option.takes_value or (listed and option.bare is not None) else None,
            metavar=option.metavar,
            help=option.help.replace("%", "%%") if listed else argparse.SUPPRESS,
        )
    parser.epilog = "mount options:\n" + "\n".join(_help_of(option) for option in OPTIONS.values())


def _add_control(made: dict[str, Parser]) -> None:
    made["umount"].add_argument("mountpoint", metavar="MOUNTPOINT", help="where it is mounted")
    made["umount"].add_argument(
        "--timeout", type=_duration, metavar="TIME", help="give up after TIME and stay mounted"
    )
    made["umount"].add_argument(
        "--now", action="store_true", help="don't wait: what is unsent stays staged for the next mount"
    )
    made["status"].add_argument("mountpoint", nargs="?", metavar="MOUNTPOINT", help="default: every mount")
    made["status"].add_argument("--json", action="store_true", help="print JSON")
    made["status"].add_argument("--watch", action="store_true", help="print it every second, until Ctrl-C")
    for name in ("flush", "refresh"):
        made[name].add_argument("path", nargs="?", metavar="PATH", help="default: every mount")
    for name in ("warm", "evict"):
        made[name].add_argument("paths", nargs="+", metavar="PATH", help="a directory: all below it")
    for name in ("versions", "restore", "undelete", "url"):
        made[name].add_argument("path", metavar="PATH", help="below a mount point")
    made["versions"].add_argument("--json", action="store_true", help="print JSON")
    which = made["restore"].add_mutually_exclusive_group()
    which.add_argument("--version", metavar="ID", help="this version; default: the one before the current")
    which.add_argument("--at", metavar="MOMENT", help="the version of that moment, such as '2 days ago'")
    made["cp"].add_argument("-r", "--recursive", action="store_true", help="directories with all in them")
    made["cp"].add_argument(
        "paths", nargs="+", metavar="PATH", help="SOURCE... DEST, all of them below one mount point"
    )
    made["url"].add_argument(
        "--expires", type=_duration, metavar="TIME", help="make one that needs no key for TIME, 7d at most"
    )


def _help_of(option: Option) -> str:
    text = option.help + (f" Default: {option.shown}." if option.shown else "")
    indent = " " * 26
    head = f"  {option.usage}".ljust(len(indent) - 1) + " "
    lines = textwrap.wrap(text, 74)
    if len(head) > len(indent):
        return "\n".join([head.rstrip(), *(indent + line for line in lines)])
    return "\n".join([head + lines[0], *(indent + line for line in lines[1:])])


def _expand_bare(words: list[str]) -> list[str]:
    """`--write-back` alone gets its value here: argparse would take the next word for it."""
    bare = {f"--{option.name}": option.bare for option in OPTIONS.values() if option.bare is not None}
    return [f"{word}={bare[word]}" if word in bare else word for word in words]


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a number up to 65535")
    return int(text)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

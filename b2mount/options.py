"""MountOptions: every setting of a mount, its default and its one-sentence reason.

The class is the one table of options: the command line, the words after `-o`, `--help` and the
README's table are all made from its fields.

Invariants: paths are absolute, because the mount leaves its directory when it goes to the
background; no field ever holds a secret.

Must not know: argparse, and who carries an option out.
"""

# ruff: noqa: RUF009  # _flag, _option and _computed are attrs.field with a row of the table

from __future__ import annotations

import difflib
import enum
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import attrs

from b2mount.budget import Budget, parse_budget
from b2mount.errors import UsageError
from b2mount.model import Encryption
from b2mount.moments import parse_moment
from b2mount.option_values import (
    Address,
    default_cache_dir,
    one_of,
    parse_address,
    parse_duration,
    parse_keep,
    parse_path,
    parse_rate,
    parse_size,
    parse_umask,
    parse_word,
    whole_number,
)

T = TypeVar("T")

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
BAR: Final = "\\|"
"""A vertical bar within a Markdown table."""

_GENERIC_WORDS: Final = (
    "defaults auto noauto user nouser users owner group nofail fail _netdev netdev rw async "
    "atime noatime relatime norelatime strictatime nostrictatime diratime nodiratime lazytime nolazytime "
    "suid nosuid dev nodev exec noexec iversion noiversion silent loud default_permissions"
)
FSTAB_WORDS: Final = frozenset(_GENERIC_WORDS.split())
"""What fstab, mount(8) and autofs say of every file system, and what is so anyway."""


class Unlink(enum.StrEnum):
    """What becomes of an object whose file is removed."""

    HIDE = "hide"
    DELETE = "delete"


@attrs.frozen
class EncryptionChoice:
    """What new versions are to be encrypted with."""

    mode: Encryption = Encryption.NONE
    """NONE leaves it to the bucket."""
    key_file: Path | None = None
    """Where the key is, for SSE-C."""


@attrs.frozen
class Source:
    """What is mounted: a bucket or a directory in it; an empty bucket is the whole account."""

    bucket: str
    prefix: str = ""
    """Empty, or the directory's name ending in a slash."""

    def __str__(self) -> str:
        return f"b2://{self.bucket}/{self.prefix}".removesuffix("/") if self.bucket else "b2://"


@attrs.frozen
class Option:
    """One row of the table."""

    name: str
    parse: Callable[[str], object]
    help: str
    metavar: str | None
    """None for a flag, which takes no value."""
    bare: str | None
    """The value meant when the name is given without one; None where a value must be given."""
    shown: str
    """The default as a person reads it."""

    @property
    def takes_value(self) -> bool:
        """Whether a value belongs to it."""
        return self.metavar is not None

    @property
    def usage(self) -> str:
        """The long form with its value, as help and README show it."""
        if self.metavar is None:
            return f"--{self.name}"
        return f"--{self.name} {self.metavar}" if self.bare is None else f"--{self.name}[={self.metavar}]"

    def value(self, text: str | None) -> object:
        """The value that `text` stands for. Raises UsageError, naming the option."""
        if self.metavar is None:
            if text is not None:
                raise UsageError(f"option {self.name} takes no value")
            return True
        if text is None:
            text = self.bare
        if text is None:
            raise UsageError(f"option {self.name} needs a value: {self.name}={self.metavar}")
        try:
            return self.parse(text)
        except ValueError as error:
            raise UsageError(f"option {self.name}: {error}") from None


def parse_source(text: str) -> Source:
    """`BUCKET[/PREFIX]`, `b2://BUCKET[/PREFIX]`, or `b2://` for the whole account.

    Raises UsageError.
    """
    rest = text.removeprefix("b2://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not bucket and (prefix or rest == text):
        raise UsageError(f"{text!r} names no bucket: write BUCKET, BUCKET/DIRECTORY or b2://BUCKET")
    if bucket and not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", bucket):
        raise UsageError(f"{bucket!r} can't be the name of a bucket: letters, digits and - only")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise UsageError(f"{prefix!r} is not a directory in a bucket")
    return Source(bucket, prefix + "/" if prefix else "")


def _unlink(text: str) -> Unlink:
    return Unlink(one_of(*Unlink)(text))


def _encryption(text: str) -> EncryptionChoice:
    if text == "b2":
        return EncryptionChoice(Encryption.SSE_B2)
    kind, colon, path = text.partition(":")
    if kind != "c" or not colon:
        raise ValueError(f"{text!r} is neither b2 nor c:KEYFILE")
    return EncryptionChoice(Encryption.SSE_C, parse_path(path))


# -- the table ------------------------------------------------------------------------------


def _flag(help_text: str) -> bool:
    return attrs.field(default=False, metadata={"help": help_text, "metavar": None})


def _option(
    default: T,
    parse: Callable[[str], T],
    metavar: str,
    help_text: str,
    *,
    shown: str = "",
    bare: str | None = None,
) -> T:
    row = {"help": help_text, "metavar": metavar, "parse": parse, "shown": shown, "bare": bare}
    return attrs.field(default=default, metadata=row)


def _computed(
    make: Callable[[], T], parse: Callable[[str], T], metavar: str, help_text: str, shown: str
) -> T:
    row = {"help": help_text, "metavar": metavar, "parse": parse, "shown": shown}
    return attrs.field(factory=make, metadata=row)


@attrs.frozen
class MountOptions:
    """What to mount, where, and how."""

    source: Source
    mountpoint: str

    foreground: bool = _flag("Stay in the foreground and log to stderr.")
    read_only: bool = _flag("Refuse every change.")
    at: int | None = _option(
        None,
        parse_moment,
        "MOMENT",
        "Mount what was there at a moment, such as 2026-01-31 or '2 days ago', read-only.",
        shown="now",
    )
    cache_dir: Path = _computed(
        default_cache_dir,
        parse_path,
        "DIR",
        "Where cached blocks and unsent files are kept.",
        "~/.cache/b2mount",
    )
    cache_size: int = _option(
        10 << 30, parse_size, "SIZE", "How much of the disk cached blocks may take.", shown="10G"
    )
    write_back: float | None = _option(
        None,
        parse_duration,
        "SECONDS",
        "Let close() return when a file is safe on the local disk and send it SECONDS after its last change.",
        bare="1",
        shown="off; 1 when given bare",
    )
    ttl: float = _option(
        60.0,
        parse_duration,
        "TIME",
        "How long names are believed before B2 is asked again.",
        shown="60",
    )
    uid: int = _computed(os.getuid, whole_number(0), "UID", "Owner of files that carry none.", "yours")
    gid: int = _computed(os.getgid, whole_number(0), "GID", "Group of files that carry none.", "yours")
    umask: int = _option(
        0o022, parse_umask, "OCTAL", "Permissions that files without a mode lack.", shown="022"
    )
    allow_other: bool = _flag("Let other users in, as far as the files' modes allow.")
    unlink: Unlink = _option(
        Unlink.HIDE,
        _unlink,
        "hide|delete",
        "Whether rm hides an object (it can be brought back) or deletes every version of it.",
        shown="hide",
    )
    encryption: EncryptionChoice = _option(
        EncryptionChoice(),
        _encryption,
        "b2|c:KEYFILE",
        "What B2 encrypts files with: a key of its own (b2), or yours (c:), readable by nobody else.",
        shown="the bucket's",
    )
    keep_versions: int | None = _option(
        None,
        parse_keep,
        "all|N",
        "How many versions of a file to keep: older ones that this mount made and superseded are deleted.",
        shown="all",
    )
    credentials: Path | None = _option(
        None, parse_path, "FILE", "JSON file with key_id and application_key, readable by nobody else."
    )
    profile: str | None = _option(
        None, parse_word, "NAME", "Profile of the b2 command line tool whose login is used."
    )
    limit_download: int | None = _option(
        None, parse_rate, "SIZE", "Bytes a second to read from B2 at most.", shown="no limit"
    )
    limit_upload: int | None = _option(
        None, parse_rate, "SIZE", "Bytes a second to send to B2 at most.", shown="no limit"
    )
    retry_for: float = _option(
        60.0, parse_duration, "TIME", "How long a read or write waits for an unreachable B2.", shown="60"
    )
    max_names: int = _option(
        1_200_000,  # a bucket of a million files, with its directories
        whole_number(1000),
        "N",
        "How many cached names to keep in memory; a million take about 250 MB.",
        shown="1200000",
    )
    budget: Budget | None = _option(
        None,
        parse_budget,
        "DOLLARS[/PERIOD]",
        "What B2 may cost in an hour, a day or a month (0.10/day, 2/month): at 80 % the mount warns, then "
        "believes names for ten times --ttl, 10 minutes at least, and fetches nothing ahead. Fails nothing.",
        shown="none",
    )
    metrics: Address | None = _option(
        None,
        parse_address,
        "ADDRESS",
        "Where Prometheus can read metrics, as 127.0.0.1:9469; whoever reaches it needs no password.",
        shown="nowhere",
    )
    log_level: str = _option(
        "info",
        one_of(*LOG_LEVELS),
        "LEVEL",
        "Least grave event to log: debug, info, warning, error.",
        shown="info",
    )
    log_file: Path | None = _option(
        None,
        parse_path,
        "FILE",
        "Where to log when in the background.",
        shown="a file in the cache directory",
    )


def _rows() -> Iterator[Option]:
    for field in attrs.fields(MountOptions):
        if "help" in field.metadata:
            row = field.metadata
            yield Option(
                field.name.replace("_", "-"),
                row.get("parse", str),
                row["help"],
                row["metavar"],
                row.get("bare"),
                row.get("shown", ""),
            )


OPTIONS: Final[dict[str, Option]] = {option.name: option for option in _rows()}
"""Every option by its long name."""


def find_option(name: str) -> Option:
    """The option called `name`, with `-` or `_`. Raises UsageError, with the nearest name."""
    option = OPTIONS.get(name.replace("_", "-"))
    if option is None:
        near = difflib.get_close_matches(name.replace("_", "-"), OPTIONS, n=1)
        raise UsageError(f"unknown option {name!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    return option


def split_words(text: str) -> Iterator[tuple[str, str | None]]:
    r"""The names and values of an `-o` argument; `\,` is a comma inside a value."""
    for word in re.split(r"(?<!\\),", text):
        name, equals, value = word.replace("\\,", ",").partition("=")
        if name:
            yield name, value if equals else None


def parse_words(text: str) -> dict[str, object]:
    """What an `-o` argument sets, by field name; the words of fstab are understood and left out.

    Raises UsageError.
    """
    settings: dict[str, object] = {}
    for name, value in split_words(text):
        if name in ("ro", "rw"):
            settings["read_only"] = name == "ro"
        elif name == "remount":
            raise UsageError("remount is not possible: unmount, and mount again with the new options")
        elif name not in FSTAB_WORDS and not name.startswith(("x-", "X-", "comment")):
            option = find_option(name)
            settings[option.name.replace("-", "_")] = option.value(value)
    return settings


def mount_options(source: str, mountpoint: str, settings: Iterable[tuple[str, object]]) -> MountOptions:
    """The options of one mount; of a setting that is given twice the later one counts.

    Raises UsageError where two can't go together.
    """
    fields = dict(settings)
    if not mountpoint:
        raise UsageError("the mount point is empty")
    options = attrs.evolve(
        MountOptions(parse_source(source), os.path.abspath(mountpoint)),
        **fields,  # type: ignore[arg-type]  # each value comes from its own field's parser
    )
    if options.at is not None:
        if options.write_back is not None:
            raise UsageError("options at and write-back contradict each other: the past can't be changed")
        options = attrs.evolve(options, read_only=True)
    if options.read_only and options.write_back is not None:
        raise UsageError("options read-only and write-back contradict each other")
    if options.credentials is not None and options.profile is not None:
        raise UsageError("options credentials and profile contradict each other: give one")
    return options


def options_table() -> str:
    """The options as README shows them, a Markdown table."""
    rows = [
        f"| `{option.usage.replace('|', BAR)}` | {option.shown or '-'} | {option.help} |"
        for option in OPTIONS.values()
    ]
    return "\n".join(["| option | default | what for |", "| --- | --- | --- |", *rows])

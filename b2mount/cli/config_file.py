"""The configuration file: options of every mount, and mounts that have a name.

    [defaults]
    ttl = "5m"

    [mounts.photos]
    source = "my-bucket/photos"
    mountpoint = "/mnt/photos"
    write-back = true

What a command line says counts more than the named mount, and that more than the defaults. The keys of
the application key at the top are read by store/credentials.py.

Invariants: every table is checked whenever the file is read; an error names file, line, table and key,
and never a value of the application key.
"""

from __future__ import annotations

import datetime
import difflib
import os
import re
import tomllib
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from b2mount.cli.parser import COMMANDS
from b2mount.errors import UsageError
from b2mount.option_values import parse_path
from b2mount.options import MountOptions, Option, find_option, mount_options, parse_source
from b2mount.store.credentials import config_path

Settings = Sequence[tuple[str, object]]
"""Fields of MountOptions and their values; the last of a name counts."""

AT_THE_TOP: Final = ("key_id", "application_key", "realm", "defaults", "mounts")
OF_A_MOUNT: Final = ("source", "mountpoint")
YIELDS: Final = {
    "at": "write_back",
    "read_only": "write_back",
    "credentials": "profile",
    "profile": "credentials",
}
"""Who asks for the first has no use for the second that a weaker layer sets."""


@attrs.frozen
class NamedMount:
    """One `[mounts.NAME]`."""

    source: str
    mountpoint: str | None
    settings: Settings


@attrs.frozen
class Config:
    """What the file says of mounts."""

    path: Path
    defaults: Settings = ()
    mounts: Mapping[str, NamedMount] = attrs.field(factory=dict)

    def complete(self, parsed: Namespace) -> Namespace:
        """A command line with what it leaves to the file; `b2://NAME` is always a bucket.

        Raises UsageError where a mount point is needed and named nowhere.
        """
        named = self.mounts.get(parsed.source)
        settings = layered(self.defaults, named.settings if named else (), parsed.settings)
        made = Namespace(**{**vars(parsed), "settings": settings})
        if named is not None:
            made.source = named.source
            made.mountpoint = vars(parsed).get("mountpoint") or named.mountpoint
        if "mountpoint" in parsed and made.mountpoint is None:
            if named is None:
                raise UsageError(_no_mount_point(parsed.source, self.path))
            raise UsageError(f"MOUNTPOINT is missing: [mounts.{parsed.source}] in {self.path} has none")
        return made


def read_config() -> Config:
    """The file of whoever calls; empty where there is none. Raises UsageError."""
    path = config_path(os.environ, Path.home())
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return Config(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} can't be read: {reason}") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply") from None
    return _Reader(path, text).config(tables)


def _no_mount_point(source: str, path: Path) -> str:
    """A single word can be a mount without its place, or a command with a slip."""
    near = difflib.get_close_matches(source, COMMANDS, n=1)
    hint = f" (did you mean `b2mount {near[0]}`?)" if near else ""
    return f"MOUNTPOINT is missing: {path} has no mount {source!r}{hint}"


def layered(*layers: Settings) -> Settings:
    """All settings, the strongest layer last. A weaker one's that make no sense beside them are left out."""
    settings: list[tuple[str, object]] = []
    for layer in layers:
        unwanted = {YIELDS[name] for name, value in dict(layer).items() if name in YIELDS and value}
        settings = [*(pair for pair in settings if pair[0] not in unwanted), *layer]
    return settings


@attrs.frozen
class _Reader:
    """Makes settings of tables, and says where in the file something is wrong."""

    _path: Path
    _text: str

    def config(self, tables: Mapping[str, object]) -> Config:
        for key in tables:
            if key not in AT_THE_TOP:
                raise self._wrong("", key, f"unknown: here can be {', '.join(AT_THE_TOP)}")
        defaults = self._settings("defaults", self._table("defaults", tables.get("defaults", {})))
        self._check("defaults", "bucket", defaults)
        mounts = {
            name: self._mount(name, entry, defaults)
            for name, entry in self._table("mounts", tables.get("mounts", {})).items()
        }
        return Config(self._path, defaults, mounts)

    def _mount(self, name: str, entry: object, defaults: Settings) -> NamedMount:
        table = f"mounts.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*", name):
            raise self._wrong(table, "", "the name of a mount has letters, digits, '.', '_' and '-' only")
        values = self._table(table, entry)
        source, mountpoint = (self._text_of(table, key, values) for key in OF_A_MOUNT)
        if source is None:
            raise self._wrong(table, "", "source is missing")
        try:
            parse_source(source)
        except UsageError as error:
            raise self._wrong(table, "source", str(error)) from None
        if mountpoint is not None:
            mountpoint = self._absolute(table, "mountpoint", mountpoint)
        own = {key: value for key, value in values.items() if key not in OF_A_MOUNT}
        settings = self._settings(table, own)
        self._check(table, source, layered(defaults, settings))
        return NamedMount(source, mountpoint, settings)

    def _table(self, name: str, value: object) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise self._wrong("", name, f"must be a table: [{name}]")
        return value

    def _text_of(self, table: str, key: str, values: Mapping[str, object]) -> str | None:
        value = values.get(key)
        if value is not None and not (isinstance(value, str) and value):
            raise self._wrong(table, key, "must be a text in quotes")
        return value

    def _settings(self, table: str, values: Mapping[str, object]) -> Settings:
        return [self._setting(table, key, value) for key, value in values.items()]

    def _setting(self, table: str, key: str, value: object) -> tuple[str, object]:
        try:
            option = find_option(key)
            name = option.name.replace("-", "_")
            if value is False and (not option.takes_value or option.bare is not None):
                return name, attrs.fields_dict(MountOptions)[name].default
            text = None if value is True else _text(option, value)
            parsed = option.value(text)
        except UsageError as error:
            raise self._wrong(table, key, str(error)) from None
        if text is not None and option.metavar in ("DIR", "FILE"):
            self._absolute(table, key, text)
        if text is not None and option.name == "encryption" and text.startswith("c:"):
            self._absolute(table, key, text.removeprefix("c:"))
        return name, parsed

    def _absolute(self, table: str, key: str, path: str) -> str:
        if not path.startswith(("/", "~")):
            raise self._wrong(
                table, key, f"{path!r} must begin with / or ~: a mount has no directory of its own"
            )
        return str(parse_path(path))

    def _check(self, table: str, source: str, settings: Iterable[tuple[str, object]]) -> None:
        try:
            mount_options(source, "/", settings)
        except UsageError as error:
            raise self._wrong(table, "", str(error)) from None

    def _wrong(self, table: str, key: str, reason: str) -> UsageError:
        line = line_of(self._text, table, key)
        parts = [str(self._path), f"line {line}" if line else "", f"[{table}]" if table else "", key]
        return UsageError(f"{', '.join(part for part in parts if part)}: {reason}")


def _text(option: Option, value: object) -> str | None:
    """What would stand on a command line. Raises UsageError."""
    if not option.takes_value:
        raise UsageError("must be true or false")
    if option.metavar == "OCTAL" and not isinstance(value, str):
        raise UsageError('must be in quotes, as "022": TOML has its own octal numbers')
    if isinstance(value, datetime.date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"option {option.name} needs a value: {option.name} = {option.metavar}")
    return str(value)


def line_of(text: str, table: str, key: str) -> int | None:
    """The line of a key below the head of its table, or of the head where `key` is empty; None where
    it is written in another way (inline, dotted, quoted oddly)."""
    inside = table == ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[([^\[\]]+)\]", line):
            inside = re.sub(r"[\s\"']", "", head[1]) == table
            if (inside and not key) or (not table and head[1].strip().partition(".")[0] == key):
                return number
        elif inside and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return None

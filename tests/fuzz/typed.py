"""What a person types: command lines, option words, moments, configuration, credentials; and the mount table,
which names directories of every user."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from unittest.mock import patch

import attrs

from b2mount import moments
from b2mount.cli.config_file import read_config
from b2mount.cli.main import main_mount_helper
from b2mount.cli.parser import parse
from b2mount.control.places import parse_mount_table
from b2mount.errors import NotAuthorized, UsageError
from b2mount.options import OPTIONS, find_option, mount_options, parse_source, parse_words
from b2mount.store.credentials import find_credentials
from tests.fuzz.target import Target, may_raise, texts

NOW: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MOMENTS: Final = (
    "@2026-11-01T00:00:00Z",
    "2026-01-31",
    "2026-01-31 14:30",
    "2026-01-31T12:00:00.123456+23:59",
    "2 days ago",
    "yesterday at noon",
    "last monday 3pm EST",
    "now",
    "1st of may 1999",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+14:00",
    "99999999999 years ago",
    "1767225600",
    "in 2 weeks",
    "12:61",
)


def moment(data: bytes) -> None:
    """A name in `.b2/at` has at most 255 bytes; so does what is typed, here."""
    typed = data[:255].decode("utf-8", "surrogateescape")
    found = may_raise(lambda: moments.parse_moment(typed, NOW), ValueError)
    moments.is_relative(typed)
    if isinstance(found, int):
        assert found >= 0
        assert moments.parse_moment(moments.moment_name(found), NOW) == found


def option(data: bytes) -> None:
    """`name=value`, as it stands behind -o, behind -- and in fstab."""
    typed = data.decode("utf-8", "surrogateescape")
    name, _, value = typed.partition("=")
    may_raise(lambda: find_option(name), UsageError)
    settings = may_raise(lambda: parse_words(typed), UsageError)
    if isinstance(settings, dict):
        may_raise(lambda: mount_options("b2://bucket/a", "/mnt", settings.items()), UsageError)
    for each in OPTIONS.values():
        may_raise(lambda each=each: each.value(value), UsageError)  # type: ignore[misc]  # mypy infers no lambda with a default


def source(data: bytes) -> None:
    """SOURCE of a mount."""
    may_raise(lambda: parse_source(data.decode("utf-8", "surrogateescape")), UsageError)


def command_line(data: bytes) -> None:
    """Words between NULs; --help ends the program, as it should."""
    words = data.decode("utf-8", "surrogateescape").split("\0")
    with _quiet():
        parsed = may_raise(lambda: parse(words), UsageError, SystemExit)
        if isinstance(parsed, argparse.Namespace) and parsed.command == "mount":
            place = parsed.mountpoint or "/mnt"
            may_raise(lambda: mount_options(parsed.source, place, parsed.settings), UsageError)


def fstab(data: bytes) -> None:
    """SOURCE DIRECTORY WORDS of a line in fstab, as mount(8) hands them over; -f mounts nothing."""
    first, _, words = data.decode("utf-8", "surrogateescape").partition("\0")
    with _home() as _, _quiet() as said:
        code = main_mount_helper([first, "/mnt", "-f", *(["-s"] if len(data) % 2 else []), "-o", words])
    assert code in (0, 2), (code, said.getvalue())
    assert "a fault of b2mount itself" not in said.getvalue(), said.getvalue()


def config(data: bytes) -> None:
    """config.toml; also where the key is looked for in it."""
    with _home() as home:
        path = home / ".config" / "b2mount" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        path.chmod(0o600)
        may_raise(read_config, UsageError)
        may_raise(lambda: find_credentials(environment={}, home=home), NotAuthorized)


def credentials(data: bytes) -> None:
    """The file of --credentials, and the b2 tool's login."""
    with _home() as home:
        for name, asked in (("credentials.json", True), (".b2_account_info", False)):
            path = home / name
            path.write_bytes(data)
            path.chmod(0o600)
            try:
                found = find_credentials(file=path if asked else None, environment={}, home=home)
            except NotAuthorized as error:
                assert "K0secret" not in str(error)
            else:
                assert "K0secret" not in repr(attrs.evolve(found, key_id="", realm="", origin=""))


def mount_table(data: bytes) -> None:
    """Any user may mount something under any name: one line of the table is one mount."""
    raw = data.replace(b"\\", b"/").replace(b"\n", b"").replace(b" ", b"").replace(b"\t", b"")
    name = raw.decode("utf-8", "surrogateescape").replace("\0", "")
    line = "36 35 98:0 /r {} rw,noatime master:1 - {} {} rw"
    both = [line.format("/" + name, "fuse", name or "x"), line.format("/mnt", "fuse.b2mount", "b2://b")]
    found = parse_mount_table("\n".join(both) + "\n")
    assert [entry.mountpoint for entry in found] == ["/" + name, "/mnt"]


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A home of nobody."""
    with tempfile.TemporaryDirectory() as place:
        environment = {"HOME": place, "PATH": "/bin"}
        with patch.dict("os.environ", environment, clear=True):
            yield Path(place)


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        yield said


CONFIG: Final = """
key_id = "id-1"
application_key = "K0secret"
[defaults]
ttl = "5m"
write-back = true
umask = "077"
[mounts.photos]
source = "my-bucket/photos"
mountpoint = "/mnt/photos"
ttl = 7
cache_size = "2G"
at = 2026-01-31T12:00:00Z
"""
WORDS: Final = (
    *OPTIONS,
    *(f"{option.name}=" for option in OPTIONS.values()),
    "b2://",
    "c:/key",
    "[::1]:9",
    "0.10/day",
    "10G",
    "5m",
    "_netdev",
    "defaults",
    "\\,",
)
OPTION_SEEDS: Final = (
    "cache-size=1.5G",
    "ttl=5m,ro,_netdev,x-systemd.automount",
    "write-back=0.5",
    "budget=0.10/day",
    "metrics=[::1]:9469",
    "umask=0222",
    "uid=99999999999999999999",
    "keep-versions=all",
    "keep-versions=99999999999999999999",
    "encryption=c:/k\\,ey",
    "at=2 days ago",
    "log-level=DEBUG",
    "max-names=1000",
    "limit-upload=1M/s",
)
KEYS: Final = json.dumps({"key_id": "id", "application_key": "K0secret", "realm": "production"})


TARGETS: Final = (
    Target(
        "moment",
        moment,
        texts(*MOMENTS),
        ("ago", "days", "noon", "monday", "january", "UTC", "EST", "T00:00", "+14:00", "pm", "next", "week"),
        255,
    ),
    Target("option", option, texts(*OPTION_SEEDS), WORDS),
    Target("source", source, texts("bucket", "b2://bucket/a/b", "b2://", "b2://b@2026-11-01T00:00:00Z/x")),
    Target(
        "command-line",
        command_line,
        texts(
            "mount\0b2://b\0/mnt\0--ttl\0005m\0-o\0ro,at=now",
            "b\0--write-back\0/mnt",
            "restore\0/mnt/a\0--at\0yesterday",
            "url\0/mnt/a\0--expires=1d",
            "help\0man",
            "emulator\0--data=/x\0--port\09999",
            "doctor\0--json\0b",
        ),
        WORDS,
    ),
    Target("fstab", fstab, texts(*("b2://bucket\0" + each for each in OPTION_SEEDS)), WORDS),
    Target(
        "config", config, texts(CONFIG, "[mounts]\na.b = 1", "x = " + "[" * 900), ('"', "[[", "true", "1e9")
    ),
    Target(
        "credentials", credentials, texts(KEYS, "[" * 900, "{}", "SQLite format 3\0"), ('"key_id"', "\\ud800")
    ),
    Target("mount-table", mount_table, texts("mnt/a", "x\x0by", "é\u2028", "-"), ("\x1c", "\x85")),
)

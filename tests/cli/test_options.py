from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from b2mount.budget import Budget, Period, parse_budget
from b2mount.errors import UsageError
from b2mount.model import Encryption
from b2mount.option_values import Address, default_cache_dir, parse_duration, parse_rate, parse_size
from b2mount.options import (
    OPTIONS,
    EncryptionChoice,
    MountOptions,
    Source,
    Unlink,
    mount_options,
    options_table,
    parse_source,
    parse_words,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("64k", 64 << 10),
        ("10M", 10 << 20),
        ("10MB", 10 << 20),
        ("10MiB", 10 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        (" 7 K ", 7 << 10),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1e9", "ten", "0x10", "1.", "9" * 400, "1 2", "inf"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(text)


def test_a_rate_is_not_zero() -> None:
    assert parse_rate("2M/s") == 2 << 20
    with pytest.raises(ValueError, match="more than 0"):
        parse_rate("0")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1.5", 1.5),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("250ms", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_moment_makes_the_mount_read_only() -> None:
    options = mount_options("bucket", "/m", parse_words("at=2026-01-31T12:00:00Z,ttl=5").items())
    assert (options.at, options.read_only) == (1_769_860_800_000, True)
    with pytest.raises(UsageError, match="at and write-back contradict"):
        mount_options("bucket", "/m", parse_words("at=2026-01-31,write-back").items())
    with pytest.raises(UsageError, match="is still to come"):
        parse_words("at=tomorrow")


@pytest.mark.parametrize("text", ["", "-5", "m", "5y", "5 minutes", "inf", "nan", "9" * 400])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        ("bucket", Source("bucket"), "b2://bucket"),
        ("bucket/", Source("bucket"), "b2://bucket"),
        ("b2://bucket", Source("bucket"), "b2://bucket"),
        ("b2://bucket/a/b", Source("bucket", "a/b/"), "b2://bucket/a/b"),
        ("bucket/a b/", Source("bucket", "a b/"), "b2://bucket/a b"),
        ("b2://", Source(""), "b2://"),
    ],
)
def test_sources(text: str, source: Source, shown: str) -> None:
    assert parse_source(text) == source
    assert str(source) == shown


@pytest.mark.parametrize(
    "text", ["", "/", "/mnt", "b2:///x", "s3://bucket", "buc ket", "bucket/a//b", "bucket/../x"]
)
def test_no_sources(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "dollars", "period"),
    [
        ("0.10/day", 0.1, Period.DAY),
        ("$2/month", 2, Period.MONTH),
        (".01/hour", 0.01, Period.HOUR),
        ("5", 5, Period.DAY),
        ("1./Month", 1, Period.MONTH),
    ],
)
def test_budgets(text: str, dollars: float, period: Period) -> None:
    assert parse_budget(text) == Budget(dollars, period)
    assert parse_budget(str(parse_budget(text))) == Budget(dollars, period)


@pytest.mark.parametrize("text", ["", "/day", "$", ".", "1/week", "-1", "0", "0.00/day", "1e3", "1 €", "1/2"])
def test_no_budgets(text: str) -> None:
    with pytest.raises(UsageError, match="option budget: "):
        parse_words(f"budget={text}")


def test_how_a_budget_is_shown() -> None:
    shown = [str(Budget(dollars, Period.DAY)) for dollars in (0.1, 2, 12.345, 0.000001, 100)]
    assert shown == ["$0.10/day", "$2.00/day", "$12.345/day", "$0.000001/day", "$100.00/day"]


def test_every_option_is_a_field_and_has_a_reason() -> None:
    fields = {field.name.replace("_", "-") for field in attrs.fields(MountOptions)}
    assert fields == set(OPTIONS) | {"source", "mountpoint"}
    assert all(re.fullmatch(r"[A-Z].*\.", option.help) for option in OPTIONS.values())


def test_readme_has_the_table() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    assert options_table() in readme.read_text()


VALUES = {
    "cache-dir": "/c",
    "cache-size": "1G",
    "write-back": "5",
    "ttl": "1m",
    "uid": "7",
    "gid": "8",
    "umask": "077",
    "unlink": "delete",
    "encryption": "c:/key",
    "budget": "0.10/day",
    "metrics": "localhost:9469",
    "credentials": "/k",
    "profile": "me",
    "limit-download": "1M",
    "limit-upload": "2M",
    "retry-for": "9",
    "keep-versions": "3",
    "max-names": "5000",
    "log-level": "DEBUG",
    "log-file": "/l",
    "at": "2026-01-31T12:00:00Z",
}
PARSED = {
    "foreground": True,
    "read-only": True,
    "allow-other": True,
    "cache-dir": Path("/c"),
    "cache-size": 1 << 30,
    "write-back": 5.0,
    "ttl": 60.0,
    "uid": 7,
    "gid": 8,
    "umask": 0o77,
    "unlink": Unlink.DELETE,
    "encryption": EncryptionChoice(Encryption.SSE_C, Path("/key")),
    "budget": Budget(0.1, Period.DAY),
    "metrics": Address("localhost", 9469),
    "credentials": Path("/k"),
    "profile": "me",
    "limit-download": 1 << 20,
    "limit-upload": 2 << 20,
    "retry-for": 9.0,
    "keep-versions": 3,
    "max-names": 5000,
    "log-level": "debug",
    "log-file": Path("/l"),
    "at": 1_769_860_800_000,
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("underscores", [False, True])
def test_every_option_as_a_word(name: str, underscores: bool) -> None:
    spelled = name.replace("-", "_") if underscores else name
    word = f"{spelled}={VALUES[name]}" if name in VALUES else spelled
    options = mount_options("bucket", "/m", parse_words(word).items())
    assert getattr(options, name.replace("-", "_")) == PARSED[name]


def test_words_of_fstab_are_left_out() -> None:
    words = (
        "defaults,user,_netdev,nofail,noauto,x-systemd.automount,x-gvfs-name=B2,nosuid,noatime,rw,comment=x"
    )
    assert parse_words(words) == {"read_only": False}
    assert parse_words("dev,suid,,") == {}


def test_ro_and_rw_the_later_one_counts() -> None:
    assert parse_words("rw,ro") == {"read_only": True}
    assert parse_words("read-only,rw") == {"read_only": False}


def test_write_back_alone_is_a_second() -> None:
    assert parse_words("write-back") == {"write_back": 1.0}


def test_a_comma_in_a_value_is_escaped() -> None:
    assert parse_words(r"cache-dir=/a\,b,ttl=5") == {"cache_dir": Path("/a,b"), "ttl": 5.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cache-sise=1G", "unknown option 'cache-sise' (did you mean cache-size?)"),
        ("zzz", "unknown option 'zzz'"),
        ("encryption=a", "option encryption: 'a' is neither b2 nor c:KEYFILE"),
        ("encryption=/key", "option encryption: '/key' is neither"),
        ("encryption=b2:x", "option encryption: 'b2:x' is neither"),
        ("encryption=c:", "option encryption: is empty"),
        ("remount,ro", "remount"),
        ("ttl", "option ttl needs a value: ttl=TIME"),
        ("ttl=soon", "option ttl: 'soon' is not a time"),
        ("allow-other=yes", "option allow-other takes no value"),
        ("umask=1777", "option umask"),
        ("umask=9", "option umask"),
        ("uid=-1", "option uid"),
        ("unlink=burn", "option unlink: 'burn' is none of hide, delete"),
        ("max-names=5", "option max-names: must be at least 1000"),
        ("cache-dir=", "option cache-dir: is empty"),
        ("log-level=loud", "option log-level"),
    ],
)
def test_wrong_words_are_named(words: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_words(words)
    assert message in str(caught.value)


@pytest.mark.parametrize("words", ["ro,write-back", "credentials=/k,profile=me"])
def test_contradictions_are_named(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        mount_options("bucket", "/m", parse_words(words).items())
    assert all(name in str(caught.value) for name in re.findall(r"write-back|credentials|profile", words))


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    options = mount_options("bucket", "m", parse_words("cache-dir=c,credentials=~/k,log-file=l").items())
    assert options.mountpoint == str(tmp_path / "m")
    assert options.cache_dir == tmp_path / "c"
    assert options.credentials == Path("/home/me/k")
    assert options.log_file == tmp_path / "l"


@pytest.mark.parametrize(
    ("uid", "environment", "expected"),
    [
        (0, {}, "/var/cache/b2mount"),
        (0, {"HOME": "/root"}, "/root/.cache/b2mount"),
        (1000, {"HOME": "/home/me"}, "/home/me/.cache/b2mount"),
        (1000, {"HOME": "/home/me", "XDG_CACHE_HOME": "/x"}, "/x/b2mount"),
        (1000, {"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/b2mount"),
    ],
)
def test_where_the_cache_goes(
    uid: int, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.getuid", lambda: uid)
    assert default_cache_dir() == Path(expected)

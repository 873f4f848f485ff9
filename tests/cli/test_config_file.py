"""The configuration file: what of it reaches a mount, and what is said of mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from b2mount.cli.config_file import line_of
from b2mount.cli.main import main, main_mount_helper
from b2mount.options import MountOptions
from tests.cli.test_main import Calls, calls, complaint, mounting

__all__ = ["calls"]

Write = Callable[[str], Path]

FILE = """
key_id = "id-1"
application_key = "secret-1"

[defaults]
ttl = "5m"
write-back = true
allow-other = true
profile = "home"

[mounts.photos]
source = "my-bucket/photos"
mountpoint = "/mnt/photos"
ttl = 7
cache_size = "2G"
allow-other = false
umask = "077"

[mounts.old]
source = "b2://my-bucket"
at = 2026-01-31T12:00:00Z
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def make(text: str) -> Path:
        path = tmp_path / "b2mount" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return make


def asked(calls: Calls, *words: str) -> MountOptions:
    assert main(words) == 0
    return mounting(calls.pop())


def test_a_named_mount(write: Write, calls: Calls) -> None:
    write(FILE)
    for words in (["mount", "photos"], ["photos"], ["mount", "--log-level=info", "photos"]):
        options = asked(calls, *words)
        assert (str(options.source), options.mountpoint) == ("b2://my-bucket/photos", "/mnt/photos")
        assert (options.ttl, options.write_back, options.allow_other) == (7, 1, False)
        assert (options.cache_size, options.umask, options.profile) == (2 << 30, 0o077, "home")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bucket /m", {"ttl": 300, "write_back": 1, "allow_other": True}),
        ("bucket /m --ttl 9 --write-back=4", {"ttl": 9, "write_back": 4}),
        ("photos /m", {"mountpoint": "/m", "ttl": 7}),
        ("photos --ttl 9 /m", {"mountpoint": "/m", "ttl": 9}),
        ("--ttl 9 photos", {"mountpoint": "/mnt/photos", "ttl": 9}),
        ("photos -o ttl=8", {"ttl": 8}),
        ("old /m", {"at": 1_769_860_800_000, "write_back": None, "read_only": True}),
        ("photos --read-only", {"read_only": True, "write_back": None}),
        ("photos --credentials /c", {"credentials": Path("/c"), "profile": None}),
    ],
)
def test_the_command_line_beats_the_mount_beats_the_defaults(
    words: str, expected: dict[str, object], write: Write, calls: Calls
) -> None:
    write(FILE)
    options = asked(calls, *words.split())
    assert {name: getattr(options, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("source", "bucket"), [("b2://photos", "photos"), ("photos/x", "photos"), ("b", "b")]
)
def test_what_is_a_bucket_all_the_same(source: str, bucket: str, write: Write, calls: Calls) -> None:
    write(FILE)
    options = asked(calls, source, "/m")
    assert (options.source.bucket, options.ttl) == (bucket, 300)


def test_mount8_and_doctor_know_it_too(write: Write, calls: Calls) -> None:
    write(FILE)
    assert main_mount_helper(["photos", "/m", "-o", "rw"]) == 0
    options = mounting(calls.pop())
    assert (str(options.source), options.mountpoint, options.ttl) == ("b2://my-bucket/photos", "/m", 7)
    assert main(["doctor", "photos"]) == 0
    assert (calls[0].source, dict(calls[0].settings)["ttl"]) == ("my-bucket/photos", 7)
    assert main(["doctor"]) == 0
    assert calls[1].source is None


def test_without_a_file_a_mount_point_must_be_given(
    write: Write, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bucket"]) == 2
    assert "MOUNTPOINT is missing" in complaint(capsys)
    assert main(["stauts"]) == 2
    assert "(did you mean `b2mount status`?)" in complaint(capsys)
    write(FILE)
    assert main(["old"]) == 2
    assert "[mounts.old]" in complaint(capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\nttl = = 3", "(at line 2, column 7)"),
        ("x = " + "[" * 900, "nested too deeply"),
        ("tll = 3", "line 1, tll: unknown: here can be key_id"),
        ("defaults = 3", "line 1, defaults: must be a table: [defaults]"),
        ("[mounts]\nphotos = 'bucket'", "mounts.photos: must be a table"),
        ("[defaults]\n\nttl = 'soon'", "line 3, [defaults], ttl: option ttl: 'soon' is not a time"),
        ("[defaults]\ntll = 3", "line 2, [defaults], tll: unknown option 'tll' (did you mean ttl?)"),
        ("[defaults]\napplication_key = 'secret'", "line 2, [defaults], application_key: unknown option"),
        ("[defaults]\nallow-other = 'yes'", "line 2, [defaults], allow-other: must be true or false"),
        ("[defaults]\nttl = true", "ttl: option ttl needs a value"),
        ("[defaults]\nttl = false", "ttl: option ttl needs a value"),
        ("[defaults]\nttl = [1]", "ttl: option ttl needs a value"),
        ("[defaults]\numask = 0o77", 'umask: must be in quotes, as "022"'),
        ("[defaults]\ncache-dir = 'here'", "cache-dir: 'here' must begin with / or ~"),
        ("[defaults]\nencryption = 'c:key'", "encryption: 'key' must begin with / or ~"),
        ("[defaults]\nread-only = true\nwrite-back = true", "[defaults]: options read-only and write-back"),
        ("[mounts.a]\nmountpoint = '/m'", "line 1, [mounts.a]: source is missing"),
        ("[mounts.a]\nsource = 3", "line 2, [mounts.a], source: must be a text in quotes"),
        ("[mounts.a]\nsource = '/x'", "line 2, [mounts.a], source: '/x' names no bucket"),
        ("[mounts.a]\nsource = 'b'\nmountpoint = 'm'", "line 3, [mounts.a], mountpoint: 'm' must begin"),
        ("[mounts.a]\nsource = 'b'\nat = '1 day ago'\nwrite-back=1", "line 1, [mounts.a]: options at and"),
        ("[mounts.'a/b']\nsource = 'b'", "[mounts.a/b]: the name of a mount"),
        ("[defaults]\nttl=1\n[mounts.a]\nsource='b'\nttl='x'", "line 5, [mounts.a], ttl: option ttl: 'x'"),
        ("mounts.a = {source = 'b', ttl = 'x'}", "config.toml, [mounts.a], ttl: option ttl: 'x'"),
    ],
)
def test_mistakes_are_one_line(
    text: str, said: str, write: Write, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(text)
    assert main(["bucket", "/m"]) == 2
    message = complaint(capsys)
    assert message.startswith(str(path))
    assert said in message
    assert "secret" not in message
    assert calls == []


def test_a_file_that_cant_be_read(write: Write, calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("")
    path.write_bytes(b"\xff")
    assert main(["bucket", "/m"]) == 2
    assert complaint(capsys) == f"{path} can't be read: it is not UTF-8"
    path.unlink()
    path.mkdir()
    assert main(["bucket", "/m"]) == 2
    assert complaint(capsys) == f"{path} can't be read: Is a directory"


def test_other_commands_dont_care(write: Write, calls: Calls) -> None:
    write("nonsense")
    assert main(["status"]) == 0


def test_the_example_of_readme_works(write: Write, calls: Calls) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    write(readme.partition("```toml\n")[2].partition("```")[0])
    options = asked(calls, "photos")
    assert (str(options.source), options.mountpoint) == ("b2://my-bucket/photos", "/mnt/photos")
    assert (options.ttl, options.write_back, options.allow_other) == (86_400, 1, True)


def test_a_line_is_found_in_its_own_table() -> None:
    text = '[a]\nx = 1\n[ mounts . "b" ]\n# x = 2\n"x" = 3\n'
    assert [line_of(text, table, "x") for table in ("a", "mounts.b", "c")] == [2, 5, None]

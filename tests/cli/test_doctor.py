"""b2mount doctor: what it says of what it finds, and how it ends."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from b2mount.cli import doctor_account, doctor_command, doctor_machine, mount_point
from b2mount.cli.doctor_account import (
    judge_uploads,
    judge_versions,
    look_at_key,
    look_at_reach,
    weigh_versions,
)
from b2mount.cli.doctor_cache import judge_disk, judge_leftovers, look_at_disk
from b2mount.cli.doctor_machine import (
    look_at_fuse,
    look_at_kernel,
    look_at_mounts,
    look_at_others,
    look_at_sockets,
)
from b2mount.cli.finding import Finding, Mark, code_of, ok, trouble, warning
from b2mount.cli.main import main
from b2mount.control import places
from b2mount.emulator.server import EmulatorServer
from b2mount.errors import FuseMissing, NotAuthorized
from b2mount.model import Attributes, Kind, ObjectMetadata, ObjectPath
from b2mount.options import Unlink, mount_options
from b2mount.store.interface import Account, MultipartUpload
from b2mount.store.probe import Reach, Step, probe
from b2mount.threads import ThreadLane
from b2mount.writing.journal import Journal
from b2mount.writing.leftovers import LeftFile, Leftovers, leftovers
from b2mount.writing.staged_file import Staging
from b2mount.writing.upload_log import UploadLog, UploadRecord
from tests.cli.conftest import MountTable
from tests.fakes.memory_store import ALL_CAPABILITIES, MemoryStore, literal

NOW = 1_800_000_000.0
OPTIONS = mount_options("bucket", "/m", [])


def test_the_first_trouble_decides_the_exit_code() -> None:
    found = [ok("a", "b"), warning("a", "b"), trouble("key", NotAuthorized("no"), "get one")]
    assert code_of(found) == 3
    assert code_of([*found[:2], trouble("FUSE", FuseMissing("no")), *found]) == 6
    assert code_of([trouble("cache", OSError(13, "Permission denied", "/c"))]) == 1
    assert code_of(found[:2]) == 0
    assert [finding.line for finding in found] == [
        "ok       a            b",
        "warning  a            b",
        "trouble  key          no: get one",
    ]


# -- this machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "mark"),
    [("6.1.0-21-amd64", "warning"), ("5.10", "warning"), ("6.2.0", "ok"), ("7.0-rc1", "ok"), ("x", "ok")],
)
def test_kernels(release: str, mark: str) -> None:
    assert look_at_kernel(release).mark == mark


def test_a_machine_without_fuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path / "fuse")
    assert (look_at_fuse().mark, look_at_fuse().code) == (Mark.TROUBLE, 6)
    (tmp_path / "fuse").mkdir()  # what is there can't be opened for writing
    assert "can't be opened" in look_at_fuse().text
    (tmp_path / "fuse").rmdir()
    (tmp_path / "fuse").touch()
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert look_at_fuse().mark is Mark.OK


def test_others_matter_only_when_they_are_to_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fuse").touch()
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path / "fuse")
    monkeypatch.setattr(mount_point, "FUSE_CONFIG", tmp_path / "fuse.conf")
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/fusermount3")
    asked = mount_options("bucket", "/m", [("allow_other", True)])
    assert (look_at_others(OPTIONS).mark, look_at_others(asked).code) == (Mark.OK, 2)
    (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    assert look_at_others(asked).mark is Mark.OK


def test_dead_mounts_and_sockets(table: MountTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "mount_table", lambda: table.entries)
    monkeypatch.setattr(doctor_machine, "is_dead", lambda place: place == "/dead")
    table.add("/dead")
    table.add("/hangs")
    table.add("/other", "fuse.rclone")
    dead, hanging = look_at_mounts()
    assert "`b2mount umount /dead` clears it" in dead.line
    assert "hangs" in hanging.line
    place = places.runtime_dir() / "x.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(place))
    (stale,) = look_at_sockets()
    assert f"removed those of mounts that were killed: {place}" in stale.line
    assert not place.exists()
    assert list(look_at_sockets()) == []


# -- the cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "free", "words"),
    [
        ("ext4", 100 << 30, "ok       cache        /c is on ext4 with 100.0 GiB free"),
        ("ext4", 1 << 30, "less than --cache-size 10.0 GiB"),
        ("tmpfs", 100 << 30, "lost when the machine stops"),
        ("nfs4", 100 << 30, "local disk"),
    ],
)
def test_disks(kind: str, free: int, words: str) -> None:
    assert words in judge_disk(Path("/c"), kind, free, 10 << 30).line


def test_a_cache_directory_that_is_to_be_made(tmp_path: Path) -> None:
    assert look_at_disk(tmp_path / "a" / "b", 0).mark is not Mark.TROUBLE
    assert not (tmp_path / "a").exists()
    found = look_at_disk(Path("/proc/b2mount/cache"), 0)
    assert (found.mark, found.code) == (Mark.TROUBLE, 1)
    assert "/proc/b2mount/cache: can't be written to" in found.text


def left(**choices: object) -> Finding | None:
    return judge_leftovers(Leftovers(Path("/c/bucket-1"), **choices), NOW)  # type: ignore[arg-type]  # each fits its field


def test_what_is_unsent() -> None:
    files = tuple(LeftFile(ObjectPath("bucket", f"f{n}"), 1024, NOW - 7200 * n) for n in range(1, 6))
    waiting, served = left(files=files), left(files=files, process=77)
    assert waiting is not None
    assert waiting.line == (
        "warning  unsent       5 files (5.0 KiB, the oldest 10 h old: b2://bucket/f1, b2://bucket/f2, "
        "b2://bucket/f3 and 2 more) in /c/bucket-1: mount the same source with the same --cache-dir, "
        "which sends it"
    )
    assert served is not None
    assert (served.mark, "process 77" in served.text) == (Mark.OK, True)
    assert left() is None
    for choices in ({"trouble": "malformed"}, {"renames": 2}, {"unreadable": 1}):
        found = left(**choices)
        assert found is not None
        assert found.mark is Mark.WARNING


async def test_a_journal_is_read_while_a_mount_works_in_it(tmp_path: Path) -> None:
    directory = tmp_path / "bucket-1"
    lane = ThreadLane("disk", 2)
    staging = Staging(directory / "staging", lane)
    staging.open()
    journal = Journal(directory / "journal.sqlite3", staging, lane)
    await journal.open()
    path = ObjectPath("bucket", "dir/file")
    staged = staging.create(None, 0)
    staged.write(0, b"bytes")
    attributes = Attributes(Kind.FILE, 0o644, 1, 2, 5, 0, 0, 0)
    await journal.append(staged.seal(path, ObjectMetadata(), attributes), "sealed")
    await UploadLog(journal).begin(UploadRecord("1", MultipartUpload("4_z", path, ObjectMetadata()), "l"))
    (found,) = leftovers(tmp_path)
    assert [(file.path, file.size) for file in found.files] == [(path, 5)]
    assert (found.uploads, found.renames, found.unreadable) == (frozenset({"4_z"}), 0, 0)
    assert found.process is not None
    staging.close()
    await journal.close()
    (found,) = leftovers(tmp_path)
    assert (len(found.files), found.process) == (1, None)
    with closing(sqlite3.connect(directory / "journal.sqlite3")) as connection:
        connection.execute("UPDATE files SET record = '{}'")
        connection.commit()
    assert leftovers(tmp_path)[0].unreadable == 1
    (directory / "journal.sqlite3").write_bytes(b"no database at all, just some text" * 40)
    assert leftovers(tmp_path)[0].trouble


# -- the account -------------------------------------------------------------------------------


def account(*without: str, **choices: object) -> Account:
    found = Account("a", ALL_CAPABILITIES - set(without), None, "", "", 1, 1)
    return attrs.evolve(found, **choices)  # type: ignore[arg-type]  # each fits its field


@pytest.mark.parametrize(
    ("key", "lines", "code"),
    [
        (account(), [], 0),
        (
            account("writeFiles"),
            ["nothing can be changed: it is mounted read-only"],
            0,
        ),
        (account("readFiles", "shareFiles"), ["no readFiles", "no shareFiles"], 0),
        (account("listFiles"), ["no listFiles"], 3),
        (account("deleteFiles", "writeBuckets"), [], 0),
        (account(expires_ms=int(NOW + 3600) * 1000), ["it expires in 60 min"], 0),
        (account(buckets=("one", "two"), prefix="p/"), [], 0),
    ],
)
def test_keys(key: Account, lines: list[str], code: int) -> None:
    _, *found = look_at_key(key, OPTIONS, NOW)
    assert len(found) == len(lines)
    assert all(words in finding.text for words, finding in zip(lines, found, strict=True))
    assert code_of(found) == code


def test_a_key_is_judged_by_the_options() -> None:
    deleting = mount_options("bucket", "/m", [("unlink", Unlink.DELETE)])
    keeping = mount_options("bucket", "/m", [("keep_versions", 2)])
    reading = mount_options("bucket", "/m", [("read_only", True)])
    assert code_of(look_at_key(account("deleteFiles"), keeping, NOW)) == 3
    assert code_of(look_at_key(account("deleteFiles"), deleting, NOW)) == 3
    assert len(look_at_key(account("writeFiles"), reading, NOW)) == 1


def test_the_network_and_the_clock() -> None:
    steps = (Step("name", 0.001), Step("connect", 0.02))
    assert look_at_reach(Reach("https://b2", steps, 3.0))[1].mark is Mark.OK
    assert "5 min behind" in look_at_reach(Reach("https://b2", steps, -301.0))[1].text
    (found,) = look_at_reach(Reach("https://b2", (*steps, Step("TLS", 1, "certificate"))))
    assert (found.code, "certificate (TLS)" in found.text) == (7, True)


async def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = await probe(f"http://127.0.0.1:{port}")
    assert found.trouble is not None
    assert (found.trouble.name, found.skew) == ("connect", None)


def path(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


def test_unfinished_uploads() -> None:
    uploads = [
        MultipartUpload(
            f"4_{n}", ObjectPath("bucket", f"big{n}"), ObjectMetadata(), int(NOW - 86_400 * n) * 1000
        )
        for n in range(9)
    ]
    found = judge_uploads(uploads, {"4_8": 5 << 20}, frozenset({"4_0"}), NOW)
    assert [finding.mark for finding in found] == [Mark.OK] + [Mark.WARNING] * 6
    assert "b2://bucket/big8 was begun 8 days ago and not finished, 5.0 MiB" in found[1].text
    assert "cancel b2id://4_8`" in found[1].mend
    assert "and 3 more" in found[-1].text


async def test_old_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore("bucket")
    for name in ("dir/edited", "dir/hidden", "dir/single", "elsewhere"):
        for _ in range(1 if "single" in name else 3):
            await store.put(ObjectPath("bucket", name), literal(bytes(1000)), ObjectMetadata())
    await store.hide(ObjectPath("bucket", "dir/hidden"))
    await store.start_multipart(ObjectPath("bucket", "dir/edited"), ObjectMetadata())
    old = await weigh_versions(store, [ObjectPath("bucket", "dir/")])
    assert (old.versions, old.size, old.is_cut) == (5, 5000, False)
    monkeypatch.setattr(doctor_account, "PAGES", 1)
    old = await weigh_versions(store, [ObjectPath("bucket", "dir/"), ObjectPath("bucket", "else")])
    assert (old.versions, old.is_cut) == (5, True)
    old.size = 10**12
    assert judge_versions(old).text.endswith("5 are old or hidden: 931.3 GiB, $6.00 a month")


# -- all of it ---------------------------------------------------------------------------------


@pytest.fixture
def b2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatorServer]:
    monkeypatch.setattr(doctor_command, "look_at_machine", lambda options: [])
    with EmulatorServer() as server:
        server.run(lambda: server.state.buckets.create("my-bucket"))
        monkeypatch.setenv("B2_APPLICATION_KEY_ID", server.key_id)
        monkeypatch.setenv("B2_APPLICATION_KEY", server.application_key)
        monkeypatch.setenv("B2_ENVIRONMENT", server.url)
        yield server


def examine(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    code = main(["doctor", *words])
    return code, capsys.readouterr().out.splitlines()


def subjects(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines]


def test_all_is_well(b2: EmulatorServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = examine(capsys, "my-bucket")
    assert code == 0
    assert [line for line in lines if line.startswith("trouble")] == []
    expected = ["credentials", "network", "clock", "key", "key", "source", "uploads", "versions", "cache"]
    assert subjects(lines) == expected
    assert b2.application_key not in "".join(lines)
    spent = b2.counts.calls
    assert examine(capsys)[0] == 0  # without a source nothing in a bucket is asked for
    assert spent["b2_list_file_versions"] == spent["b2_list_unfinished_large_files"] == 1


def test_the_place_of_a_named_mount(
    b2: EmulatorServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "config" / "b2mount" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    place = tmp_path / "place"
    config.write_text(f"[mounts.photos]\nsource = 'my-bucket'\nmountpoint = '{place}'")
    code, lines = examine(capsys, "photos")
    assert code == 5
    assert lines[0] == f"trouble  mountpoint   {place} is not there: make it with `mkdir -p {place}`"
    place.mkdir()
    code, lines = examine(capsys, "photos")
    assert (code, lines[0]) == (0, f"ok       mountpoint   {place} is an empty directory")


def test_the_key_of_the_encryption(
    b2: EmulatorServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    code, lines = examine(capsys, "my-bucket", "--encryption", f"c:{path}")
    assert (code, subjects(lines)[:2]) == (0, ["credentials", "encryption"])
    path.chmod(0o644)
    code, lines = examine(capsys, "my-bucket", "--encryption", f"c:{path}")
    assert code == 2
    assert f"chmod 600 {path}" in "".join(lines)


def test_the_exit_code_is_that_of_the_mount(
    b2: EmulatorServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, lines = examine(capsys, "nowhere-to-be-found", "--json")
    found = json.loads("\n".join(lines))
    assert (code, found["exit_code"]) == (4, 4)
    troubles = [each["text"] for each in found["findings"] if each["mark"] == "trouble"]
    assert troubles == ["no bucket 'nowhere-to-be-found' that this key can see; there are: my-bucket"]
    monkeypatch.setenv("B2_APPLICATION_KEY", "wrong")
    assert examine(capsys, "my-bucket")[0] == 3
    monkeypatch.setenv("B2_ENVIRONMENT", "http://nowhere.invalid")
    code, lines = examine(capsys, "my-bucket")
    assert (code, subjects(lines)) == (7, ["credentials", "network", "cache"])
    monkeypatch.delenv("B2_APPLICATION_KEY")
    assert examine(capsys)[0] == 3
    assert examine(capsys, "--nonsense")[0] == 2


def test_a_server_that_says_nothing_ends_in_bounded_time(
    b2: EmulatorServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_account, "NETWORK_TIME", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("B2_ENVIRONMENT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        code, lines = examine(capsys, "my-bucket")
    assert (code, subjects(lines)) == (7, ["credentials", "network", "cache"])

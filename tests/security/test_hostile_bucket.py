"""A bucket that means harm: names, object info, targets, sizes and clocks that its owner made up."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from b2sdk.v3 import B2Api
from hypothesis import given
from hypothesis import strategies as st

from b2mount.cli.finding import warning
from b2mount.cli.status_text import describe
from b2mount.cli.versions_command import _table
from b2mount.emulator.records import UPLOAD, Attributes
from b2mount.emulator.server import EmulatorServer
from b2mount.filesystem.status import CallCounts, MountStatus, PendingFile, VersionStatus
from b2mount.model import ObjectPath, ObjectVersion
from b2mount.namespace.posix_info import AttributeDefaults, attributes_of
from b2mount.plain_text import plain
from b2mount.store.b2_records import object_page
from tests.mounted.bucket import RemoteBucket
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount

CLEARS, RINGS, FORGES = "\x1b[2J\x1b]0;owned\x07", "\x07bell", "a\nERROR forged"
TURNS = "invoice\u202egpj.exe"
CLIMBS = "../../../../../../tmp/b2mount-climbed"
NASTY = (
    CLEARS,
    RINGS,
    FORGES,
    TURNS,
    "\x9b2J",
    "-rf",
    "$(touch climbed)",
    "`id`",
    "a;b",
    "*",
    "~root",
    "%s%n",
)
FAR = 2**63 - 1


def fill(bucket: RemoteBucket, objects: dict[str, tuple[bytes, dict[str, str]]]) -> None:
    """Put objects with any name and info, as come into a bucket by other ways than B2's own API."""
    state = bucket.server.state

    def put_all() -> None:
        found = state.buckets.named(bucket.name)
        assert found is not None
        for name, (data, info) in objects.items():
            content = state.store(data)
            with state.contents.changes():
                version = state.files.add(found, name, UPLOAD, content, Attributes("text/plain", info), None)
                state.contents.give(version.number, content.segments)
                state.files.refresh(found, name)

    bucket.server.run(put_all)


def harmless(text: str) -> bool:
    """Nothing that a terminal would obey."""
    return all(line == plain(line) for line in text.removesuffix("\n").split("\n"))


@pytest.fixture(scope="module")
def mount(emulator: EmulatorServer, api: B2Api, public_place: Path) -> Iterator[Mount]:
    """A mount of such a bucket."""
    maker = MountMaker(emulator, api, public_place / "victim")
    (public_place / "victim").mkdir()
    (public_place / "victim" / "secret").write_bytes(b"of this machine")
    bucket = maker.bucket()
    objects: dict[str, tuple[bytes, dict[str, str]]] = {name: (b"x", {}) for name in NASTY}
    objects |= {f"{name}/inside": (b"x", {}) for name in (CLEARS + "d", TURNS + "d", CLIMBS, "/etc/passwd")}
    objects |= {"info": (b"x", {"k": CLEARS, "posix": FORGES, "xattr": f"{CLEARS}=1&%00=2&{'n' * 900}=3"})}
    objects |= {name: (b"", {"symlink": target}) for name, target in targets(maker.root).items()}
    far = {"src_last_modified_millis": str(FAR // 10**6), "posix": "mode=104777,uid=0,gid=0,ns=999999"}
    objects |= {"future": (b"x", far), "past": (b"x", {"src_last_modified_millis": "0"})}
    fill(bucket, objects)
    made = maker("--write-back=60", bucket=bucket)
    made.expect_log("B2 refuses such a name")  # what has it already can be read and listed, not changed
    yield made
    made.kill()  # it would keep for the next mount what can't be sent
    maker.close()


def targets(root: Path) -> dict[str, str]:
    """Symbolic links in the bucket, and where they lead."""
    secret = str(root / "secret")
    return {"absolute": secret, "climbing": "../" * 40 + secret[1:], "up": ".."}


@pytest.mark.kernel
def test_a_mount_tells_of_it_harmlessly(mount: Mount) -> None:
    listed = os.listdir(mount.path)
    assert set(NASTY) <= set(listed)
    assert ".." not in listed
    mount.programs.run("tar", "-cf", "/dev/null", ".", cwd=mount.path)
    mount.programs.run("getfattr", "-d", "info", cwd=mount.path)
    for name in NASTY:
        (mount.path / name).chmod(0o600)
    (mount.path / CLEARS).write_bytes(b"unsent")
    source = mount.bucket.name
    for words in (["status"], ["status", "--json"], ["doctor", source], ["versions", mount.path / CLEARS]):
        code, output = mount.b2mount(*words)
        assert code == 0, output
        assert harmless(output), output
        assert words != ["status"] or "\\x1b[2J" in output
    code, output = mount.b2mount("restore", mount.path / FORGES, "--version", "none")
    assert (code, harmless(output)) == (1, True), output
    assert harmless(mount.log())


@pytest.mark.kernel
def test_what_a_mount_writes_lies_where_it_belongs(mount: Mount) -> None:
    """Whatever objects are called."""
    above = mount.place.root
    assert {path.name for path in above.iterdir()} == {"mnt", "home", "run", "daemon.log", mount.cache.name}
    assert not Path("/tmp/b2mount-climbed").exists()
    assert not [path for path in mount.cache.rglob("*") if path.name in NASTY or "climbed" in path.name]


@pytest.mark.kernel
def test_links_lead_programs_and_never_b2mount(mount: Mount) -> None:
    """A target is what its maker wrote, as on any disk; what b2mount does by path ends at the link."""
    wanted = targets(mount.place.root.parent)
    assert {name: os.readlink(mount.path / name) for name in wanted} == wanted
    assert mount.b2mount("cp", mount.path / "absolute", mount.path / "copy")[0] == 0
    assert os.readlink(mount.path / "copy") == wanted["absolute"]
    assert (mount.path / "absolute").read_bytes() == b"of this machine"
    asked: tuple[list[str | Path], ...] = (
        ["warm", mount.path / "up" / "x"],
        ["cp", mount.path / "up" / "secret", mount.path / "got"],
    )
    for words in asked:
        code, output = mount.b2mount(*words)
        assert code != 0, output
    assert b"of this machine" not in {mount.bucket.read(name) for name in ("absolute", "climbing", "copy")}
    mount.programs.run("mount", "-o", "remount,bind,nosymfollow", mount.path)
    with pytest.raises(OSError, match="symbolic links"):
        (mount.path / "absolute").read_bytes()
    mount.programs.run("mount", "-o", "remount,bind,symfollow", mount.path)


@pytest.mark.kernel
def test_times_and_modes_at_their_limits(mount: Mount) -> None:
    mount.programs.run("ls", "-l", mount.path)
    assert (mount.path / "past").stat().st_mtime_ns == 0
    status = (mount.path / "future").stat()
    assert status.st_mtime_ns // 10**6 == FAR // 10**6
    assert stat.S_IMODE(status.st_mode) == 0o4777  # shown, and kept; of no effect: test_other_users


def version(info: dict[str, str], size: int = 1, uploaded: int = 1) -> ObjectVersion:
    return ObjectVersion(ObjectPath("b", "k"), "id", size, uploaded, "text/plain", None, info)


@pytest.mark.parametrize(
    "number", ["-1", str(2**63), str(2**64), "9" * 19, "9" * 5000, "1e999", "NaN", "0x7f", "\u0661", "", " 1"]
)
def test_numbers_that_nobody_has_are_as_if_not_there(number: str) -> None:
    defaults = AttributeDefaults(7, 8, 0o022)
    info = {
        "src_last_modified_millis": number,
        "posix": f"mode={number},uid={number},gid={number},ns={number}",
    }
    found = attributes_of(version(info), defaults)
    assert (found.uid, found.gid, found.mode, found.modified_ns) == (7, 8, 0o644, 1_000_000)


@pytest.mark.parametrize("size", [-1, 2**63, 2**200, 1.5, "1", None, True])
def test_a_size_that_no_file_can_have_is_no_file(size: object) -> None:
    row = {"action": "upload", "fileName": "k", "fileId": "i", "contentLength": size, "uploadTimestamp": 1}
    page = object_page({"files": [row], "nextFileName": None}, "bucket", "", "")
    assert page.objects == ()


def test_the_far_end_of_time_is_a_time() -> None:
    """A clock of B2 or of an uploader that is thousands of years ahead."""
    found = attributes_of(version({"src_last_modified_millis": str(FAR // 10**6)}, FAR, FAR), DEFAULTS)
    assert (found.size, found.changed_ns) == (FAR, FAR)
    assert found.modified_ns <= FAR
    row = VersionStatus("id", FAR, FAR, "upload", None, "text/plain")
    assert "id" in _table([row])
    assert harmless(describe(status(PendingFile("k", FAR, FAR, "queued", None, -1e300))))


DEFAULTS = AttributeDefaults(0, 0, 0o022)
COUNTS = CallCounts({}, 0.0, 0, 0)


def status(*pending: PendingFile) -> MountStatus:
    return MountStatus(
        source="b2://bucket",
        mountpoint=f"/mnt/{CLEARS}",
        pid=1,
        started=0.0,
        moment=None,
        read_only=False,
        missing_capabilities=(),
        pending=pending,
        cache_bytes=0,
        cache_capacity=0,
        cache_hits=0,
        cache_misses=0,
        today=COUNTS,
        since_mount=COUNTS,
        odd_names=0,
        open_files=0,
    )


@given(st.text())
def test_no_text_moves_the_cursor(text: str) -> None:
    assert harmless(plain(text))
    assert "\n" not in plain(text)
    assert plain(plain(text)) == plain(text)
    pending = PendingFile(text, 1, 0, "failed", text, 0.0)
    assert harmless(describe(status(pending)))
    assert harmless(warning(text, text, text).line)
    assert harmless(_table([VersionStatus(text, 1, 1, text, None, "")]))
    assert describe(status(pending)).count("\n") == describe(
        status(PendingFile("a", 1, 0, "failed", "b", 0))
    ).count("\n")


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert plain(text) == text

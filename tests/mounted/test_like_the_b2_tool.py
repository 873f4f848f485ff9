"""The table of README that says what to do in a mount instead of a command of the `b2` tool, or of a call of
b2blaze.

Each row is a test: the commands in its right column are run as they stand there, and the tool tells what came
of it. What is in the table is in the tests, and all of the tool and of b2blaze is in the table.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from b2sdk.v3 import B2Api

from b2mount.emulator.server import EmulatorServer
from tests.mounted.bucket import RemoteBucket
from tests.mounted.conftest import MountMaker
from tests.mounted.tool_table import Row, World, rows

pytestmark = pytest.mark.kernel

B2BLAZE = """buckets.all buckets.get buckets.create bucket.delete bucket.edit files.all
    files.all_file_versions files.get files.get_versions files.upload files.upload_large_file
    files.delete_all file.download file.get_versions file.hide file.delete file.delete_all_versions
    file.url"""
"""What the library offers, by its source."""
ABOUT_ITSELF = {"install-autocomplete", "license", "version"}
"""Commands of the tool that have nothing to do with B2."""
GROUPS = {"file", "bucket", "file large"}


ROWS = rows()
CHECKS: dict[str, Callable[[World], None]] = {}


def row(name: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """The test of the row whose first command this is."""

    def register(check: Callable[[World], None]) -> Callable[[World], None]:
        CHECKS[name] = check
        return check

    return register


@row("bucket list")
def all_buckets(w: World) -> None:
    (shown,) = w.here()
    assert w.words["B"] in shown.split()
    assert sorted(shown.split()) == sorted(line.split()[-1] for line in w.tool(w.row.name).splitlines())


@row("bucket get B")
def a_bucket(w: World) -> None:
    (shown,) = w.here()
    assert "directory" in shown
    assert not (w.mount.path / "no-such-bucket").exists()
    assert json.loads(w.tool(w.row.name))["bucketName"] == w.words["B"]


@row("bucket create B allPrivate")
def a_new_bucket(w: World) -> None:
    w.words["B"] += "-new"
    w.here()
    assert json.loads(w.tool("bucket get B"))["bucketType"] == "allPrivate"


@row("bucket delete B")
def no_bucket(w: World) -> None:
    w.here()
    assert w.words["B"] not in w.tool("bucket list").split()


@row("ls b2://B/dir")
def names(w: World) -> None:
    for key in ("dir/one", "dir/two", "top"):
        w.bucket.put(key, b"")
    directory, everything = w.here()
    assert directory.split() == ["one", "two"]
    told, told_everything = map(w.tool, w.row.tool)
    assert told.split() == ["dir/one", "dir/two"]
    assert sorted(everything.replace(f"{w.words['B']}/", "").split()) == told_everything.split()


@row("ls -r --versions b2://B")
def all_versions(w: World) -> None:
    old, new = w.put_twice()
    gone = w.bucket.put("gone", b"")
    w.bucket.bucket.hide_file("gone")
    versions, hidden = w.here()
    ids = {os.getxattr(w.mount.path / path, "user.b2.file_id").decode() for path in versions.split()}
    assert ids == {old, new, gone}
    assert hidden == f".b2/trash/{w.words['B']}/gone"
    told = w.versions(w.row.name)
    assert [name for name, _, _ in told] == ["f", "f", "gone", "gone"]
    assert {id_ for _, action, id_ in told if action == "upload"} == ids


@row("ls --versions b2://B/f")
def versions_of_a_file(w: World) -> None:
    w.put_twice()
    (shown,) = w.here()
    told = [("f", "upload", line.split()[-1]) for line in shown.splitlines()]
    assert (len(told), told) == (2, w.versions(w.row.name))


@row("file info b2://B/f")
def what_is_known(w: World) -> None:
    w.bucket.put("f", b"bytes")
    info = w.info("b2://B/f")
    assert w.here() == [str(info["size"]), str(info["contentSha1"])]


@row("file info b2id://ID")
def the_id(w: World) -> None:
    _, new = w.put_twice()
    (w.words["ID"],) = w.here()
    told = json.loads(w.tool(w.row.name))
    assert (told["fileName"], told["fileId"]) == ("f", new)


@row("file cat b2://B/f")
def downloads(w: World) -> None:
    w.words["ID"], _ = w.put_twice()
    w.time_of(0)
    now, _, before = w.here()
    copy = (w.home / "copy").read_text()
    told, _ = map(w.tool, w.row.tool)
    assert now == copy == told == (w.home / "copy").read_text() == "new one"
    assert before == w.tool("file cat b2id://ID") == "old"


@row("file upload B ~/local f")
def uploads(w: World) -> None:
    (w.home / "local").write_bytes(b"bytes")
    w.here()
    assert w.mount.b2mount("flush", w.path("f"))[0] == 0
    info = w.info("b2://B/f")
    assert (info["size"], info["contentType"]) == (5, "text/html")
    assert info["contentSha1"] == hashlib.sha1(b"bytes").hexdigest()


@row("file upload B ~/large f")
def a_large_upload(w: World) -> None:
    data = os.urandom(24 << 20)
    (w.home / "large").write_bytes(data)
    w.here()
    info = w.info("b2://B/f")
    assert (info["size"], info["contentSha1"]) == (len(data), "none")  # as is said of what came in parts
    assert info["fileInfo"]["large_file_sha1"] == hashlib.sha1(data).hexdigest()  # type: ignore[index]  # JSON


@row("file url b2://B/f")
def urls(w: World) -> None:
    w.words["ID"], _ = w.put_twice()
    w.time_of(0)
    plain, authorized, old = w.here()
    assert [plain, old] == [w.tool(command) for command in w.row.tool]
    with urllib.request.urlopen(authorized, timeout=30) as answer:
        assert answer.read() == b"new one"


@row("file server-side-copy b2://B/f b2://C/g")
def copies(w: World) -> None:
    w.bucket.put("f", b"bytes")
    w.here()
    told = {one["fileName"]: one["contentSha1"] for one in w.listed("ls b2://C")}
    assert told == dict.fromkeys(("g", "h"), hashlib.sha1(b"bytes").hexdigest())
    assert [action for _, action, _ in w.versions()] == ["hide", "upload"]


@row("file hide b2://B/f")
def hides(w: World) -> None:
    id_ = w.bucket.put("f", b"bytes")
    w.here()
    hide, upload = w.versions()
    assert (hide[1], upload) == ("hide", ("f", "upload", id_))


@row("file unhide b2://B/f")
def unhides(w: World) -> None:
    id_ = w.bucket.put("f", b"bytes")
    w.bucket.bucket.hide_file("f")
    w.here()
    assert w.path("f").read_bytes() == b"bytes"
    assert w.versions() == [("f", "upload", id_)]


@row("rm b2://B/f")
def a_version_goes(w: World) -> None:
    old, new = w.put_twice()
    w.time_of(1)
    w.here()
    assert w.path("f").read_bytes() == b"old"
    current, last = w.listed()
    assert current["contentSha1"] == last["contentSha1"] == hashlib.sha1(b"old").hexdigest()
    assert last["fileId"] == old
    assert current["fileId"] != new


@row("rm --versions b2://B/f")
def all_versions_go(w: World) -> None:
    w.put_twice()
    w.bucket.put("other", b"")
    w.here()
    assert [name for name, _, _ in w.versions()] == ["other"]


@row("rm -r --versions b2://B")
def everything_goes(w: World) -> None:
    w.put_twice()
    for name in ("dir/deep/one", "dir/two", ".hidden", "gone"):
        w.bucket.put(name, b"")
    w.bucket.bucket.hide_file("gone")
    w.here()
    assert w.versions() == []
    w.tool("bucket delete B")


@row("file update --legal-hold on b2://B/f")
def protects(w: World) -> None:
    id_ = w.bucket.put("f", b"bytes")
    w.here()
    info = w.info("b2://B/f")
    assert (info["fileId"], info["legalHold"]) == (id_, "on")
    assert info["fileRetention"]["mode"] == "governance"  # type: ignore[index]  # JSON


@row("sync ~/dir b2://B/dir")
def syncs(w: World) -> None:
    """After rsync the tool finds nothing left to do, in either direction."""
    (w.home / "dir" / "deep").mkdir(parents=True)
    (w.home / "dir" / "one").write_bytes(b"one")
    (w.home / "dir" / "deep" / "two").write_bytes(b"two")
    w.bucket.put("dir/one", b"was before")
    w.here()
    assert w.mount.b2mount("flush", w.mount.path)[0] == 0
    there, back = (w.tool(f"{command} --no-progress") for command in w.row.tool)
    assert there == ""
    assert all(line.endswith(".bzEmpty") for line in back.splitlines()), back
    assert (w.home / "back" / "deep" / "two").read_bytes() == b"two"
    w.tool("file info b2://B/dir/deep/two")


@row("file large unfinished list b2://B")
def unfinished(w: World) -> None:
    begun = w.bucket.bucket.api.services.large_file.start_large_file(w.bucket.bucket.id_, "f", "text/plain")
    w.words["ID"] = begun.file_id
    (shown,) = w.here()
    listed, _ = map(w.tool, w.row.tool)
    assert begun.file_id in shown
    assert begun.file_id in listed


NUMBERED = {row.name: number for number, row in enumerate(ROWS)}


@pytest.fixture(scope="module")
def account(
    emulator: EmulatorServer, api: B2Api, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Row], World]]:
    """A mount of the account; the buckets of all rows are there from the beginning."""
    maker = MountMaker(emulator, api, tmp_path_factory.mktemp("account"))

    def bucket(name: object) -> RemoteBucket:
        made = api.create_bucket(f"row-{os.getpid()}-{name}", "allPrivate", is_file_lock_enabled=True)
        return RemoteBucket(emulator, made)

    buckets, other = [bucket(number) for number in range(len(ROWS))], bucket("other")
    mount = maker.prepare(limit=280)
    mount.source = "b2://"
    mount.start()

    def world(row: Row) -> World:
        own = buckets[NUMBERED[row.name]]
        return World(mount, row, own, {"B": own.name, "C": other.name})

    yield world
    maker.close()


@pytest.mark.parametrize("row", [row for row in ROWS if row.here], ids=lambda row: row.name)
def test_row(account: Callable[[Row], World], row: Row) -> None:
    """The commands of a row do what the tool does, as the tool sees it."""
    world = account(row)
    CHECKS[row.name](world)
    world.mount.check()
    assert world.ran == list(row.here)
    assert world.asked


def test_every_row_is_tested() -> None:
    """But for the one that says to use the tool."""
    assert list(CHECKS) == [row.name for row in ROWS if row.here]
    assert [row.tool[0] for row in ROWS if not row.here] == ["bucket update"]


def test_the_whole_of_b2blaze_is_in_the_table() -> None:
    calls = {re.sub(r"\(.*", "", call) for row in ROWS for call in row.library}
    assert calls == set(B2BLAZE.split())


@pytest.mark.clients
def test_the_whole_tool_is_in_the_table(account: Callable[[Row], World]) -> None:
    """As far as its own help goes."""
    programs = account(ROWS[0]).mount.programs
    begun = [programs.start(["b2", *group.split(), "--help"]) for group in ("", *GROUPS)]
    helps = "".join(programs.finish(process)[1] for process in begun)
    commands = set(re.findall(r"^  b2 ([a-z-]+(?: [a-z-]+)*)  ", helps, re.MULTILINE))
    assert len(commands) > 20
    named = {command for row in ROWS for command in row.tool}
    missing = {
        command
        for command in commands - GROUPS - ABOUT_ITSELF
        if not any(f"{text} ".startswith(f"{command} ") for text in named)
    }
    assert not missing

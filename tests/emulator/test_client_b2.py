"""Backblaze's own command line tool, unmodified, against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from b2mount.emulator.faults import Fault, FaultKind
from b2mount.emulator.server import EmulatorServer

pytestmark = pytest.mark.clients

PROGRAM = Path(sys.executable).parent / "b2"
BIG = bytes(range(256)) * 50_000
"""12.8 MB: two parts, for parts of 5 MB or a little more."""


@attrs.frozen
class Tool:
    """The b2 tool with a home and an account of its own."""

    url: str
    key_id: str
    key: str
    home: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "B2_ENVIRONMENT": self.url,
            "B2_ACCOUNT_INFO": str(self.home / "account"),
            "B2_APPLICATION_KEY_ID": self.key_id,
            "B2_APPLICATION_KEY": self.key,
            "NO_PROXY": "*",
        }
        return subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, *options: str) -> list[str]:
        return self("ls", "-r", *options, "b2://some-bucket").splitlines()


@pytest.fixture
def server(tmp_path: Path):
    with EmulatorServer(tmp_path / "data", recommended_part=5_000_000) as server:
        yield server


@pytest.fixture
def tool(server: EmulatorServer, tmp_path: Path) -> Tool:
    tool = Tool(server.url, server.key_id, server.application_key, tmp_path / "home")
    tool.home.mkdir()
    tool("bucket", "create", "some-bucket", "allPrivate")
    return tool


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def make(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        return path

    return make


Make = Callable[[str, bytes], Path]


def test_up_and_down_with_odd_names(tool: Tool, file: Make, tmp_path: Path) -> None:
    name = "dir/a+b é %20 \U0001f600.txt"
    uploaded = tool(
        "file", "upload", "--no-progress", "--info", "color=r+d%", "some-bucket", file("n", b"hello"), name
    )
    assert json.loads(uploaded[uploaded.index("{") :])["contentType"] == "text/plain"
    assert tool.listed() == [name]
    tool("file", "download", "--no-progress", f"b2://some-bucket/{name}", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"hello"
    info = json.loads(tool("file", "info", f"b2://some-bucket/{name}"))
    assert (info["fileName"], info["fileInfo"]["color"]) == (name, "r+d%")
    assert tool("file", "cat", "--no-progress", f"b2id://{info['fileId']}") == "hello"


def test_a_large_file_and_its_copy(tool: Tool, file: Make, tmp_path: Path, server: EmulatorServer) -> None:
    tool("file", "upload", "--no-progress", "some-bucket", file("big", BIG), "big")
    assert server.counts.snapshot()["calls"]["b2_upload_part"] == 2
    tool("file", "server-side-copy", "--range", "5,9999999", "b2://some-bucket/big", "b2://some-bucket/piece")
    for name, expected in (("big", BIG), ("piece", BIG[5:10_000_000])):
        tool("file", "download", "--no-progress", f"b2://some-bucket/{name}", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == expected
    assert tool("file", "large", "unfinished", "list", "b2://some-bucket") == ""


def test_versions_hiding_and_removal(tool: Tool, file: Make) -> None:
    for data in (b"1", b"2"):
        tool("file", "upload", "--no-progress", "some-bucket", file("n", data), "n")
    tool("file", "hide", "b2://some-bucket/n")
    assert tool.listed() == []
    rows = [line.split() for line in tool.listed("--versions", "--long")]
    assert [(row[1], row[4]) for row in rows] == [("hide", "0"), ("upload", "1"), ("upload", "1")]
    tool("file", "unhide", "b2://some-bucket/n")
    assert tool("file", "cat", "--no-progress", "b2://some-bucket/n") == "2"
    tool("rm", "--no-progress", f"b2id://{rows[1][0]}")
    assert tool("file", "cat", "--no-progress", "b2://some-bucket/n") == "1"
    assert tool.run("bucket", "delete", "some-bucket").returncode != 0
    tool("rm", "--no-progress", "-r", "--versions", "b2://some-bucket")
    tool("bucket", "delete", "some-bucket")


def test_sync_both_ways(tool: Tool, file: Make, tmp_path: Path, server: EmulatorServer) -> None:
    for name in ("a", "dir/b", "dir/deep/c"):
        file(f"source/{name}", name.encode())
    tool("sync", "--no-progress", tmp_path / "source", "b2://some-bucket/copy")
    assert tool.listed() == ["copy/a", "copy/dir/b", "copy/dir/deep/c"]
    server.counts.reset()
    tool("sync", "--no-progress", tmp_path / "source", "b2://some-bucket/copy")
    assert "b2_upload_file" not in server.counts.snapshot()["calls"]
    (tmp_path / "source" / "a").unlink()
    tool("sync", "--no-progress", "--delete", tmp_path / "source", "b2://some-bucket/copy")
    (tmp_path / "back").mkdir()
    tool("sync", "--no-progress", "b2://some-bucket/copy", tmp_path / "back")
    found = {str(p.relative_to(tmp_path / "back")) for p in (tmp_path / "back").rglob("*") if p.is_file()}
    assert found == {"dir/b", "dir/deep/c"}


def test_a_restricted_key(tool: Tool, file: Make, server: EmulatorServer, tmp_path: Path) -> None:
    tool("bucket", "create", "other-bucket", "allPrivate")
    given = tool(
        "key",
        "create",
        "--bucket",
        "some-bucket",
        "--name-prefix",
        "mine/",
        "some-key",
        "listBuckets,listFiles,readFiles,writeFiles",
    )
    key_id, key = given.split()
    other = Tool(server.url, key_id, key, tmp_path / "other")
    other.home.mkdir()
    other("file", "upload", "--no-progress", "some-bucket", file("n", b"x"), "mine/n")
    assert other("ls", "b2://some-bucket/mine/") == "mine/n\n"
    for command in (
        ("file", "upload", "--no-progress", "some-bucket", str(file("n", b"x")), "n"),
        ("ls", "b2://some-bucket"),
        ("ls", "b2://other-bucket"),
        ("rm", "--no-progress", "b2://some-bucket/mine/n"),
    ):
        assert other.run(*command).returncode != 0, command
    assert tool.listed() == ["mine/n"]
    assert f"{key_id} " in tool("key", "list")
    tool("key", "delete", key_id)
    assert other.run("account", "authorize").returncode != 0


def test_bucket_settings_locks_and_encryption(tool: Tool, file: Make) -> None:
    rule = {"daysFromHidingToDeleting": 1, "daysFromUploadingToHiding": None, "fileNamePrefix": ""}
    tool("bucket", "create", "--file-lock-enabled", "locked-bucket", "allPrivate")
    tool(
        "bucket",
        "update",
        "--lifecycle-rule",
        json.dumps(rule),
        "--default-server-side-encryption",
        "SSE-B2",
        "locked-bucket",
    )
    bucket = json.loads(tool("bucket", "get", "locked-bucket"))
    assert bucket["lifecycleRules"] == [rule]
    assert bucket["defaultServerSideEncryption"]["mode"] == "SSE-B2"
    tool("file", "upload", "--no-progress", "locked-bucket", file("n", b"x"), "n")
    uri = "b2://locked-bucket/n"
    tool("file", "update", "--legal-hold", "on", uri)
    assert tool.run("rm", "--no-progress", "--versions", uri).returncode != 0
    tool("file", "update", "--legal-hold", "off", uri)
    tool("rm", "--no-progress", "--versions", uri)


def test_trouble_on_the_way_is_not_seen(
    tool: Tool, file: Make, server: EmulatorServer, tmp_path: Path
) -> None:
    server.faults.replace(
        [
            Fault(endpoint="b2_upload_part", times=2),
            Fault(FaultKind.EXPIRED_TOKEN, "b2_start_large_file", times=1),
            Fault(FaultKind.CUT_BODY, "b2_download_*", after_bytes=4_000_000, times=1),
        ]
    )
    tool("file", "upload", "--no-progress", "some-bucket", file("big", BIG), "big")
    tool("file", "download", "--no-progress", "b2://some-bucket/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == BIG
    assert [hits for _, hits in server.faults.report()] == [2, 1, 1]

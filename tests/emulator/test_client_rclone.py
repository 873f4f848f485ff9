"""rclone, unmodified, against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from b2mount.emulator.server import EmulatorServer
from tests.emulator.conftest import Client

pytestmark = pytest.mark.clients

PROGRAM = Path(sys.executable).parent / "rclone"
BIG = bytes(range(256)) * 50_000


@attrs.frozen
class Tool:
    """rclone with one remote, B2:, and no other configuration."""

    url: str
    key_id: str
    key: str
    home: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG": str(self.home / "rclone.conf"),
            "RCLONE_CONFIG_B2_TYPE": "b2",
            "RCLONE_CONFIG_B2_ACCOUNT": self.key_id,
            "RCLONE_CONFIG_B2_KEY": self.key,
            "RCLONE_CONFIG_B2_ENDPOINT": self.url,
            "RCLONE_B2_UPLOAD_CUTOFF": "5M",
            "RCLONE_B2_CHUNK_SIZE": "5M",
            "RCLONE_RETRIES": "1",
            "NO_PROXY": "*",
        }
        return subprocess.run(
            [PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmulatorServer]:
    with EmulatorServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
def tool(server: EmulatorServer, tmp_path: Path) -> Tool:
    home = tmp_path / "home"
    home.mkdir()
    (home / "rclone.conf").touch()
    tool = Tool(server.url, server.key_id, server.application_key, home)
    tool("mkdir", "b2:some-bucket")
    return tool


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Names that have to be encoded, an empty file, a large one."""
    source = tmp_path / "source"
    for name, data in {
        "a+b é %20.txt": b"odd",
        "dir/deep/empty": b"",
        "dir/big": BIG,
        "\U0001f600": b"smile",
    }.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    return source


def test_copy_check_and_back(tool: Tool, tree: Path, tmp_path: Path, server: EmulatorServer) -> None:
    tool("copy", tree, "b2:some-bucket/copy")
    assert server.counts.snapshot()["calls"]["b2_upload_part"] == 3
    tool("check", tree, "b2:some-bucket/copy")
    tool("check", "--download", tree, "b2:some-bucket/copy")
    tool("copy", "b2:some-bucket/copy", tmp_path / "back")
    tool("check", tree, tmp_path / "back")
    assert tool("cat", "b2:some-bucket/copy/dir/big", "--offset", "300", "--count", "3") == ",-."
    os.truncate(tree / "dir" / "big", 100)
    assert tool.run("check", tree, "b2:some-bucket/copy").returncode != 0


def test_sync_removes_and_second_run_sends_nothing(tool: Tool, tree: Path, server: EmulatorServer) -> None:
    tool("sync", tree, "b2:some-bucket")
    server.counts.reset()
    tool("sync", tree, "b2:some-bucket")
    calls = server.counts.snapshot()["calls"]
    assert not {"b2_upload_file", "b2_start_large_file", "b2_hide_file"} & set(calls)
    (tree / "dir" / "big").unlink()
    tool("sync", tree, "b2:some-bucket")
    left = tool("lsf", "-R", "--files-only", "b2:some-bucket").splitlines()
    assert sorted(left) == ["a+b é %20.txt", "dir/deep/empty", "\U0001f600"]


def test_versions_cleanup_and_purge(tool: Tool, tmp_path: Path, server: EmulatorServer) -> None:
    client = Client(server)
    bucket_id = client.ok("b2_list_buckets", accountId=client.account_id)["buckets"][0]["bucketId"]
    for data in (b"1", b"22"):
        client.put(bucket_id, "n", data)
    tool("deletefile", "b2:some-bucket/n")
    assert tool("lsf", "b2:some-bucket") == ""
    assert len(tool("lsf", "--b2-versions", "b2:some-bucket").splitlines()) == 2
    assert client.versions(bucket_id) == [("n", "hide"), ("n", "upload"), ("n", "upload")]
    client.put(bucket_id, "m")
    tool("cleanup", "b2:some-bucket")
    assert client.versions(bucket_id) == [("m", "upload")]
    client.ok("b2_start_large_file", bucketId=bucket_id, fileName="big", contentType="a/b")
    tool("backend", "cleanup", "b2:some-bucket", "-o", "max-age=0s")
    assert client.versions(bucket_id) == [("m", "upload")]
    tool("purge", "b2:some-bucket")
    assert tool("lsd", "b2:") == ""
    client.close()


def test_server_side_copy_and_move(tool: Tool, tree: Path, tmp_path: Path, server: EmulatorServer) -> None:
    tool("copyto", tree / "dir" / "big", "b2:some-bucket/big")
    tool("mkdir", "b2:other-bucket")
    server.counts.reset()
    tool("copyto", "b2:some-bucket/big", "b2:other-bucket/x/copy")
    tool("moveto", "b2:some-bucket/big", "b2:some-bucket/moved")
    tool("copyto", "--b2-copy-cutoff", "5M", "b2:some-bucket/moved", "b2:some-bucket/by parts")
    snapshot = server.counts.snapshot()
    assert (snapshot["bytes_in"], snapshot["bytes_out"]) == (0, 0)
    assert snapshot["calls"]["b2_copy_part"] == 3
    for name in ("b2:some-bucket/moved", "b2:some-bucket/by parts", "b2:other-bucket/x/copy"):
        tool("copyto", name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == BIG
    listed = json.loads(tool("lsjson", "-R", "--files-only", "b2:some-bucket"))
    assert [(row["Path"], row["Size"]) for row in listed] == [("by parts", len(BIG)), ("moved", len(BIG))]


def test_a_restricted_key(tool: Tool, tree: Path, server: EmulatorServer) -> None:
    tool("copy", tree, "b2:some-bucket/mine")
    tool("copyto", tree / "a+b é %20.txt", "b2:some-bucket/theirs")
    client = Client(server)
    bucket_id = client.ok("b2_list_buckets", accountId=client.account_id)["buckets"][0]["bucketId"]
    key = client.ok(
        "b2_create_key",
        accountId=client.account_id,
        capabilities=["listBuckets", "listFiles", "readFiles"],
        keyName="some-key",
        bucketIds=[bucket_id],
        namePrefix="mine/",
    )
    client.close()
    other = Tool(server.url, key["applicationKeyId"], key["applicationKey"], tool.home)
    other("check", tree, "b2:some-bucket/mine")
    assert other.run("cat", "b2:some-bucket/theirs").returncode != 0
    assert other.run("copyto", tree / "a+b é %20.txt", "b2:some-bucket/mine/new").returncode != 0
    assert other.run("deletefile", "b2:some-bucket/mine/dir/big").returncode != 0
    tool("check", tree, "b2:some-bucket/mine")

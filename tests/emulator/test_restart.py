"""What was said to have happened is still there: after a stop, after kill -9, with strays swept."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from b2mount.emulator.bucket_state import BucketState
from b2mount.emulator.errors import DirectoryInUse
from b2mount.emulator.server import EmulatorServer
from tests.emulator.conftest import Client, put

SERVE = """
import sys
from collections.abc import Iterator
from pathlib import Path
from b2mount.emulator.server import serve
serve(Path(sys.argv[1]), on_ready=lambda server: print(server.url, flush=True))
"""


@contextlib.contextmanager
def emulator(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    remote = EmulatorServer(None)
    with emulator(directory) as (process, url):
        credentials = json.loads((directory / "credentials.json").read_text())
        for secret in ("credentials.json", "state.sqlite3"):
            assert stat.S_IMODE((directory / secret).stat().st_mode) == 0o600
        remote.url = url
        remote.key_id, remote.application_key = credentials["key_id"], credentials["application_key"]
        client = Client(remote)
        bucket_id = client.create_bucket()["bucketId"]
        file = client.put(bucket_id, "n", b"0123456789")
        large = client.ok("b2_start_large_file", bucketId=bucket_id, fileName="big", contentType="a/b")
        client.put_part(large["fileId"], 1, b"12345")
        process.send_signal(signal.SIGKILL)
        process.wait()
        client.close()
    remote.state.close()
    stray = directory / "objects" / "ab" / "abstray"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left over")
    with EmulatorServer(directory) as server:
        assert (server.key_id, server.application_key) == tuple(credentials.values())
        assert not stray.exists()
        again = Client(server)
        again.token = client.token
        assert again.ok("b2_get_file_info", fileId=file["fileId"]) == file
        assert again.get("/file/some-bucket/n").body == b"0123456789"
        assert len(again.ok("b2_list_parts", fileId=large["fileId"])["parts"]) == 1
        assert again.put(bucket_id, "later")["fileId"] > file["fileId"]
        again.close()


def test_sigterm_is_a_clean_end(tmp_path: Path) -> None:
    with emulator(tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_one_at_a_time(tmp_path: Path) -> None:
    state = BucketState(tmp_path)
    with pytest.raises(DirectoryInUse):
        BucketState(tmp_path)
    state.close()
    BucketState(tmp_path).close()


def test_ids_are_not_given_twice(tmp_path: Path) -> None:
    state = BucketState(tmp_path)
    version = put(state, state.buckets.create("some-bucket"), "n")
    state.files.delete("n", version.file_id)
    state.close()
    state = BucketState(tmp_path)
    bucket = state.buckets.named("some-bucket")
    assert bucket is not None
    assert put(state, bucket, "n").number == version.number + 1
    state.close()

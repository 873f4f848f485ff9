"""`b2mount emulator` as a process of its own: what it says when it can't serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from b2mount.emulator.server import EmulatorServer


def refused(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "b2mount", "emulator", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


def test_a_directory_that_another_emulator_has(tmp_path: Path) -> None:
    with EmulatorServer(tmp_path, port=0):
        code, said = refused("--data", tmp_path)
    assert code == 1
    assert f"another emulator has its data in {tmp_path}" in said


def test_a_bucket_name_that_b2_refuses(tmp_path: Path) -> None:
    code, said = refused("--data", tmp_path / "new", "--bucket", "Bad_Name!")
    assert code == 2
    assert "--bucket Bad_Name!: " in said
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700  # others come by its port, with the key


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with EmulatorServer(tmp_path / "one", port=0) as server:
        port = server.url.rpartition(":")[2]
        code, said = refused("--data", tmp_path / "two", "--port", port)
    assert code == 1
    assert f"can't listen on port {port}" in said


def test_its_key_is_its_owners_and_it_is_heard_on_this_machine_alone(tmp_path: Path) -> None:
    with EmulatorServer(tmp_path, port=0) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600

"""Keys and tokens: in memory and in requests, and nowhere else."""

from __future__ import annotations

import ast
import base64
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import b2mount
from b2mount.emulator.faults import Fault
from b2mount.emulator.keys import KeyRing
from b2mount.errors import NotAuthorized, UsageError
from b2mount.model import Encryption
from b2mount.store.credentials import find_credentials
from b2mount.store.encryption import open_keyring
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.processes import wait_until


def bytes_of(directory: Path) -> Iterator[bytes]:
    """Every file below, its name too."""
    for above, _, names in os.walk(directory):
        for name in names:
            path = Path(above) / name
            yield name.encode()
            if path.is_file():
                yield path.read_bytes()


def trouble(mount: Mount, make_mount: MountMaker) -> None:
    """Requests that fail in every way, so that errors are told with all that is known of them."""
    mount.expect_log("WARNING")
    mount.expect_log("ERROR")
    faults = make_mount.server.faults
    faults.replace(
        [
            Fault(endpoint="b2_upload_file", status=401, code="expired_auth_token", times=1),
            Fault(endpoint="b2_upload_file", status=503, code="service_unavailable", times=1),
            Fault(endpoint="b2_list_file_names", status=401, code="expired_auth_token", times=1),
            Fault(endpoint="b2_upload_file", name="refused", status=400, code="bad_request", message="no"),
        ]
    )
    (mount.path / "file").write_bytes(b"bytes")
    with pytest.raises(OSError):  # whichever
        (mount.path / "refused").write_bytes(b"bytes")
    faults.clear()
    assert mount.b2mount("refresh", mount.path)[0] == 0
    os.listdir(mount.path)


@pytest.mark.kernel
def test_no_key_or_token_is_told_or_kept(
    make_mount: MountMaker, public_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on a command line, in a log at debug, an error, a status, a metric, nor in any file of b2mount; nor
    in the environment of a program that it starts."""
    own = secrets.token_bytes(32)
    key_file = public_place / "sse-c.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(base64.b64encode(own))
    tokens: list[str] = []
    issue = KeyRing.issue

    def listening(self: KeyRing, *words: Any, **details: Any) -> str:
        tokens.append(issue(self, *words, **details))
        return tokens[-1]

    monkeypatch.setattr(KeyRing, "issue", listening)
    mount = make_mount("--log-level=debug", f"--encryption=c:{key_file}")
    trouble(mount, make_mount)
    answers = [mount.b2mount(*words)[1] for words in (["status", "--json"], ["status"], ["doctor", "--json"])]
    assert json.loads(answers[0])
    wait_until(lambda: "file" in mount.log(), "something is logged")
    assert mount.process is not None
    command_line = Path(f"/proc/{mount.process.pid}/cmdline").read_bytes()
    told = b"\n".join([command_line, mount.log().encode(), *(text.encode() for text in answers)])
    told += b"\n".join(bytes_of(mount.cache))
    assert len(tokens) >= 2  # of the account, and of an upload
    hidden = [make_mount.server.application_key, base64.b64encode(own).decode(), own.hex(), *tokens]
    assert [secret for secret in hidden if secret.encode() in told] == []
    assert own not in told
    assert b"b2_upload_file" in told or b"refused" in told  # what failed is told


def test_programs_that_b2mount_starts_get_no_key() -> None:
    """All get an environment that is made for them. (`make demo` calls itself, and needs the key.)"""
    calls = []
    for module in Path(b2mount.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "subprocess.run",
                "subprocess.Popen",
            ):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                calls.append((module.name, given.get("env")))
    assert len(calls) >= 4
    assert {env for name, env in calls if name != "demo.py"} == {"{'LC_ALL': 'C'}"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_files_with_secrets_that_others_may_read_or_write_are_refused(tmp_path: Path, mode: int) -> None:
    for name, text in {
        "key.json": '{"key_id": "id", "application_key": "K00hush"}',
        "config.toml": 'key_id = "id"\napplication_key = "K00hush"\n',
    }.items():
        path = tmp_path / "b2mount" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        given = path if name == "key.json" else None
        surroundings = {"XDG_CONFIG_HOME": str(tmp_path)}
        with pytest.raises(NotAuthorized, match="chmod 600") as raised:
            find_credentials(file=given, environment=surroundings, home=tmp_path)
        assert "hush" not in str(raised.value)
        path.chmod(0o600)
        found = find_credentials(file=given, environment=surroundings, home=tmp_path)
        assert found.application_key == "K00hush"
        assert "hush" not in repr(found)
    key_file = tmp_path / "sse-c.key"
    key_file.write_bytes(bytes(32))
    key_file.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        open_keyring(Encryption.SSE_C, key_file)

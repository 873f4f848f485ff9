"""Where the key comes from, and that it goes nowhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from b2sdk.v3 import SqliteAccountInfo

from b2mount.errors import NotAuthorized
from b2mount.store.credentials import Credentials, find_credentials

ENVIRONMENT = {"B2_APPLICATION_KEY_ID": "env-id", "B2_APPLICATION_KEY": "env-key"}


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def json_file(home: Path, **changes: object) -> Path:
    values = {"key_id": "file-id", "application_key": "file-key", **changes}
    return write(home / "credentials.json", json.dumps(values))


def b2_login(path: Path, name: str = "tool") -> None:
    """Log in as the b2 tool does it, with its own code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = SqliteAccountInfo(str(path))
    info.set_auth_data(
        account_id="account",
        auth_token="token",
        api_url="https://api",
        download_url="https://download",
        recommended_part_size=100,
        absolute_minimum_part_size=10,
        application_key=f"{name}-key",
        realm="production",
        s3_api_url="https://s3",
        allowed={"buckets": None, "capabilities": [], "namePrefix": None},
        application_key_id=f"{name}-id",
    )
    info.close()


CONFIG = 'key_id = "config-id"\napplication_key = "config-key"\n'


def test_the_order(tmp_path: Path) -> None:
    def found(**choices: object) -> str:
        return find_credentials(environment=environment, home=tmp_path, **choices).key_id  # type: ignore[arg-type]  # each fits its field

    environment = dict(ENVIRONMENT)
    file = json_file(tmp_path)
    b2_login(tmp_path / ".config/b2/account_info")
    write(tmp_path / ".config/b2mount/config.toml", CONFIG)
    assert found(file=file) == "file-id"
    assert found() == "env-id"
    environment.clear()
    assert found() == "tool-id"
    (tmp_path / ".config/b2/account_info").unlink()
    assert found() == "config-id"
    write(tmp_path / ".config/b2mount/config.toml", "[defaults]\nttl = 5\n", 0o644)  # no secret in it
    with pytest.raises(NotAuthorized, match="B2_APPLICATION_KEY_ID"):
        found()
    (tmp_path / ".config/b2mount/config.toml").unlink()
    with pytest.raises(NotAuthorized, match="B2_APPLICATION_KEY_ID"):
        found()


def test_whole_of_each(tmp_path: Path) -> None:
    file = find_credentials(file=json_file(tmp_path), environment={}, home=tmp_path)
    assert file == Credentials("file-id", "file-key", "production")
    assert find_credentials(environment=ENVIRONMENT, home=tmp_path) == Credentials("env-id", "env-key")
    b2_login(tmp_path / ".config/b2/account_info")
    assert find_credentials(environment={}, home=tmp_path) == Credentials("tool-id", "tool-key")


def test_the_realm(tmp_path: Path) -> None:
    def realm(value: str) -> str:
        environment = {**ENVIRONMENT, "B2_ENVIRONMENT": value}
        return find_credentials(environment=environment, home=tmp_path).realm

    assert realm("http://127.0.0.1:8180/") == "http://127.0.0.1:8180"
    assert realm("staging") == "staging"
    assert realm("") == "production"
    for bad in ("nowhere", "ftp://x", "http://", "https://user:password@host"):
        with pytest.raises(NotAuthorized, match="B2_ENVIRONMENT"):
            realm(bad)
    file = json_file(tmp_path, realm="http://localhost:1")
    assert find_credentials(file=file, environment={}, home=tmp_path).realm == "http://localhost:1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    file = json_file(tmp_path)
    file.chmod(mode)
    with pytest.raises(NotAuthorized, match="chmod 600"):
        find_credentials(file=file, environment=ENVIRONMENT, home=tmp_path)
    write(tmp_path / ".config/b2mount/config.toml", CONFIG, mode)
    with pytest.raises(NotAuthorized, match="chmod 600"):
        find_credentials(environment={}, home=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json secret-key",
        "[]",
        "[" * 3000,
        "{}",
        '{"key_id": "a"}',
        '{"key_id": "", "application_key": "secret-key"}',
        '{"key_id": 5, "application_key": "secret-key"}',
    ],
)
def test_a_malformed_file(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "credentials.json", text)
    with pytest.raises(NotAuthorized) as caught:
        find_credentials(file=file, environment={}, home=tmp_path)
    assert str(file) in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotAuthorized, match="absent"):
        find_credentials(file=tmp_path / "absent", environment=ENVIRONMENT, home=tmp_path)


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_half_an_environment(tmp_path: Path, name: str) -> None:
    other = next(each for each in ENVIRONMENT if each != name)
    with pytest.raises(NotAuthorized, match=f"{other} is not set"):
        find_credentials(environment={name: "x"}, home=tmp_path)


# -- the b2 tool ---------------------------------------------------------------------------


def test_where_the_b2_tool_keeps_its_login(tmp_path: Path) -> None:
    b2_login(tmp_path / ".config/b2/account_info", "xdg-default")
    assert find_credentials(environment={}, home=tmp_path).key_id == "xdg-default-id"
    b2_login(tmp_path / ".b2_account_info", "classic")
    assert find_credentials(environment={}, home=tmp_path).key_id == "classic-id"
    b2_login(tmp_path / "elsewhere", "named")
    named = {"B2_ACCOUNT_INFO": str(tmp_path / "elsewhere")}
    assert find_credentials(environment=named, home=tmp_path).key_id == "named-id"
    assert (
        find_credentials(environment={"B2_ACCOUNT_INFO": "~/elsewhere"}, home=tmp_path).key_id == "named-id"
    )
    b2_login(tmp_path / "xdg/b2/account_info", "xdg")
    (tmp_path / ".b2_account_info").unlink()
    xdg = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert find_credentials(environment=xdg, home=tmp_path).key_id == "xdg-id"


def test_profiles(tmp_path: Path) -> None:
    b2_login(tmp_path / ".config/b2/db-work.sqlite", "work")
    assert find_credentials(profile="work", environment={}, home=tmp_path).key_id == "work-id"
    b2_login(tmp_path / ".b2db-work.sqlite", "old")
    assert find_credentials(profile="work", environment={}, home=tmp_path).key_id == "old-id"
    for absent in ("play", "../../etc", ""):
        if absent:
            with pytest.raises(NotAuthorized):
                find_credentials(profile=absent, environment={}, home=tmp_path)


def test_a_login_that_was_cleared(tmp_path: Path) -> None:
    path = tmp_path / ".config/b2/account_info"
    b2_login(path)
    info = SqliteAccountInfo(str(path))
    info.clear()
    info.close()
    with pytest.raises(NotAuthorized):
        find_credentials(environment={}, home=tmp_path)


def test_a_login_that_is_broken(tmp_path: Path) -> None:
    write(tmp_path / ".b2_account_info", "this is no database " * 100)
    with pytest.raises(NotAuthorized, match="b2_account_info"):
        find_credentials(environment={}, home=tmp_path)


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(NotAuthorized):
        find_credentials(environment={}, home=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("id", "secret"))

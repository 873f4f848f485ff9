"""Where the application key comes from: the first place that has one wins.

1. the file named on the command line (JSON: key_id, application_key)
2. B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY
3. the login of the official b2 command line tool (a profile, B2_ACCOUNT_INFO, or its usual files)
4. ~/.config/b2mount/config.toml (key_id, application_key), which may be without

Invariants: a key never shows in a repr or an error; files are only read; a file of ours that
others may read is refused.

Must not know: b2sdk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from b2mount.errors import NotAuthorized

DEFAULT_REALM: Final = "production"
REALMS: Final = frozenset({"production", "staging", "dev"})
HOW_TO: Final = (
    "no B2 application key found: set B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY, "
    "or log in with `b2 account authorize`, or use --credentials FILE"
)


@attrs.frozen
class Credentials:
    """An application key, and the B2 that it belongs to."""

    key_id: str
    application_key: str = attrs.field(repr=False)
    realm: str = DEFAULT_REALM
    """`production`, another word that b2sdk knows, or a URL."""
    origin: str = attrs.field(default="", eq=False)
    """Where they were found, in words."""
    file: Path | None = attrs.field(default=None, eq=False)
    """The file that they are in."""


def find_credentials(
    *,
    file: Path | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> Credentials:
    """The first that is there. Raises NotAuthorized, saying what is missing or wrong."""
    home = home or Path.home()
    found = (
        (_from_file(file, json.loads) if file else None)
        or _from_environment(environment)
        or _from_b2_tool(profile, environment, home)
        or _from_config(environment, home)
    )
    if found is None:
        raise NotAuthorized(HOW_TO)
    return attrs.evolve(found, realm=_realm(environment.get("B2_ENVIRONMENT") or found.realm))


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    key_id = environment.get("B2_APPLICATION_KEY_ID")
    key = environment.get("B2_APPLICATION_KEY")
    if not key_id and not key:
        return None
    if not key_id or not key:
        missing = "B2_APPLICATION_KEY" if key_id else "B2_APPLICATION_KEY_ID"
        raise NotAuthorized(f"{missing} is not set")
    return Credentials(key_id, key, origin="B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY")


def _from_config(environment: Mapping[str, str], home: Path) -> Credentials | None:
    path = config_path(environment, home)
    return _from_file(path, tomllib.loads, may_lack=True) if path.exists() else None


def _from_file(path: Path, parse: Callable[[str], object], *, may_lack: bool = False) -> Credentials | None:
    """None where a file that `may_lack` a key has none; such a file is no secret."""
    try:
        is_open = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if is_open and not may_lack:
            raise NotAuthorized(f"{path} can be read by others: chmod 600 {path}")
        values = parse(path.read_text())
    except OSError as error:
        raise NotAuthorized(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise NotAuthorized(f"{path} is malformed") from None  # the cause would show the key
    if not isinstance(values, dict):
        raise NotAuthorized(f"{path} is malformed")
    if may_lack and not values.keys() & {"key_id", "application_key"}:
        return None
    if is_open:
        raise NotAuthorized(f"{path} can be read by others: chmod 600 {path}")
    key_id, key, realm = (values.get(name) for name in ("key_id", "application_key", "realm"))
    if not (isinstance(key_id, str) and key_id and isinstance(key, str) and key):
        raise NotAuthorized(f"{path} must have key_id and application_key")
    return Credentials(key_id, key, realm if isinstance(realm, str) else DEFAULT_REALM, str(path), path)


def _from_b2_tool(profile: str | None, environment: Mapping[str, str], home: Path) -> Credentials | None:
    path = _b2_tool_file(profile, environment, home)
    if path is None:
        if profile:
            raise NotAuthorized(f"the b2 tool has no login of profile {profile}")
        return None
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        with contextlib.closing(connection):
            row = connection.execute(
                "SELECT coalesce(account_id_or_app_key_id, account_id), application_key, realm FROM account"
            ).fetchone()
    except sqlite3.Error as error:
        raise NotAuthorized(f"the b2 tool's login in {path} can't be read: {error}") from error
    if row is None and profile:
        raise NotAuthorized(f"the b2 tool is not logged in with profile {profile}")
    if row is None:
        return None
    key_id, key, realm = (str(value) for value in row)
    return Credentials(key_id, key, realm, f"the b2 tool's login in {path}", path)


def _b2_tool_file(profile: str | None, environment: Mapping[str, str], home: Path) -> Path | None:
    """Where the b2 tool keeps its login, in its own order; None where there is none."""
    config = _config_home(environment, home) / "b2"
    if profile:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", profile):
            raise NotAuthorized(f"not a profile name: {profile!r}")
        candidates = [home / f".b2db-{profile}.sqlite", config / f"db-{profile}.sqlite"]
    elif environment.get("B2_ACCOUNT_INFO"):
        named = environment["B2_ACCOUNT_INFO"]
        candidates = [home / named[2:] if named.startswith("~/") else Path(named)]
    else:
        candidates = [home / ".b2_account_info", config / "account_info"]
    return next((path for path in candidates if path.exists()), None)


def config_path(environment: Mapping[str, str], home: Path) -> Path:
    """Where b2mount's own configuration is, if there is one."""
    return _config_home(environment, home) / "b2mount" / "config.toml"


def _config_home(environment: Mapping[str, str], home: Path) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _realm(name: str) -> str:
    if name in REALMS:
        return name
    parts = urlsplit(name)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password:
        words = ", ".join(sorted(REALMS))
        raise NotAuthorized(f"B2_ENVIRONMENT must be one of {words}, or a URL without a password")
    return name.rstrip("/")

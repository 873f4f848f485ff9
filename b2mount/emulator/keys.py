"""Application keys and the tokens that are given for them. No HTTP.

Invariants: a token is good until it expires, and no longer than its key. Tokens survive a restart,
as a client's do that goes on while B2 exchanges a server.

Must not know: what a capability allows.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

import attrs

from b2mount.emulator.clock import Clock
from b2mount.emulator.database import Database
from b2mount.emulator.errors import ApiError, bad_request

CAPABILITIES: Final = (
    "listKeys",
    "writeKeys",
    "deleteKeys",
    "listBuckets",
    "listAllBucketNames",
    "readBuckets",
    "writeBuckets",
    "deleteBuckets",
    "readBucketEncryption",
    "writeBucketEncryption",
    "readBucketRetentions",
    "writeBucketRetentions",
    "readBucketReplications",
    "writeBucketReplications",
    "readBucketNotifications",
    "writeBucketNotifications",
    "readBucketLogging",
    "writeBucketLogging",
    "readBucketLifecycleRules",
    "writeBucketLifecycleRules",
    "readFileRetentions",
    "writeFileRetentions",
    "readFileLegalHolds",
    "writeFileLegalHolds",
    "bypassGovernance",
    "listFiles",
    "readFiles",
    "shareFiles",
    "writeFiles",
    "deleteFiles",
)
DAY: Final = 86_400_000
ACCOUNT, UPLOAD, PART, DOWNLOAD = "acct", "upld", "uplg", "dnld"


@attrs.frozen
class Key:
    """An application key. `buckets` None is all of them."""

    key_id: str
    secret: str
    name: str
    capabilities: tuple[str, ...]
    buckets: tuple[str, ...] | None = None
    prefix: str | None = None
    expires: int | None = None

    def may(self, capability: str) -> bool:
        return capability in self.capabilities


@attrs.frozen
class Token:
    """What a token stands for; `subject` is a bucket id (upld, dnld) or a file id (uplg)."""

    token: str
    kind: str
    key: Key
    subject: str
    details: dict[str, Any]


class KeyRing:
    """Every key and token of the account."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        account_id = database.setting("account_id")
        if account_id is None:
            account_id = secrets.token_hex(6)
            database.keep("account_id", account_id)
            database.keep("master_secret", "K002" + secrets.token_urlsafe(20)[:27])
        self.account_id = account_id
        self.master = Key(account_id, database.setting("master_secret") or "", "master", CAPABILITIES)
        self._database.execute("DELETE FROM tokens WHERE expires < ?", clock.now() - DAY)

    def create(self, name: str, capabilities: tuple[str, ...], **limits: Any) -> Key:
        """A new key; `limits` are buckets, prefix and expires of Key."""
        with self._database.transaction():
            cursor = self._database.execute("INSERT INTO keys (key_id) VALUES (NULL)")
            key_id = f"002{self.account_id}{cursor.lastrowid:010d}"
            key = Key(key_id, "K002" + secrets.token_urlsafe(20)[:27], name, capabilities, **limits)
            self._database.execute(
                "UPDATE keys SET key_id = ?, document = ? WHERE number = ?",
                key_id,
                json.dumps(attrs.asdict(key)),
                cursor.lastrowid,
            )
        return key

    def get(self, key_id: str) -> Key | None:
        """A key that is there and has not expired."""
        if key_id == self.account_id:
            return self.master
        row = self._database.one("SELECT document FROM keys WHERE key_id = ?", key_id)
        key = None if row is None else _key(row["document"])
        return None if key is None or (key.expires is not None and key.expires <= self._clock.now()) else key

    def delete(self, key_id: str) -> Key:
        """Raises ApiError 400."""
        row = self._database.one("SELECT document FROM keys WHERE key_id = ?", key_id)
        if row is None:
            raise bad_request(f"Key not found: {key_id}")
        self._database.execute("DELETE FROM keys WHERE key_id = ?", key_id)
        return _key(row["document"])

    def all(self, start: str, limit: int) -> list[Key]:
        """In order of their ids, the master key left out, expired ones too."""
        rows = self._database.all(
            "SELECT document FROM keys WHERE key_id >= ? ORDER BY key_id LIMIT ?", start, limit
        )
        return [_key(row["document"]) for row in rows]

    def issue(self, kind: str, key: Key, subject: str, life: int = DAY, **details: Any) -> str:
        """A new token, good for `life` milliseconds."""
        token = (
            f"4_{key.key_id}_{secrets.token_hex(9)}_{secrets.token_hex(3)}_{kind}_{secrets.token_urlsafe(20)}"
        )
        self._database.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)",
            token,
            kind,
            key.key_id,
            subject,
            self._clock.now() + life,
            json.dumps(details),
        )
        return token

    def check(self, token: str, *kinds: str) -> Token:
        """What a token stands for. Raises ApiError 401 bad_auth_token, expired_auth_token."""
        row = self._database.one("SELECT * FROM tokens WHERE token = ?", token)
        key = None if row is None else self.get(row["key_id"])
        if row is None or row["kind"] not in kinds:
            raise ApiError(401, "bad_auth_token", "Invalid authorization token")
        if key is None or row["expires"] <= self._clock.now():
            raise ApiError(401, "expired_auth_token", "Authorization token has expired")
        return Token(token, row["kind"], key, row["subject"], json.loads(row["document"]))

    def expire(self, token: str) -> None:
        """Make one token old."""
        self._database.execute("UPDATE tokens SET expires = ? WHERE token = ?", self._clock.now() - 1, token)

    def expire_tokens(self, kind: str | None = None) -> int:
        """Make tokens old: all, or those of a kind. How many there were."""
        now = self._clock.now()
        where = " AND kind = ?" if kind else ""
        cursor = self._database.execute(
            f"UPDATE tokens SET expires = ? WHERE expires > ?{where}", now - 1, now, *([kind] if kind else [])
        )
        return cursor.rowcount


def _key(document: str) -> Key:
    fields = json.loads(document)
    buckets = fields["buckets"]
    return Key(
        **{
            **fields,
            "capabilities": tuple(fields["capabilities"]),
            "buckets": None if buckets is None else tuple(buckets),
        }
    )

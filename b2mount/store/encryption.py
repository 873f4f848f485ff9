"""Keyring: what objects are encrypted with when they are written, and with which key they are read.

Of B2's two kinds SSE-B2 needs no key of ours; with SSE-C the key goes with every request and B2 keeps
none. Nothing is asked for unless it was wished: then the bucket's default holds.

Invariants: the key is in no repr, error, log line or file of ours; a version that B2 refused under
this key is not asked for again; at most a bounded number of versions is remembered.

Must not know: requests.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import stat
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
from b2sdk.v3 import EncryptionAlgorithm, EncryptionKey, EncryptionMode, EncryptionSetting
from cachetools import LRUCache

from b2mount.errors import B2MountError, KeyMissing, UsageError
from b2mount.model import Encryption, ObjectVersion
from b2mount.store.b2_errors import is_wrong_key

KEY_SIZE: Final = 32
LONGEST_KEY_FILE: Final = 4096
REMEMBERED: Final = 10_000
"""Versions of which it is known whether the key is theirs."""


@attrs.define(eq=False)
class Keyring:
    """See the module. Without a key nothing that is encrypted with SSE-C can be read."""

    mode: Encryption = Encryption.NONE
    """NONE leaves it to the bucket."""
    _key: bytes = attrs.field(default=b"", repr=False)
    _fits: MutableMapping[str, bool] = attrs.field(factory=lambda: LRUCache(REMEMBERED), init=False)
    """By version id."""

    @property
    def setting(self) -> str:
        """Equal for equal wishes; tells nothing of the key but whether it is the same."""
        if self.mode is not Encryption.SSE_C:
            return "" if self.mode is Encryption.NONE else self.mode.value
        digest = hashlib.sha256(b"b2mount, which key:" + self._key).hexdigest()
        return f"{self.mode.value} {digest[:16]}"

    @property
    def for_objects(self) -> EncryptionSetting | None:
        """What to say when an object is written, or a large file started."""
        if self.mode is Encryption.SSE_B2:
            return EncryptionSetting(EncryptionMode.SSE_B2, EncryptionAlgorithm.AES256)
        return self.for_parts

    @property
    def for_parts(self) -> EncryptionSetting | None:
        """What to say when a part of such a large file is written: only a key must be said again."""
        if self.mode is not Encryption.SSE_C:
            return None
        key = EncryptionKey(self._key, None)
        return EncryptionSetting(EncryptionMode.SSE_C, EncryptionAlgorithm.AES256, key)

    def for_reading(self, version: ObjectVersion) -> EncryptionSetting | None:
        """What to say when a version is read or copied. Raises KeyMissing."""
        self.check(version)
        return self.for_parts if version.encryption is Encryption.SSE_C else None

    def check(self, version: ObjectVersion) -> None:
        """Raises KeyMissing when it is known that the version can't be read."""
        if version.encryption is not Encryption.SSE_C:
            return
        if self.mode is not Encryption.SSE_C:
            raise KeyMissing(
                f"{version.path} is encrypted with a key of its own (SSE-C): "
                "mount with --encryption c:KEYFILE to open it"
            )
        if self._fits.get(version.version_id) is False:
            raise KeyMissing(
                f"{version.path} is encrypted (SSE-C) with another key than the one in --encryption: "
                "mount with its own key to open it"
            )

    def is_unsure(self, version: ObjectVersion) -> bool:
        """Whether B2 has not said yet whether this key is the version's."""
        return version.encryption is Encryption.SSE_C and version.version_id not in self._fits

    def wrote(self, version: ObjectVersion) -> ObjectVersion:
        """It was written with this key, and is given back."""
        if self.mode is Encryption.SSE_C and version.encryption is Encryption.SSE_C:
            self._fits[version.version_id] = True
        return version

    @contextmanager
    def reading(self, version: ObjectVersion) -> Iterator[None]:
        """Around a request that needs the version's key: learns whether it has it. Raises KeyMissing."""
        try:
            yield
        except B2MountError as error:
            if version.encryption is Encryption.SSE_C and is_wrong_key(error):
                self._fits[version.version_id] = False
                self.check(version)
            raise
        if version.encryption is Encryption.SSE_C:
            self._fits[version.version_id] = True


def open_keyring(mode: Encryption, key_file: Path | None) -> Keyring:
    """What the option asks for, with the key of its file. Raises UsageError."""
    return Keyring(mode, read_key(key_file) if key_file is not None else b"")


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key, as they are, or in base64 or hex. Raises UsageError."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"option encryption: {path} can be read by others: chmod 600 {path}")
        with path.open("rb") as file:
            data = file.read(LONGEST_KEY_FILE)
    except OSError as error:
        raise UsageError(f"option encryption: {path} can't be read: {error.strerror}") from error
    key = data if len(data) == KEY_SIZE else _decoded(data)
    if key is None or len(key) != KEY_SIZE:
        raise UsageError(
            f"option encryption: {path} holds no key: it must have 32 bytes, as they are, or in base64 or hex"
        )
    return key


def _decoded(data: bytes) -> bytes | None:
    text = data.strip()
    if re.fullmatch(rb"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text.decode())
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None

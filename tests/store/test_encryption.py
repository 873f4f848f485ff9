"""Keys for SSE-C: where they come from, when they are sent, and that nobody sees them."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest
from b2sdk.v3 import EncryptionAlgorithm, EncryptionMode, EncryptionSetting

from b2mount.errors import KeyMissing, UsageError
from b2mount.model import Encryption, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.store.b2_store import B2Store, open_b2_store
from b2mount.store.encryption import Keyring, open_keyring, read_key
from tests.fakes.memory_store import literal
from tests.store.conftest import Site, credentials

KEY = bytes(range(100, 132))


def a_file(directory: Path, data: bytes, mode: int = 0o600) -> Path:
    path = directory / "key"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "data",
    [
        KEY,
        base64.b64encode(KEY),
        base64.b64encode(KEY) + b"\n",
        KEY.hex().encode(),
        b" " + KEY.hex().upper().encode() + b"\n",
    ],
)
def test_a_key_as_it_is_or_in_base64_or_hex(tmp_path: Path, data: bytes) -> None:
    assert read_key(a_file(tmp_path, data)) == KEY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"secret",
        KEY + b"\n",
        KEY[:31],
        KEY.hex()[:62].encode(),
        base64.b64encode(KEY * 2),
        b"\xff" * 9999,
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="holds no key") as caught:
        read_key(a_file(tmp_path, data))
    assert not data or data.decode(errors="replace") not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="chmod 600"):
        read_key(a_file(tmp_path, KEY, mode))


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"option encryption: .*No such file"):
        open_keyring(Encryption.SSE_C, tmp_path / "none")


def test_nobody_sees_the_key() -> None:
    keyring = Keyring(Encryption.SSE_C, KEY)
    shown = [repr(keyring), keyring.setting, repr(keyring.for_objects)]
    for form in (KEY.hex(), base64.b64encode(KEY).decode(), repr(KEY), repr(KEY)[2:-1]):
        assert not any(form in text for text in shown)
    assert keyring.setting == Keyring(Encryption.SSE_C, KEY).setting
    assert keyring.setting != Keyring(Encryption.SSE_C, KEY[::-1]).setting


async def keyed(site: Site, mode: Encryption, key: bytes = b"") -> B2Store:
    return await open_b2_store(credentials(site.server), keyring=Keyring(mode, key))


async def test_b2_is_asked_once_for_a_version_with_another_key(site: Site) -> None:
    mine, other = await keyed(site, Encryption.SSE_C, KEY), await keyed(site, Encryption.SSE_C, KEY[::-1])
    version = await mine.put(site.path("file"), literal(b"data"), ObjectMetadata())
    site.server.counts.reset()
    for _ in range(3):
        with pytest.raises(KeyMissing, match="another key than the one in --encryption"):
            await Site(site.server, other).read(version)
        with pytest.raises(KeyMissing):
            await other.copy(version, site.path("copy"))
        with pytest.raises(KeyMissing):
            await other.try_key(version)
        with pytest.raises(KeyMissing, match="mount with --encryption c:KEYFILE"):
            await site.read(version)
        with pytest.raises(KeyMissing):
            await site.store.copy(version, site.path("copy"))
    assert site.calls("b2_download_file_by_id") == 1
    assert site.calls("b2_copy_file") == 0
    await mine.try_key(version)  # has written it itself
    assert site.calls("b2_download_file_by_id") == 1
    another = await keyed(site, Encryption.SSE_C, KEY)
    for _ in range(3):
        await another.try_key(version)
    assert site.calls("b2_download_file_by_id") == 2
    another.close()
    mine.close()
    other.close()


async def test_a_stat_costs_no_listing_unless_b2_will_not_tell(site: Site) -> None:
    mine = await keyed(site, Encryption.SSE_C, KEY)
    secret = await mine.put(site.path("secret"), literal(b"data"), ObjectMetadata())
    plain = await site.put("plain")
    assert await mine.stat(plain.path) == plain
    assert site.calls("b2_list_file_names") == 0
    assert await site.store.stat(secret.path) == await mine.stat(secret.path) == secret
    assert site.calls("b2_list_file_names") == 2
    mine.close()


async def test_the_default_of_the_bucket_holds_unless_something_else_is_wished(site: Site) -> None:
    (bucket,) = await site.store.list_buckets()
    default = EncryptionSetting(EncryptionMode.SSE_B2, EncryptionAlgorithm.AES256)
    site.store._client.session.update_bucket(
        site.store.account.account_id, bucket.bucket_id, default_server_side_encryption=default
    )
    version = await site.put("file")
    assert version.encryption is Encryption.SSE_B2
    assert await site.store.stat(version.path) == version
    copy = await site.store.copy(version, site.path("copy"))
    assert copy.encryption is Encryption.SSE_B2
    mine = await keyed(site, Encryption.SSE_C, KEY)
    assert (await mine.copy(version, version.path)).encryption is Encryption.SSE_C
    mine.close()


async def test_no_log_has_the_key(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    mine, other = await keyed(site, Encryption.SSE_C, KEY), await keyed(site, Encryption.SSE_C, KEY[::-1])
    with caplog.at_level(logging.DEBUG):
        version = await mine.put(site.path("file"), literal(b"data"), ObjectMetadata())
        await mine.copy(version, site.path("copy"), ObjectMetadata("text/plain"))
        with pytest.raises(KeyMissing) as caught:
            await Site(site.server, other).read(version)
    everything = caplog.text + repr(caught.value) + repr(mine.__dict__) + repr(version)
    for key in (KEY, KEY[::-1]):
        assert base64.b64encode(key).decode() not in everything
        assert key.hex() not in everything
        assert repr(key) not in everything
    mine.close()
    other.close()


def test_an_ordinary_version_needs_no_key() -> None:
    version = ObjectVersion(ObjectPath("bucket", "file"), "id", 1, 1)
    Keyring().check(version)
    assert Keyring().for_reading(version) is None
    assert Keyring(Encryption.SSE_C, KEY).for_reading(version) is None

"""What docs promise of encryption, retention and legal hold, on a real mount, with Backblaze's own tool
as the witness."""

from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path

import pytest

from tests.mounted.bucket import RemoteBucket
from tests.mounted.conftest import MountMaker
from tests.mounted.harness import Mount
from tests.mounted.test_semantics_xattrs import get, missing, refused

pytestmark = pytest.mark.kernel

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
SSE_C = ("--source-server-side-encryption", "SSE-C")
BIG = os.urandom(9_000_000)


def key_file(directory: Path, key: bytes) -> Path:
    path = directory / f"{key[0]}.key"
    path.write_bytes(base64.b64encode(key) + b"\n")
    path.chmod(0o600)
    return path


def facts(mount: Mount, key: str) -> dict[str, object]:
    """What the b2 tool says of the newest version of a name."""
    listed = json.loads(mount.b2("ls", "--json", "--recursive", f"b2://{mount.bucket.name}"))
    (found,) = [row for row in listed if row["fileName"] == key]
    return dict(json.loads(mount.b2("file", "info", f"b2id://{found['fileId']}")))


def encryption_of(mount: Mount, key: str) -> str:
    setting = facts(mount, key)["serverSideEncryption"]
    assert isinstance(setting, dict)
    return str(setting["mode"])


def denied(path: Path) -> None:
    with pytest.raises(PermissionError) as caught:
        path.read_bytes()
    assert caught.value.errno == errno.EACCES


def test_encryption_with_a_key_of_ones_own(make_mount: MountMaker, tmp_path: Path) -> None:
    """The b2 tool reads what was written with the key, and nobody without it; nothing of ours has it."""
    mount = make_mount("--encryption", f"c:{key_file(tmp_path, KEY)}", "--log-level", "debug")
    path = mount.path / "dir" / "file"
    path.parent.mkdir()
    path.write_bytes(b"secret ")
    with path.open("ab") as file:
        file.write(b"matter")
    path.chmod(0o600)
    os.setxattr(path, "user.note", b"text")
    path = path.rename(path.with_name("moved"))
    (mount.path / "big").write_bytes(BIG)
    with (mount.path / "big").open("r+b") as file:
        file.write(b"changed")
    assert get(path, "encryption") == "SSE-C"
    assert encryption_of(mount, "dir/moved") == encryption_of(mount, "big") == "SSE-C"
    mount.remount(fresh_cache=True)
    assert path.read_bytes() == b"secret matter"
    assert (mount.path / "big").read_bytes() == b"changed" + BIG[7:]
    source = f"b2://{mount.bucket.name}/dir/moved"
    code, _ = mount.programs.attempt(["b2", "file", "download", source, tmp_path / "without"])
    assert code != 0
    mount.programs.environment["B2_SOURCE_SSE_C_KEY_B64"] = base64.b64encode(KEY).decode()
    mount.b2("file", "download", "--no-progress", *SSE_C, source, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"secret matter"
    mount.check()
    for form in (KEY, base64.b64encode(KEY), KEY.hex().encode()):
        assert form not in mount.log().encode()
        assert not any(form in each.read_bytes() for each in mount.cache.rglob("*") if each.is_file())


def test_files_of_another_key(make_mount: MountMaker, tmp_path: Path) -> None:
    """They are listed, nothing opens them, and the log says once for each what to do."""
    bucket = make_mount.bucket()
    with_key = make_mount("--encryption", f"c:{key_file(tmp_path, KEY)}", bucket=bucket)
    for name in ("one", "two"):
        (with_key.path / name).write_bytes(b"secret")
    with_key.umount()
    for options, reason in [
        ((), "mount with --encryption c:KEYFILE"),
        (("--encryption", f"c:{key_file(tmp_path, OTHER)}"), "another key than the one in --encryption"),
    ]:
        mount = make_mount(*options, bucket=bucket)
        mount.expect_log("is encrypted")
        one = mount.path / "one"
        assert sorted(os.listdir(mount.path)) == ["one", "two"]
        assert one.stat().st_size == 6
        for _ in range(3):
            denied(one)
        refused(errno.EACCES, one, "user.note", b"text")
        with pytest.raises(PermissionError):
            one.chmod(0o600)
        with pytest.raises(PermissionError):
            one.rename(mount.path / "three")
        assert [line for line in mount.log().splitlines() if reason in line and "/one " in line]
        assert len([line for line in mount.log().splitlines() if "/one is encrypted" in line]) == 1
        assert get(one, "encryption") == "SSE-C"
        mount.umount()
    mount = make_mount(bucket=bucket)
    (mount.path / "one").write_bytes(b"no secret")
    (mount.path / "two").unlink()
    assert bucket.read("one") == b"no secret"
    assert bucket.versions("two") == ["hide", "upload"]


def test_encryption_by_b2(make_mount: MountMaker) -> None:
    mount = make_mount("--encryption", "b2")
    (mount.path / "file").write_bytes(b"data")
    (mount.path / "file").rename(mount.path / "moved")
    assert get(mount.path / "moved", "encryption") == "SSE-B2"
    assert encryption_of(mount, "moved") == "SSE-B2"


@pytest.mark.parametrize(
    ("option", "message"),
    [("c:/does/not/exist", "can't be read"), ("aes", "neither b2 nor c:KEYFILE"), ("c:open", "chmod 600")],
)
def test_an_encryption_that_cannot_be(
    make_mount: MountMaker, tmp_path: Path, option: str, message: str
) -> None:
    """Exit 2, and one line."""
    path = key_file(tmp_path, KEY)
    path.chmod(0o644)
    mount = make_mount.prepare("--encryption", option.replace("open", str(path)))
    code, output = mount.programs.attempt(mount.command())
    assert code == 2
    assert message in output
    assert len(output.splitlines()) == 1


def lockable(maker: MountMaker) -> RemoteBucket:
    """A bucket with Object Lock."""
    name = f"{maker.bucket().name}-lock"
    return RemoteBucket(maker.server, maker.api.create_bucket(name, "allPrivate", is_file_lock_enabled=True))


def test_retention_and_legal_hold(make_mount: MountMaker) -> None:
    mount = make_mount("--unlink=delete", "--write-back=600", bucket=lockable(make_mount))
    path = mount.path / "file"
    path.write_bytes(b"data")
    missing(path, "user.b2.retention")
    mount.programs.run("setfattr", "-n", "user.b2.retention", "-v", "governance 2096-01-31T12:00:00Z", path)
    mount.programs.run("setfattr", "-n", "user.b2.legal_hold", "-v", "on", path)
    assert get(path, "retention") == "governance 2096-01-31T12:00:00Z"
    assert get(path, "legal_hold") == "on"
    assert os.listxattr(path) == []
    found = facts(mount, "file")
    assert found["fileRetention"] == {"mode": "governance", "retainUntilTimestamp": 3978849600000}
    assert found["legalHold"] == "on"
    mount.expect_log("file can't be deleted")
    with pytest.raises(PermissionError) as caught:
        path.unlink()
    assert caught.value.errno == errno.EPERM
    assert "is under a legal hold" in mount.log()
    assert path.read_bytes() == b"data"
    os.setxattr(path, "user.b2.legal_hold", b"off")
    with pytest.raises(PermissionError):
        path.unlink()
    assert "is under governance retention until 2096-01-31T12:00:00Z" in mount.log()
    refused(errno.EINVAL, path, "user.b2.retention", b"governance 2001-01-01")
    refused(errno.EINVAL, path, "user.b2.legal_hold", b"perhaps")
    mount.programs.run("setfattr", "-x", "user.b2.retention", path)
    path.unlink()
    assert mount.bucket.versions("file") == []


def test_a_bucket_without_object_lock(mount: Mount) -> None:
    path = mount.path / "file"
    path.write_bytes(b"data")
    refused(errno.EOPNOTSUPP, path, "user.b2.retention", b"governance 1d")
    refused(errno.EOPNOTSUPP, path, "user.b2.legal_hold", b"on")
    assert get(path, "legal_hold") == "off"

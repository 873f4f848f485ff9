"""What is in B2, seen past the mount: through b2sdk, as another program would see it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import attrs
from b2sdk.v3 import B2Api, B2HttpApiConfig, Bucket, FileVersion, InMemoryAccountInfo

from b2mount.emulator.records import UPLOAD, Attributes
from b2mount.emulator.server import EmulatorServer


@attrs.frozen
class StoredObject:
    """The newest version of a name."""

    size: int
    sha1: str
    version_id: str
    info: Mapping[str, str] = attrs.field(hash=False)
    content_type: str


class BucketView(Protocol):
    """A bucket from outside."""

    @property
    def name(self) -> str:
        """Its name in the account."""
        ...

    def objects(self, prefix: str = "") -> dict[str, StoredObject]:
        """Every visible name below `prefix` (placeholders too) and its newest version."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of the newest version."""
        ...

    def put(self, key: str, data: bytes, info: Mapping[str, str] | None = None) -> str:
        """A new version, by another program; its id."""
        ...

    def versions(self, key: str) -> list[str]:
        """Actions of all versions of a name, newest first: upload, hide."""
        ...


def sha1_of(data: bytes) -> str:
    """As B2 writes it."""
    return hashlib.sha1(data).hexdigest()


def open_account(url: str, key_id: str, application_key: str) -> B2Api:
    """An authorized b2sdk session that keeps nothing on disk, whatever the emulator's clock says."""
    api = B2Api(InMemoryAccountInfo(), api_config=B2HttpApiConfig(install_clock_skew_hook=False))
    api.authorize_account(application_key_id=key_id, application_key=application_key, realm=url)
    return api


@attrs.frozen
class RemoteBucket:
    """A bucket of the emulator."""

    server: EmulatorServer
    bucket: Bucket

    @property
    def name(self) -> str:
        return str(self.bucket.name)

    def _record(self, version: FileVersion) -> StoredObject:
        info = dict(version.file_info)
        sha1 = version.content_sha1
        if sha1 in (None, "none"):
            sha1 = info.get("large_file_sha1") or sha1_of(self.read(version.file_name))
        return StoredObject(version.size, sha1, version.id_, info, version.content_type)

    def objects(self, prefix: str = "") -> dict[str, StoredObject]:
        listing = self.bucket.ls(prefix, latest_only=True, recursive=True)
        return {version.file_name: self._record(version) for version, _ in listing}

    def read(self, key: str) -> bytes:
        buffer = io.BytesIO()
        self.bucket.download_file_by_name(key).save(buffer)
        return buffer.getvalue()

    def put(self, key: str, data: bytes, info: Mapping[str, str] | None = None) -> str:
        return str(self.bucket.upload_bytes(data, key, file_info=dict(info or {})).id_)

    def fill(self, names: Iterable[str], data: bytes) -> None:
        """Many objects with the same bytes, without a request for each; also under names that B2's native API
        refuses and that come into a bucket through its S3 API."""
        state = self.server.state

        def put_all() -> None:
            content, attributes = state.store(data), Attributes("text/plain")
            bucket = state.buckets.named(self.name)
            assert bucket is not None
            with state.contents.changes():
                for name in names:
                    version = state.files.add(bucket, name, UPLOAD, content, attributes, None)
                    state.contents.give(version.number, content.segments)
                    state.files.refresh(bucket, name)

        self.server.run(put_all)

    def versions(self, key: str) -> list[str]:
        return [version.action for version in self.bucket.list_file_versions(key)]


@attrs.frozen
class LocalBucket:
    """A plain directory that plays the bucket, for trying the tests themselves."""

    root: Path
    name: str = "local"

    def objects(self, prefix: str = "") -> dict[str, StoredObject]:
        found = {}
        for path in self.root.rglob("*"):
            key = str(path.relative_to(self.root))
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                key, data = f"{key}/.bzEmpty", b""
            elif path.is_file() and not path.is_symlink():
                data = path.read_bytes()
            else:
                continue
            if key.startswith(prefix):
                found[key] = StoredObject(len(data), sha1_of(data), str(path.stat().st_ino), {}, "")
        return found

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def put(self, key: str, data: bytes, info: Mapping[str, str] | None = None) -> str:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return str(path.stat().st_ino)

    def versions(self, key: str) -> list[str]:
        return ["upload"] if (self.root / key).exists() else []

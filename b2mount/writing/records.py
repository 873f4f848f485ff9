"""Values of the journal as JSON text and back. Pure.

Unknown keys are ignored and missing ones get the default, so that a mount of another version can
read what it finds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NotRequired, TypedDict

from b2mount.model import Action, Attributes, Encryption, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.writing.extents import ExtentMap
from b2mount.writing.sealed_file import Fate, SealedFile

FateOf = Callable[[str], Fate]


class _VersionRecord(TypedDict):
    path: list[str]
    version_id: str
    size: int
    uploaded_ms: int
    content_type: str
    sha1: str | None
    info: dict[str, str]
    encryption: NotRequired[str]


class _AttributesRecord(TypedDict):
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    modified_ns: int
    changed_ns: int
    accessed_ns: int
    target: str | None
    device: NotRequired[int]


class _SealedRecord(TypedDict):
    staging_id: str
    path: list[str]
    content_type: str
    info: dict[str, str]
    attributes: _AttributesRecord
    extents: str
    version: _VersionRecord | None
    sealed: _SealedRecord | None
    since: float


def sealed_to_json(sealed: SealedFile) -> str:
    """A generation with all that it stands on: later records are not needed to read it."""
    return json.dumps(_sealed_record(sealed), separators=(",", ":"))


def sealed_from_json(text: str, fate_of: FateOf, directory: str) -> SealedFile:
    """What sealed_to_json wrote; `fate_of` gives all records of one staging id the same Fate. The local
    files are in `directory`."""
    return _sealed(json.loads(text), fate_of, directory)


def path_of_record(text: str) -> ObjectPath | None:
    """Whose record sealed_to_json wrote; None for what can't be read."""
    try:
        return ObjectPath(*json.loads(text)["path"])
    except (ValueError, LookupError, TypeError):
        return None


def version_to_json(version: ObjectVersion) -> str:
    """An object version as text."""
    return json.dumps(_version_record(version), separators=(",", ":"))


def version_from_json(text: str) -> ObjectVersion:
    """What version_to_json wrote."""
    return _version(json.loads(text))


def _sealed_record(sealed: SealedFile) -> _SealedRecord:
    base, attributes = sealed.base, sealed.attributes
    return {
        "staging_id": sealed.staging_id,
        "path": [sealed.path.bucket, sealed.path.key],
        "content_type": sealed.metadata.content_type,
        "info": dict(sealed.metadata.info),
        "attributes": {
            "kind": attributes.kind.value,
            "mode": attributes.mode,
            "uid": attributes.uid,
            "gid": attributes.gid,
            "size": attributes.size,
            "modified_ns": attributes.modified_ns,
            "changed_ns": attributes.changed_ns,
            "accessed_ns": attributes.accessed_ns,
            "target": attributes.target,
            "device": attributes.device,
        },
        "extents": sealed.extents.to_json(),
        "version": _version_record(base) if isinstance(base, ObjectVersion) else None,
        "sealed": _sealed_record(base) if isinstance(base, SealedFile) else None,
        "since": sealed.since,
    }


def _sealed(record: _SealedRecord, fate_of: FateOf, directory: str) -> SealedFile:
    base: ObjectVersion | SealedFile | None = None
    if record["version"] is not None:
        base = _version(record["version"])
    elif record["sealed"] is not None:
        base = _sealed(record["sealed"], fate_of, directory)
        base.fate.users |= {record["staging_id"]}
    stat = record["attributes"]
    return SealedFile(
        record["staging_id"],
        ObjectPath(*record["path"]),
        ObjectMetadata(record["content_type"], record["info"]),
        Attributes(
            Kind(stat["kind"]),
            stat["mode"],
            stat["uid"],
            stat["gid"],
            stat["size"],
            stat["modified_ns"],
            stat["changed_ns"],
            stat["accessed_ns"],
            stat.get("target"),
            stat.get("device", 0),
        ),
        ExtentMap.from_json(record["extents"]),
        directory,
        base,
        fate_of(record["staging_id"]),
        record["since"],
    )


def _version_record(version: ObjectVersion) -> _VersionRecord:
    return {
        "path": [version.path.bucket, version.path.key],
        "version_id": version.version_id,
        "size": version.size,
        "uploaded_ms": version.uploaded_ms,
        "content_type": version.content_type,
        "sha1": version.sha1,
        "info": dict(version.info),
        "encryption": version.encryption.value,
    }


def _version(record: _VersionRecord) -> ObjectVersion:
    return ObjectVersion(
        ObjectPath(*record["path"]),
        record["version_id"],
        record["size"],
        record["uploaded_ms"],
        record["content_type"],
        record["sha1"],
        record["info"],
        Action.UPLOAD,
        Encryption(record.get("encryption", Encryption.NONE.value)),
    )

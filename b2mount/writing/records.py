"""Values of the journal as JSON text and back. Pure.

Unknown keys are ignored and missing ones get the default, so that a mount of another version can
read what it finds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final, NotRequired, TypedDict

import attrs

from b2mount.model import Action, Attributes, Encryption, Kind, ObjectMetadata, ObjectPath, ObjectVersion
from b2mount.writing.extents import ExtentMap
from b2mount.writing.sealed_file import Fate, SealedFile

FateOf = Callable[[str], Fate]

LARGEST_NUMBER: Final = 2**63 - 1
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a record of a strange shape raises."""


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
    keeps_bytes: NotRequired[bool]


@attrs.frozen
class MoveRecord:
    """A rename under way."""

    number: int
    version: ObjectVersion
    destination: ObjectPath
    begun_ms: int
    """By B2's clock."""
    over: str | None
    """The id of the version that the new name showed then; None when none was known."""

    @property
    def is_way_back(self) -> bool:
        """Whether it has been decided that the object is to have its old name again."""
        return self.destination == self.version.path


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
        return path_of(json.loads(text)["path"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def path_of(record: Sequence[str]) -> ObjectPath:
    """Bucket and key. Raises TypeError, ValueError for anything else."""
    bucket, key = record
    return ObjectPath(text_of(bucket), text_of(key))


def metadata_of(content_type: str, info: dict[str, str]) -> ObjectMetadata:
    """Raises TypeError, ValueError for what is no metadata."""
    return ObjectMetadata(text_of(content_type), _info(info))


def staging_id_of(record: str) -> str:
    """Raises ValueError for what could be the name of a file elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text_of(record)):
        raise ValueError("not the id of a staging file")
    return record


def text_of(value: object) -> str:
    """Raises TypeError, ValueError for what is none that B2 could be told."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    value.encode()
    return value


def count_of(value: object) -> int:
    """Raises ValueError for what is no size, number or moment."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError("not a number of anything")
    return value


def _time(value: object) -> int:
    """Nanoseconds, before 1970 too."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_NUMBER:
        raise ValueError("not a time")
    return value


def _info(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("not object info")
    return {text_of(key): text_of(each) for key, each in value.items()}


def _since(value: object) -> float:
    """Unix seconds."""
    if not isinstance(value, int | float) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError("not a time")
    return float(value)


def _optional(value: object) -> str | None:
    return None if value is None else text_of(value)


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
        "keeps_bytes": sealed.keeps_bytes,
    }


def _sealed(record: _SealedRecord, fate_of: FateOf, directory: str) -> SealedFile:
    base: ObjectVersion | SealedFile | None = None
    if record["version"] is not None:
        base = _version(record["version"])
    elif record["sealed"] is not None:
        base = _sealed(record["sealed"], fate_of, directory)
        base.fate.users |= {staging_id_of(record["staging_id"])}
    stat = record["attributes"]
    return SealedFile(
        staging_id_of(record["staging_id"]),
        path_of(record["path"]),
        metadata_of(record["content_type"], record["info"]),
        Attributes(
            Kind(stat["kind"]),
            count_of(stat["mode"]),
            count_of(stat["uid"]),
            count_of(stat["gid"]),
            count_of(stat["size"]),
            _time(stat["modified_ns"]),
            _time(stat["changed_ns"]),
            _time(stat["accessed_ns"]),
            _optional(stat.get("target")),
            count_of(stat.get("device", 0)),
        ),
        ExtentMap.from_json(text_of(record["extents"])),
        directory,
        base,
        fate_of(record["staging_id"]),
        _since(record["since"]),
        record.get("keeps_bytes") is True,
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
        path_of(record["path"]),
        text_of(record["version_id"]),
        count_of(record["size"]),
        count_of(record["uploaded_ms"]),
        text_of(record["content_type"]),
        _optional(record["sha1"]),
        _info(record["info"]),
        Action.UPLOAD,
        Encryption(record.get("encryption", Encryption.NONE.value)),
    )

"""b2mount versions, restore and undelete: what B2 still has of a file, and how it comes back."""

from __future__ import annotations

import json
from argparse import Namespace

from b2mount.cli import wording
from b2mount.cli.progress import working
from b2mount.control.client import find_path
from b2mount.errors import B2MountError, NotFound, UsageError
from b2mount.filesystem.status import VersionStatus
from b2mount.moments import moment_name, parse_moment
from b2mount.plain_text import plain


def execute(arguments: Namespace) -> int:
    """Carry out one of the three."""
    client, path = find_path(arguments.path)
    try:
        if arguments.command == "versions":
            found = client.versions(path)
            print(json.dumps([_fields(one) for one in found], indent=2) if arguments.json else _table(found))
        elif arguments.command == "restore":
            with working(f"restoring {arguments.path}"):
                version = client.restore(path, arguments.version, _moment(arguments.at))
            print(plain(f"{arguments.path} is the version of {_time(version)} again"))
        else:
            with working(f"undeleting {arguments.path}"):
                count = client.undelete(path)
            print(f"{wording.files(count)} undeleted")
    except NotFound as error:
        raise B2MountError(str(error)) from error
    return 0


def _moment(text: str | None) -> int | None:
    try:
        return None if text is None else parse_moment(text)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from None


def _time(version: VersionStatus) -> str:
    return moment_name(version.uploaded_ms, digits=True)


def _table(versions: list[VersionStatus]) -> str:
    """A line for each: when, how big, what was done, and its id."""
    rows = [(_time(one), _size(one), one.action, one.version_id) for one in versions]
    width = max(len(row[1]) for row in rows)
    return "\n".join(plain(f"{time}  {size:>{width}}  {what:6}  {id_}") for time, size, what, id_ in rows)


def _size(version: VersionStatus) -> str:
    return wording.size(version.size) if version.action == "upload" else "-"


def _fields(version: VersionStatus) -> dict[str, object]:
    return {
        "id": version.version_id,
        "uploaded": _time(version),
        "size": version.size,
        "action": version.action,
        "sha1": version.sha1,
        "content_type": version.content_type,
    }

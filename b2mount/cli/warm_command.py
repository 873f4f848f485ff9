"""b2mount warm: fetch files and trees into the cache of the mount that holds them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from b2mount import errors
from b2mount.cli import wording
from b2mount.cli.progress import TransferLine
from b2mount.control.client import find_path
from b2mount.errors import B2MountError, NotFound
from b2mount.filesystem.status import Unfetched, WarmStatus

NAMED = 3
"""Files that could not be fetched and are named."""


def execute(arguments: Namespace) -> int:
    """Fetch one path after the other, showing progress, and say what is in the cache now. Interrupted,
    the mount stops fetching too. Raises, naming files, when any could not be fetched."""
    places = [(path, *find_path(path)) for path in arguments.paths]
    ended: list[WarmStatus] = []
    with TransferLine("fetching", "fetched") as line:
        for given, client, path in places:
            try:
                for status in client.warm(path):
                    left = status.files - status.files_done - status.failures
                    line.show(left, status.size_done, status.size)
            except NotFound as error:
                raise B2MountError(f"{given}: no such file or directory") from error
            ended.append(status)
    done = sum(status.files_done for status in ended)
    size = sum(status.size_done for status in ended)
    print(f"{wording.files(done)}, {wording.size(size)}, in the cache")
    if count := sum(status.failures for status in ended):
        raise failure(count, [one for status in ended for one in status.failed], "fetched")
    return 0


def failure(count: int, failed: Sequence[Unfetched], word: str) -> B2MountError:
    """One error for all of them: of their kind, where that is one. `word` says what could not be done."""
    named = ", ".join(f"{one.path} ({one.reason})" for one in failed[:NAMED])
    more = f" and {count - NAMED} more" if count > NAMED else ""
    kinds = {one.kind for one in failed}
    kind = getattr(errors, kinds.pop(), B2MountError) if len(kinds) == 1 else B2MountError
    if not issubclass(kind, B2MountError) or kind is NotFound:  # whose exit code speaks of a bucket
        kind = B2MountError
    error: B2MountError = kind(f"{wording.files(count)} could not be {word}: {named}{more}")
    return error
